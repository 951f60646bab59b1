"""A stand-in for the API server of Kubeflow Pipelines, spoken to over HTTP.

It is not Kubeflow Pipelines: no pod runs, and a test says how a run goes on (`tell`). What it holds the client to is
real: every request body is read into the models that `kfp_server_api` publishes, unknown fields and wrong types are
refused, and names, filters, pages, 404 and 409 are answered as the server of 2.17 answers them. State lies in memory.
"""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from kfp_server_api import models

from tests.kfp_answers import EPOCH, FINAL, ROUTES
from tests.kfp_models import Refused, write
from tests.kfp_run import tasks

Answer = tuple[int, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    text: str
    """The body, with the uploaded file in it."""

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Fault:
    """What happens to the next requests whose line (`POST /apis/v2beta1/runs`) a pattern finds."""

    pattern: str
    times: int
    status: int = 0
    """Answered instead, with nothing done; 0 breaks the connection off."""
    acts: bool = False
    """Whether the server does what was asked before the answer is lost."""


@dataclass
class KfpStandIn:
    """The server's state, and what a test may make of it."""

    version: str = "2.17.0"
    multi_user: bool = True
    namespaces: tuple[str, ...] = ("modelmill",)
    """Those that the caller has rights in."""
    token: str = ""
    """Wanted as a bearer token, where it is not ''."""
    skew: timedelta = timedelta()
    """How far the server's clock is ahead of this machine's."""
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    away_until: float = 0.0
    """Connections are refused until then, on the monotonic clock."""
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    experiments: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    recurring: dict[str, Any] = field(default_factory=dict)
    on_start: Callable[[str], object] = lambda _: None
    """Called with the id of each run that was started by a request."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def now(self) -> datetime:
        return (datetime.now(UTC) + self.skew).replace(microsecond=0)

    def away(self, seconds: float) -> None:
        """Break every connection off for a while."""
        self.away_until = time.monotonic() + seconds

    def lines(self, method: str = "") -> list[str]:
        """Return the requests that came, as `POST /apis/v2beta1/runs`."""
        return [one.line for one in self.asked if one.line.startswith(method)]

    def stored(self) -> str:
        """Return all that is kept, as text, to look for what should not be there."""
        kept = [self.pipelines, self.versions, self.experiments, self.runs, self.recurring]
        return json.dumps([write(one) for one in kept], default=str)

    def tell(self, run_id: str, steps: Mapping[str, str], state: str = "RUNNING", **known: Any) -> None:
        """Say how far a run is: state by the name of its task, in order; `CACHED` and `PENDING` as for a pod."""
        with self.lock:
            run = self.runs[run_id]
            run.state, run.run_details = state, models.V2beta1RunDetails(task_details=tasks(run, steps, **known))
            run.finished_at = self.now() if state in FINAL else EPOCH
            history = run.state_history or []
            run.state_history = [*history, models.V2beta1RuntimeStatus(update_time=self.now(), state=state)]

    def answer(self, asked: Asked) -> Answer:
        """Do what a request asks; the status and the body that it is answered with."""
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return 401, _error(16, "Request header error: there is no user identity")
        path = unquote(asked.path)
        with self.lock:
            for method, pattern, act in ROUTES:
                found = re.fullmatch(pattern, path)
                if found and method == asked.method:
                    try:
                        return 200, write(act(self, asked, *found.groups()))
                    except Refused as refused:
                        return refused.status, _error(3, refused.message)
        return 404, _error(5, f"{asked.line}: Not Found")


def _error(code: int, message: str) -> dict[str, Any]:
    # As grpc-gateway writes a status.
    return {"code": code, "message": message, "details": []}


@contextlib.contextmanager
def kfp_server(**known: Any) -> Iterator[KfpStandIn]:
    """Run a stand-in while the block lasts; `known` are fields of `KfpStandIn`."""
    state = KfpStandIn(**known)

    class Way(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One piece for head and body, which would else wait for each other.
        wbufsize = 1 << 16

        def handle_any(self) -> None:
            address = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(
                method=self.command,
                path=address.path,
                query={key: values[-1] for key, values in parse_qs(address.query).items()},
                headers={key.lower(): value for key, value in self.headers.items()},
                text=body.decode(),
            )
            if time.monotonic() < state.away_until:
                self._break_off()
                return
            with state.lock:
                state.asked.append(asked)
                fault = next((one for one in state.faults if one.times and re.search(one.pattern, asked.line)), None)
                if fault is not None:
                    fault.times -= 1
            if fault is not None and fault.acts:
                state.answer(asked)
            if fault is not None and not fault.status:
                self._break_off()
                return
            self._send(*(state.answer(asked) if fault is None else (fault.status, _error(13, "the stand-in was told"))))

        do_GET = do_POST = do_DELETE = handle_any

        def _send(self, status: int, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _break_off(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - the base's
            return super().date_time_string(state.now().timestamp())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Way) as server:
        server.daemon_threads = True
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            state.away_until = float("inf")
            server.shutdown()
            thread.join()
