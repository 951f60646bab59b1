"""A stand-in for a container registry, as far as a manifest's HEAD goes: images that anyone may see, after fetching a
token as the distribution's token authentication has it, and others that want a login. It holds no image.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

_TOKEN = "for-anyone"
DIGEST = f"sha256:{'0' * 64}"


@dataclass
class Registry:
    """What the stand-in has."""

    port: int = 0
    open: set[str] = field(default_factory=set)
    """Names with their tags that anyone may see, as `ml/modelmill-data:1`."""
    closed: set[str] = field(default_factory=set)
    """Names that want a login."""
    asked: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def registry() -> Iterator[Registry]:
    """Run the stand-in while the block lasts."""
    state = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            state.asked.append(self.path)
            name, _, tag = self.path.removeprefix("/v2/").partition("/manifests/")
            assert "application/vnd.oci.image.index.v1+json" in self.headers["Accept"]
            if self.headers.get("Authorization") != f"Bearer {_TOKEN}":
                realm = f'Bearer realm="http://{state.host}/token",service="standin",scope="repository:{name}:pull"'
                return self._answer(401, {"WWW-Authenticate": realm})
            if f"{name}:{tag}" in state.closed:
                return self._answer(401, {"WWW-Authenticate": 'Basic realm="standin"'})
            there = f"{name}:{tag}" in state.open
            return self._answer(200 if there else 404, {"Docker-Content-Digest": DIGEST} if there else {})

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            assert query["service"] == ["standin"]
            assert query["scope"][0].endswith(":pull")
            self._answer(200, {}, json.dumps({"token": _TOKEN}).encode())

        def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
