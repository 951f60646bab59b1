"""A web server for each test that asks for one, as a web site or as the Hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modelmill.web_server import WebServer, alone, serving


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WebServer]:
    """A web server without content; the test has no proxy and no credentials."""
    alone(monkeypatch, tmp_path)
    with serving() as server:
        yield server


@pytest.fixture
def empty_hub(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> WebServer:
    """A server that answers as the Hub does, without a repository, and that is the Hub for the test."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", web.url("/"))
    return web
