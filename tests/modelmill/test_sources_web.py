import datetime
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill.errors import ModelmillError, UserError
from modelmill.sources import fingerprint, list_files, open_raw, pin, pinned_files
from tests import servers
from tests.modelmill.web_server import Served, WebServer, content, listed, serving

CONTENT = bytes(range(256)) * 8_000
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
TAGGED = Served(CONTENT, etag='"one"')
DATED = Served(CONTENT, modified=DATE)
BARE = Served(CONTENT)
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def served(file: Served, **how: object) -> Served:
    return replace(file, cuts=[], failures=[], **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (TAGGED, 'etag:"one"'),
        (DATED, f"modified:{DATE}"),
        (BARE, SHA256),
        (Served(CONTENT, etag='W/"weak"'), SHA256),
        (served(TAGGED, length=False, ranges=False), SHA256),
        (served(TAGGED, length=False), 'etag:"one"'),
        (served(BARE, length=False, chunked=True), SHA256),
        (served(TAGGED, head=403), 'etag:"one"'),
        (served(TAGGED, head=501, ranges=False), 'etag:"one"'),
    ],
    ids=[
        "etag",
        "date",
        "nothing",
        "weak etag",
        "no length",
        "length by a range",
        "chunks",
        "no HEAD",
        "no HEAD either",
    ],
)
def test_a_file_is_recognised_by_what_its_server_tells_or_by_its_digest(
    web: WebServer, file: Served, expected: str
) -> None:
    found = listed(web.serve("/data/a.bin", file))

    assert (found.name, found.bytes, found.fingerprint) == ("a.bin", len(CONTENT), expected)
    assert content(found) == CONTENT


def test_to_list_a_file_with_an_etag_reads_nothing_of_it(web: WebServer) -> None:
    listed(web.serve("/a.bin", TAGGED))

    assert [asked.method for asked in web.asked] == ["HEAD"]


def test_a_name_is_the_last_part_of_the_path_and_never_leads_elsewhere(web: WebServer) -> None:
    for path, name in (
        ("/deep/b%20%C3%BC.csv", "b ü.csv"),
        ("/x/..%2F..%2Fetc%2Fpasswd", ".._.._etc_passwd"),
        ("/x/a%5Cb%00c.csv", "a_b_c.csv"),
    ):
        assert listed(web.serve(path, TAGGED)).name == name
    assert listed(web.serve("/q.csv", TAGGED) + "?download=1#top").name == "q.csv"


def test_a_changed_file_has_another_fingerprint(web: WebServer) -> None:
    uri = web.serve("/a.bin", TAGGED)
    before, pins = fingerprint(uri), {uri: fingerprint(uri)}

    assert pinned_files(uri, pins)
    web.serve("/a.bin", served(TAGGED, etag='"two"'))
    assert fingerprint(uri) != before
    with pytest.raises(ModelmillError, match=r"a\.bin: changed since the run began"):
        pinned_files(uri, pins)


TERSE = Served(CONTENT, etag='"one"', terse=True)


@pytest.mark.parametrize("file", [TAGGED, DATED, BARE, TERSE], ids=["etag", "date", "digest", "etag told once"])
def test_a_broken_connection_goes_on_where_it_was_with_the_same_content(web: WebServer, file: Served) -> None:
    uri = web.serve("/a.bin", served(file))
    found = listed(uri)
    web.asked.clear()
    web.files["/a.bin"].cuts = [1_000_000, 0, 500_000]

    assert content(found) == CONTENT
    assert web.ranges("/a.bin") == [None, "bytes=1000000-", "bytes=1000000-", "bytes=1500000-"]
    conditions = [asked.headers.get("if-range") for asked in web.asked[1:]]
    assert conditions == [file.etag or file.modified] * 3


def test_a_connection_that_breaks_while_the_digest_is_made_goes_on_too(web: WebServer) -> None:
    uri = web.serve("/a.bin", replace(BARE, cuts=[1000, 2000]))

    assert listed(uri).fingerprint == SHA256


