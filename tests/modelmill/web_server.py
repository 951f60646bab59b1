"""A real web server for tests, that can do all the ill that servers and networks do; and a stand-in for the Hub.

The Hub has no server that a package brings: the stand-in answers the few requests that its own client, huggingface_hub,
sends for a listing, in the forms that https://huggingface.co/docs/hub/api describes.
"""

import hashlib
import http.server
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from modelmill.sources import SourceFile, list_files, open_raw


@dataclass
class Served:
    """One file, and how it is served."""

    content: bytes = b""
    etag: str | None = None
    modified: str | None = None
    length: bool = True
    """Whether Content-Length is told; else the body ends with the connection, or comes in chunks."""
    chunked: bool = False
    ranges: bool = True
    """Whether Range is honoured; If-Range is, where Range is."""
    terse: bool = False
    """Whether a part of the body comes without ETag and Last-Modified."""
    cuts: list[int] = field(default_factory=list)
    """For each of the first GETs, bytes of its body after which the connection is cut."""
    failures: list[int] = field(default_factory=list)
    """Statuses of the first answers."""
    head: int = 200
    """Status of the answer to HEAD, if it is refused."""
    redirect: str | None = None
    password: str | None = None
    """Authorization that must come with the request."""
    headers: dict[str, str] = field(default_factory=dict)
    then: "Served | None" = None
    """What it is after the first GET."""


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    """By names in lower case."""


@dataclass
class WebServer:
    """A server on this machine; tests put files into it and look at what was asked."""

    port: int
    scheme: str
    files: dict[str, Served] = field(default_factory=dict)
    repositories: dict[str, "Repository"] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def serve(self, path: str, file: Served) -> str:
        """Serve a file at a path, and return its address."""
        self.files[unquote(path)] = file
        return self.url(path)

    def ranges(self, path: str) -> list[str | None]:
        """The ranges that GETs of a path asked for."""
        return [asked.headers.get("range") for asked in self.asked if (asked.method, asked.path) == ("GET", path)]


@dataclass
class Repository:
    """A repository of the Hub, at one commit."""

    files: dict[str, bytes]
    large: set[str] = field(default_factory=set)
    """Files kept outside of git (LFS), which are served from another host."""
    commit: str = "c" * 40
    revision: str = "main"
    token: str | None = None
    broken: list[int] = field(default_factory=list)
    """Statuses of the first answers."""

    def entry(self, path: str) -> dict[str, Any] | None:
        content = self.files.get(path)
        if content is not None:
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_digest(content)}
            if path in self.large:
                entry["oid"] = git_digest(b"a pointer")
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            return entry
        if any(name.startswith(f"{path}/") for name in self.files):
            return {"type": "directory", "path": path, "oid": "d" * 40, "size": 0}
        return None


