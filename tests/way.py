"""A way to a server that is cut at one request: what a client sees of a server that is gone at that moment."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Of one connection, and not of what goes over it. The host stays: S3's signatures are of it.
_HOPS = {"content-length", "transfer-encoding", "connection", "expect"}

Counts = Callable[[str, str], bool]
"""Whether a request is counted, by its method and path."""


def every(_method: str, _path: str) -> bool:
    """None is passed over."""
    return True


@dataclass
class Way:
    """A way to a server that is cut at one request, and stays cut until it is mended."""

    counts: Counts = every
    at: int = 0
    """The request that is the first to go without an answer; 0 for none."""
    acted: bool = False
    """Whether that one reaches the server all the same."""
    kill: Callable[[], None] | None = None
    """Ends the server itself at that request."""
    requests: int = 0

    def mend(self, at: int, *, acted: bool) -> None:
        self.at, self.acted, self.requests = at, acted, 0

    @property
    def cut(self) -> bool:
        return 0 < self.at <= self.requests


@contextmanager
def way_to(uri: str, given: Way | None = None) -> Iterator[tuple[str, Way]]:
    """Run a server that passes requests on to another one, and return its address and what cuts it."""
    way, lock = given or Way(), threading.Lock()
    host = uri.removeprefix("http://")

    class Passing(BaseHTTPRequestHandler):
        # Else a client that asks whether to go on is not answered, and waits.
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self._body()
            with lock:
                counted = way.counts(self.command, self.path)
                way.requests += counted
                cut, last = way.cut, counted and way.requests == way.at
            answer = self._ask(body) if not cut or (last and way.acted) else None
            if last and way.kill is not None:
                way.kill()
            if cut or answer is None:
                self.close_connection = True
                return
            answered, content = answer
            self.send_response(answered.status)
            for name, value in answered.getheaders():
                if name.lower() not in _HOPS:
                    self.send_header(name, value)
            size = answered.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", size or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
            connection = http.client.HTTPConnection(host, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return answer, content

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", way
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