@pytest.mark.parametrize("chunked", [True, False])
def test_a_cut_body_without_a_length_is_not_taken_for_the_whole(web: WebServer, chunked: bool) -> None:
    uri = web.serve("/a.bin", served(BARE, length=False, chunked=chunked))
    found = listed(uri)
    web.files["/a.bin"].cuts = [999_999]

    assert content(found) == CONTENT


LATER = bytes(reversed(CONTENT))
CHANGES = {
    "another etag before the first byte": (TAGGED, Served(LATER, etag='"two"'), []),
    "no etag any more": (TAGGED, BARE, []),
    "another date": (DATED, Served(LATER, modified="Thu, 22 Oct 2015 07:28:00 GMT"), []),
    "another content without a validator": (BARE, Served(LATER), []),
    "another length": (BARE, Served(CONTENT[:-1]), []),
    "more than was listed": (DATED, Served(CONTENT + b"x", modified=DATE, length=False), []),
    "another etag after a break": (TAGGED, replace(TAGGED, cuts=[1000], then=Served(LATER, etag='"two"')), [1000]),
    "another date after a break": (DATED, replace(DATED, cuts=[1000], then=replace(DATED, modified="x")), [1000]),
    "shorter than what had come": (BARE, replace(BARE, cuts=[1000], then=Served(b"short")), [1000]),
    "412 after a break": (TAGGED, replace(TAGGED, cuts=[1000], then=replace(TAGGED, failures=[412])), [1000]),
}


@pytest.mark.parametrize(("before", "after", "cut"), CHANGES.values(), ids=CHANGES.keys())
def test_a_file_that_changes_while_it_is_read_is_noticed(
    web: WebServer, before: Served, after: Served, cut: list[int]
) -> None:
    uri = web.serve("/a.bin", served(before))
    found = listed(uri)
    web.serve("/a.bin", replace(after, cuts=list(cut), failures=list(after.failures)))

    with open_raw(found) as raw, pytest.raises(ModelmillError, match=r"a\.bin: changed while it was read") as caught:
        raw.readall()
    assert caught.value.exit_code == 1


def test_a_server_that_ignores_ranges_cannot_go_on_and_the_message_says_so(web: WebServer) -> None:
    found = listed(web.serve("/a.bin", served(TAGGED, ranges=False)))
    web.files["/a.bin"].cuts = [1000]

    broke = pytest.raises(ModelmillError, match=rf"broke off after 1000 of {len(CONTENT)} bytes, .* ignores ranges")
    with open_raw(found) as raw, broke:
        raw.readall()


def test_a_connection_that_breaks_without_end_is_given_up(web: WebServer) -> None:
    found = listed(web.serve("/a.bin", served(TAGGED)))
    web.files["/a.bin"].cuts = [1000, *[0] * 99]

    broke = pytest.raises(ModelmillError, match=r"a\.bin: the connection broke off .*5 times; check")
    with open_raw(found) as raw, broke:
        raw.readall()
    assert web.ranges("/a.bin") == [None, *["bytes=1000-"] * 4]


