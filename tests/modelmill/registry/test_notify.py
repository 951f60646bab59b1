"""Notifications reach real servers, in the forms they want; what fails is a warning without a secret in it."""

import http.server
import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from modelmill.registry.notify import NOTIFY_VARIABLE, Happened, notify
from tests.servers import free_ports

EVENT = Happened(
    kind="promoted",
    subject="reviews",
    text="reviews: version 2 is champion <after> version 1 & well",
    facts={"model": "reviews", "to_version": "2"},
)


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]  # type: ignore[misc,index]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def webhook(status: int = 200, location: str = "") -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Run a web server that keeps what is posted."""
    posted: list[dict[str, Any]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append({"path": self.path, "type": self.headers["Content-Type"], **json.loads(body)})
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    with _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)) as port:
        yield port, posted


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """Run a mail server that says yes to everything (RFC 5321), and keeps every line."""
    lines: list[str] = []

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            in_data = False
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                lines.append(line)
                if in_data:
                    in_data = line != "."
                    answer = b"" if in_data else b"250 kept\r\n"
                elif line.lower().startswith("ehlo"):
                    answer = b"250-here\r\n250 AUTH PLAIN LOGIN\r\n"
                elif line.lower() == "data":
                    in_data, answer = True, b"354 go on\r\n"
                elif line.lower() == "quit":
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    answer = b"250 fine\r\n"
                self.wfile.write(answer)

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)) as port:
        yield port, lines


def test_a_webhook_gets_json_and_slack_its_own_form(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as (port, posted):
        address = f"http://127.0.0.1:{port}"
        monkeypatch.setenv(NOTIFY_VARIABLE, f"{address}/plain?token=t  slack+{address}/services/T0/B0/xyz")
        assert notify(EVENT) == []
    plain, slack = posted
    assert plain["path"] == "/plain?token=t"
    assert plain["type"].startswith("application/json")
    assert (plain["kind"], plain["subject"], plain["facts"]["to_version"]) == ("promoted", "reviews", "2")
    assert slack["path"] == "/services/T0/B0/xyz"
    assert slack["text"] == "*promoted* reviews: version 2 is champion &lt;after&gt; version 1 &amp; well"


def test_an_e_mail_is_addressed_and_tells_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as (port, lines):
        monkeypatch.setenv(NOTIFY_VARIABLE, f"smtp://127.0.0.1:{port}/?to=ann@x.org,bob@x.org&from=mill@x.org")
        assert notify(EVENT) == []
    assert {"rcpt TO:<ann@x.org>", "rcpt TO:<bob@x.org>", "Subject: modelmill: reviews promoted"} <= set(lines)
    assert any(line.startswith("mail FROM:<mill@x.org>") for line in lines)
    assert any("version 2 is champion" in line for line in lines)


def test_a_password_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as (port, lines):
        monkeypatch.setenv(NOTIFY_VARIABLE, f"smtp://ann:hunter2@127.0.0.1:{port}/?to=a@x.org")
        (warning,) = notify(EVENT)
    assert "offers no encryption" in warning
    assert not any("AUTH" in line or "hunter2" in line for line in lines)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{dead}/hunter2?token=hunter2",
        "slack+http://127.0.0.1:{dead}/services/hunter2",
        "http://ann:hunter2@127.0.0.1:{dead}/",
        "smtp://ann:hunter2@127.0.0.1:{dead}/?to=a@x.org",
        "smtp://ann:hunter2@127.0.0.1:{dead}/",
        "http://127.0.0.1:hunter2/",
        "http://[hunter2/",
        "ftp://ann:hunter2@127.0.0.1/",
        "hunter2",
        "http://127.0.0.1:{refusing}/hunter2",
        "http://127.0.0.1:{moving}/hunter2",
    ],
)
def test_what_cannot_be_sent_is_a_warning_that_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        webhook(500) as (refusing, _),
        webhook() as (elsewhere, reached),
        webhook(302, location=f"http://127.0.0.1:{elsewhere}/") as (moving, _),
    ):
        filled = address.format(dead=free_ports(1)[0], refusing=refusing, moving=moving)
        monkeypatch.setenv(NOTIFY_VARIABLE, filled)
        (warning,) = notify(EVENT)
    assert warning.startswith("not notified (promoted): ")
    assert "hunter2" not in warning + caplog.text
    assert warning in caplog.text
    assert reached == [], "a webhook that moves is not followed"


def test_one_that_fails_does_not_keep_the_next_from_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as (port, posted):
        monkeypatch.setenv(NOTIFY_VARIABLE, f"http://127.0.0.1:{free_ports(1)[0]}/ http://127.0.0.1:{port}/")
        assert len(notify(EVENT)) == 1
    assert len(posted) == 1
