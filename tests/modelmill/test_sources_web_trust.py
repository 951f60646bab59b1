"""Whom a download trusts with what: redirects, proxies, certificates, credentials, and what a message may show."""

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelmill.errors import ModelmillError, UserError
from modelmill.sources import check_there, list_files, locate
from tests import servers
from tests.modelmill.web_server import Served, WebServer, content, listed, serving

CONTENT = b"text,label\nfine,1\n"
TAGGED = Served(CONTENT, etag='"one"')
# Of "me" and "secret".
BASIC = "Basic bWU6c2VjcmV0"


def test_credentials_come_from_netrc_and_go_to_their_host_only(web: WebServer, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    uri = web.serve("/a.bin", Served(CONTENT, etag='"one"', password=BASIC))
    away = web.serve("/away.bin", Served(redirect=web.url("/there.bin", host="localhost")))
    web.serve("/there.bin", TAGGED)

    assert content(listed(uri)) == CONTENT
    assert content(listed(away)) == CONTENT
    sent = {asked.path: "authorization" in asked.headers for asked in web.asked}
    assert sent == {"/a.bin": True, "/away.bin": True, "/there.bin": False}


def test_redirects_are_followed_to_an_end(web: WebServer) -> None:
    web.serve("/c.bin", TAGGED)
    web.serve("/b.bin", Served(redirect="c.bin"))
    uri = web.serve("/a.bin", Served(redirect=web.url("/b.bin")))
    web.serve("/round.bin", Served(redirect="/round.bin"))
    web.serve("/file.bin", Served(redirect="file:///etc/passwd"))

    found = listed(uri)

    assert (found.uri, found.name, found.fingerprint) == (uri, "a.bin", 'etag:"one"')
    assert content(found) == CONTENT
    with pytest.raises(UserError, match=r"round\.bin: more than 20 redirects"):
        list_files(web.url("/round.bin"))
    with pytest.raises(UserError, match=r"file\.bin: redirects to file://…, which is not the web"):
        list_files(web.url("/file.bin"))


def test_a_proxy_is_used_and_its_password_not_shown(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = servers.free_ports(1)
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "localhost")
    web.serve("/a.bin", TAGGED)

    assert listed(web.url("/a.bin", host="localhost")).bytes == len(CONTENT)
    with pytest.raises(ModelmillError, match="the proxy cannot be reached") as caught:
        list_files(web.url("/a.bin"))
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{web.port}")
    assert content(listed("http://elsewhere.invalid/a.bin")) == CONTENT
    assert web.asked[-1].headers["proxy-authorization"] == BASIC


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    built = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1)
    ).add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return file


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(certificate) as web:
        uri = web.serve("/a.bin", TAGGED)
        with pytest.raises(
            ModelmillError, match=r"certificate is not trusted \(self.signed certificate\); .*SSL_CERT_FILE"
        ):
            list_files(uri)
        assert not web.asked
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert content(listed(uri)) == CONTENT


def test_nothing_leads_from_https_to_http(web: WebServer, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    plain = web.serve("/a.bin", TAGGED)
    with serving(certificate) as secure:
        uri = secure.serve("/a.bin", Served(redirect=f"{plain}?token=hush"))
        with pytest.raises(UserError, match=r"redirects from https to http, at 127\.0\.0\.1") as caught:
            list_files(uri)
    assert "hush" not in str(caught.value)
    assert not web.asked


WRONG = [
    ("https://me:secret@host/a.csv", r"^https://…: credentials do not belong in the URI; put them in ~/\.netrc"),
    ("https://host/a.csv?X-Amz-Signature=secret", r"^https://host/a\.csv\?…: a signature or key does not belong"),
    ("https://host/a.csv?x=1&api_key=secret", "a signature or key does not belong"),
    ("https://host/a.csv?sig=secret#x", "a signature or key does not belong"),
    ("https://host", "not a file; write https://host/path/file"),
    ("https://host/folder/", "not a file"),
    ("https:///a.csv", "not a file"),
    ("https://host:port/a.csv", "not an address; write https://host/path/file"),
    ("http://[::1/a.csv", "not an address"),
    ("https://host/*.csv", "the web has no folders to search by a pattern"),
]


@pytest.mark.parametrize(("uri", "message"), WRONG)
def test_a_wrong_address_is_refused_without_asking_and_without_secrets(uri: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check_there(uri)

    assert "secret" not in str(caught.value)


def test_to_check_an_address_asks_no_server(web: WebServer) -> None:
    uri = web.serve("/a.bin", TAGGED)

    check_there(uri)

    assert not web.asked
    with pytest.raises(UserError, match="must be a file or folder of this machine"):
        locate(uri)


def test_what_stands_after_a_question_mark_is_not_shown(web: WebServer) -> None:
    with pytest.raises(UserError, match=r"/none\.csv\?…: no such file") as caught:
        list_files(web.url("/none.csv?pass=hush"))
    assert "hush" not in str(caught.value)