def test_one_byte_a_connection_does_not_go_on_for_ever(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelmill.sources.download._MOST_BREAKS", 7)
    found = listed(web.serve("/a.bin", served(TAGGED)))
    web.files["/a.bin"].cuts = [1] * 1000

    with (
        open_raw(found) as raw,
        pytest.raises(ModelmillError, match=r"broke off 8 times, after 8 of 2048000 bytes"),
    ):
        raw.readall()


def test_a_server_that_fails_for_a_while_is_asked_again(web: WebServer) -> None:
    uri = web.serve("/a.bin", replace(served(TAGGED), failures=[500, 503]))
    found = listed(uri)
    web.files["/a.bin"].failures = [429, 502]

    assert content(found) == CONTENT
    assert [asked.method for asked in web.asked] == ["HEAD"] * 3 + ["GET"] * 3


def test_a_server_that_goes_on_failing_is_given_up(web: WebServer) -> None:
    uri = web.serve("/a.bin", replace(served(TAGGED), failures=[503] * 99))

    with pytest.raises(ModelmillError, match=r"a\.bin: the server answers 503, 5 times; check the address") as caught:
        list_files(uri)
    assert caught.value.exit_code == 1
    assert len(web.asked) == 5


def test_a_server_may_ask_to_wait(web: WebServer) -> None:
    web.serve("/a.bin", replace(served(TAGGED), failures=[503], headers={"Retry-After": "1"}))
    begun = datetime.datetime.now(datetime.UTC)

    listed(web.url("/a.bin"))

    assert (datetime.datetime.now(datetime.UTC) - begun).total_seconds() >= 1


def test_what_is_not_there_or_refused_is_the_users_to_mend(web: WebServer) -> None:
    secret = web.serve("/secret.csv", served(TAGGED, password="Basic bWU6c2VjcmV0"))
    web.serve("/empty.csv", Served(b"", etag='"e"'))
    web.serve("/packed.csv", served(TAGGED, headers={"Content-Encoding": "gzip"}))
    for uri, message in (
        (web.url("/none.csv"), r"none\.csv: no such file \(the server answers 404\); correct the address"),
        (secret, r"secret\.csv: access refused \(the server answers 401\); put its credentials in ~/\.netrc"),
        (web.url("/empty.csv"), r"empty\.csv: empty \(0 bytes\)"),
        (web.url("/packed.csv"), r"packed\.csv: the server packs it \(gzip\)"),
    ):
        with pytest.raises(UserError, match=message):
            list_files(uri)


def test_an_archive_that_its_server_calls_packed_on_the_way_stays_as_it_is(web: WebServer) -> None:
    uri = web.serve("/a.csv.gz", served(TAGGED, headers={"Content-Encoding": "gzip"}))

    assert content(listed(uri)) == CONTENT


def test_more_than_the_limit_is_refused_before_it_is_read(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = web.serve("/a.bin", TAGGED)
    monkeypatch.setenv("MODELMILL_MAX_DOWNLOAD_BYTES", "1000000")

    with pytest.raises(UserError, match=r"2048000 bytes, and MODELMILL_MAX_DOWNLOAD_BYTES allows 1000000; raise it"):
        list_files(uri)
    monkeypatch.setenv("MODELMILL_MAX_DOWNLOAD_BYTES", "2048000")
    assert content(listed(uri)) == CONTENT
    monkeypatch.setenv("MODELMILL_MAX_DOWNLOAD_BYTES", "50 GB")
    with pytest.raises(UserError, match=r"MODELMILL_MAX_DOWNLOAD_BYTES=50 GB: not a number of bytes"):
        list_files(uri)


def test_a_body_without_a_length_is_read_up_to_the_limit(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = web.serve("/a.bin", served(BARE, length=False, ranges=False))
    monkeypatch.setenv("MODELMILL_MAX_DOWNLOAD_BYTES", "1000000")

    with pytest.raises(UserError, match=r"goes on after 1\d{6} bytes, and MODELMILL_MAX_DOWNLOAD_BYTES allows 1000000"):
        list_files(uri)


def test_a_server_that_is_not_there_is_a_failure_with_a_way_out(web: WebServer) -> None:
    (port,) = servers.free_ports(1)
    for uri, message in (
        (f"http://127.0.0.1:{port}/a.csv", r"a\.csv: no connection, 5 times; check the address and the network"),
        ("http://not-there.invalid/a.csv", r"a\.csv: the name of its host is not known, 5 times"),
    ):
        with pytest.raises(ModelmillError, match=message) as caught:
            list_files(uri)
        assert caught.value.exit_code == 1


@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, 3000), max_size=3), sizes=st.integers(1, 5000))
def test_wherever_it_breaks_the_bytes_are_the_same(cuts: list[int], sizes: int) -> None:
    data = CONTENT[:4000]
    with serving() as web:
        found = listed(web.serve("/a.bin", Served(data, etag='"x"')))
        web.files["/a.bin"].cuts = list(cuts)
        read = bytearray()
        with open_raw(found) as raw:
            while piece := raw.read(sizes):
                read += piece
    assert read == data


def test_a_pin_of_the_web_and_one_of_a_file_stand_side_by_side(web: WebServer, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x")
    uri = web.serve("/a.csv", Served(b"x"))

    assert fingerprint(uri) == fingerprint(str(tmp_path / "a.csv"))
    assert uri in pin([uri, str(tmp_path / "a.csv")])