def git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    web: WebServer

    def handle(self) -> None:
        # A client may hang up whenever it likes.
        with suppress(ConnectionError):
            super().handle()

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.web.asked.append(Asked(self.command, path, headers))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if (file := self.web.files.get(path)) is not None:
            self._file(path, file)
        elif not self._hub(body):
            self._status(404)

    def _file(self, path: str, file: Served) -> None:
        if file.failures:
            return self._status(file.failures.pop(0), file.headers)
        if file.password is not None and self.headers.get("Authorization") != file.password:
            return self._status(401)
        if file.redirect is not None:
            return self._status(302, {"Location": file.redirect})
        if self.command == "HEAD" and file.head != 200:
            return self._status(file.head)
        start, last = self._range(file)
        if self.command == "GET" and file.then is not None:
            self.web.files[path] = file.then
        if start is not None and start >= len(file.content):
            return self._status(416, {"Content-Range": f"bytes */{len(file.content)}"})
        return self._content(file, start, last)

    def _range(self, file: Served) -> tuple[int | None, int | None]:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None or not file.ranges:
            return None, None
        if self.headers.get("If-Range", file.etag or file.modified) not in {file.etag, file.modified}:
            return None, None
        return int(asked[1]), int(asked[2]) if asked[2] else None

    def _content(self, file: Served, start: int | None, last: int | None) -> None:
        body = file.content[start or 0 : None if last is None else last + 1]
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(file.content)}")
        silent = file.terse and start is not None
        told = {} if silent else {"ETag": file.etag, "Last-Modified": file.modified, **file.headers}
        if file.length:
            told["Content-Length"] = str(len(body))
        elif file.chunked:
            told["Transfer-Encoding"] = "chunked"
        for name, value in told.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.close_connection = not file.length
        if self.command == "HEAD":
            return
        cut = file.cuts.pop(0) if file.cuts else None
        sent = body[:cut]
        self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent) if file.chunked and sent else sent)
        if file.chunked and cut is None:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection |= cut is not None

    def _status(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status, HTTPStatus(status).phrase)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _hub(self, body: bytes) -> bool:
        """Answer as the Hub does, if the path is one of its; the revision may hold '/', packed as %2F."""
        raw = urlsplit(self.path).path
        api = re.fullmatch(
            r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?", raw
        )
        resolve = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", raw)
        if api is not None:
            kind, name, asked, revision, inside = api.groups()
            self._api(f"{kind}/{name}", asked or "revision", unquote(revision or "main"), unquote(inside or ""), body)
        elif resolve is not None:
            kind, name, revision, inside = resolve.groups()
            repository = self._repository(f"{kind or 'models/'}{name}", unquote(revision))
            if repository is not None:
                self._resolve(repository, unquote(inside))
        return api is not None or resolve is not None

    def _repository(self, name: str, revision: str) -> Repository | None:
        repository = self.web.repositories.get(name)
        if repository is None or (
            repository.token is not None and self.headers.get("Authorization") != f"Bearer {repository.token}"
        ):
            # The Hub does not tell what is missing from what is private.
            self._status(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        if repository.broken:
            self._status(repository.broken.pop(0))
            return None
        if revision not in {repository.revision, repository.commit}:
            self._status(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {revision}"})
            return None
        return repository

    def _api(self, name: str, what: str, revision: str, inside: str, body: bytes) -> None:
        repository = self._repository(name, revision)
        if repository is None:
            return
        answer: Any
        if what == "revision":
            answer = {"_id": "1", "id": name.partition("/")[2], "sha": repository.commit, "siblings": [], "tags": []}
        elif what == "paths-info":
            entries = (repository.entry(path) for path in parse_qs(body.decode())["paths"])
            answer = [entry for entry in entries if entry is not None]
        else:
            under = f"{inside}/" if inside else ""
            names = [path for path in repository.files if path.startswith(under)]
            folders = {path[: place.start()] for path in names for place in re.finditer("/", path)}
            answer = [repository.entry(path) for path in (*sorted(folders), *names) if path != inside]
        self._json(answer)

    def _json(self, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _resolve(self, repository: Repository, path: str) -> None:
        content = repository.files.get(path)
        if content is None:
            return self._status(404, {"X-Error-Code": "EntryNotFound"})
        if path not in repository.large:
            return self._content(Served(content, etag=f'"{git_digest(content)}"'), *self._range(Served(content)))
        place = f"/cdn/{hashlib.sha256(content).hexdigest()}"
        if place not in self.web.files:
            self.web.files[place] = Served(content, etag='"of the cdn"')
        # Another name of this machine is another host.
        return self._status(302, {"Location": self.web.url(f"{place}?Signature=hush", host="localhost")})

    def log_message(self, *_arguments: object) -> None:
        """Keep silent."""


class _Server(http.server.ThreadingHTTPServer):
    """Hangs up on every client at its end, so that no thread outlives it."""

    daemon_threads = False

    def __init__(self, handler: type[_Handler], context: ssl.SSLContext | None) -> None:
        self._context = context
        self._clients: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        client, address = super().get_request()
        if self._context is not None:
            client.settimeout(20)
            try:
                client = self._context.wrap_socket(client, server_side=True)
            except OSError:
                client.close()
                raise
        self._clients.add(client)
        return client, address

    def shutdown_request(self, request: Any) -> None:
        self._clients.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for client in list(self._clients):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


def alone(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Leave a test no proxy, and no credentials but those that it puts into the folder's `netrc`."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NETRC", str(folder / "netrc"))


def listed(uri: str) -> SourceFile:
    """Return the one file that an address names."""
    (file,) = list_files(uri)
    return file


def content(file: SourceFile) -> bytes:
    """Return a file's bytes."""
    with open_raw(file) as raw:
        return raw.readall()


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[WebServer]:
    """Run a server; with a certificate and key in one PEM file, over TLS."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    web = WebServer(port=0, scheme="https" if certificate else "http")
    server = _Server(type("Handler", (_Handler,), {"web": web}), context)
    web.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()
