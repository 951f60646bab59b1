"""The HTTP side of the stand-in for Kubernetes' API server: verbs, watches, logs that are followed."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.kubernetes_cluster import TOKEN, Cluster, Log
from tests.kubernetes_objects import Address, Failure, allowed, create, listed, patch, review, selected, status, wanted

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2026-04-22T00:00:00Z",
    "goVersion": "go1.26",
    "compiler": "gc",
    "platform": "linux/amd64",
}


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's own name
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        cluster = self.cluster
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if cluster.away:
            self.close_connection = True
            return
        body = yaml.safe_load(raw) if raw else None
        url = urlsplit(self.path)
        asked = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        cluster.requests.append((method, self.path, body))
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Failure(401, "Unauthorized")
            for refusal in cluster.refusals:
                if refusal.times and refusal.method == method and refusal.word in url.path:
                    refusal.times -= 1
                    raise Failure(refusal.code, refusal.message, refusal.reason)
            self._route(method, url.path, asked, body)
        except Failure as failure:
            self._send(failure.code, status(failure))
        except BrokenPipeError:
            self.close_connection = True

    def _route(self, method: str, path: str, asked: Mapping[str, str], body: Any) -> None:
        if path.rstrip("/") == "/version":
            return self._send(200, VERSION)
        if path.endswith("subjectaccessreviews"):
            own = path.endswith("/selfsubjectaccessreviews")
            return self._send(
                201, review(self.cluster, body, "SelfSubjectAccessReview" if own else "SubjectAccessReview")
            )
        at = Address(path, self.cluster)
        watching = method == "GET" and asked.get("watch", "").lower() in {"true", "1"}
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, "get")
        verb = "watch" if watching else "list" if method == "GET" and not at.name else verb
        allowed(self.cluster, at, verb)
        if at.part == "log":
            return self._log(at, asked)
        if watching:
            return self._stream(watch(self.cluster, at, asked))
        with self.cluster.changed:
            if method == "PATCH":
                return self._send(*patch(self.cluster, at, asked, body, self.headers.get("Content-Type", "")))
            if method == "POST":
                return self._send(201, create(self.cluster, at, body))
            if method == "DELETE":
                policy = (body or {}).get("propagationPolicy") or asked.get("propagationPolicy", "Background")
                wanted(self.cluster, at)
                self.cluster.delete(at.plural, at.name, policy)
                return self._send(200, self.cluster.get(at.plural, at.name) or {"kind": "Status", "status": "Success"})
            if method == "PUT":
                raise Failure(405, "the stand-in replaces nothing by PUT")
            return self._send(200, wanted(self.cluster, at) if at.name else listed(self.cluster, at, asked))

    def _send(self, code: int, body: Any) -> None:
        plain = isinstance(body, str)
        data = body.encode() if plain else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if plain else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, lines: Iterator[str], kind: str = "application/json") -> None:
        """Send lines as they come; a stream that is cut ends without its last piece."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            for line in lines:
                data = (line + "\n").encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        self.close_connection = True

    def _log(self, at: Address, asked: Mapping[str, str]) -> None:
        pod = wanted(self.cluster, at)
        for container in pod.get("status", {}).get("containerStatuses", []):
            waiting = container.get("state", {}).get("waiting")
            if waiting:
                raise Failure(
                    400,
                    f'container "{container["name"]}" in pod "{at.name}" is waiting to start: {waiting["reason"]}',
                )
        log = self.cluster.logs.setdefault((at.namespace, at.name), Log())
        if asked.get("follow", "").lower() == "true":
            return self._stream(followed(self.cluster, log, asked), "text/plain")
        return self._send(200, "".join(f"{line}\n" for line in said(log, 0, asked)))


def watch(cluster: Cluster, at: Address, asked: Mapping[str, str]) -> Iterator[str]:
    """Yield what happens to the objects of a kind, from a version on; without one first all that are there."""
    dropped = cluster.dropped
    end = time.monotonic() + float(asked.get("timeoutSeconds", "300"))
    version = int(asked.get("resourceVersion") or 0)
    if version and version < cluster.oldest:
        gone = Failure(410, f"too old resource version: {version} ({cluster.oldest})")
        yield json.dumps({"type": "ERROR", "object": status(gone)})
        return
    if not version:
        version = len(cluster.changes)
        for one in listed(cluster, at, asked)["items"]:
            yield json.dumps({"type": "ADDED", "object": one})
    while time.monotonic() < end and not cluster.away:
        with cluster.changed:
            new = cluster.changes[version:]
            if not new and cluster.dropped == dropped:
                cluster.changed.wait(0.1)
        if cluster.dropped != dropped:
            return
        for number, what, plural, body in new:
            version = number
            if plural == at.plural and selected(body, at, asked):
                yield json.dumps({"type": what, "object": body})


def said(log: Log, start: int, asked: Mapping[str, str]) -> list[str]:
    """Return a log's lines from a place on, as they were asked for."""
    lines = log.lines[start:]
    if asked.get("sinceTime") and not start:
        since = datetime.fromisoformat(asked["sinceTime"].replace("Z", "+00:00"))
        lines = [(at, line) for at, line in lines if at >= since]
    if asked.get("tailLines") and not start:
        lines = lines[-int(asked["tailLines"]) :] if int(asked["tailLines"]) else []
    stamped = asked.get("timestamps", "").lower() == "true"
    return [f"{at.strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z {line}" if stamped else line for at, line in lines]


def followed(cluster: Cluster, log: Log, asked: Mapping[str, str]) -> Iterator[str]:
    """Yield a log's lines as they are said, until its container has ended."""
    dropped, place = cluster.dropped, 0
    first = True
    while cluster.dropped == dropped and not cluster.away:
        with cluster.changed:
            if len(log.lines) == place and not log.ended:
                cluster.changed.wait(0.1)
            count, ended = len(log.lines), log.ended
        new = said(log, place, asked) if first else said(log, place, {"timestamps": asked.get("timestamps", "")})
        place, first = count, first and not count
        yield from new
        if ended:
            return


@contextlib.contextmanager
def serve(cluster: Cluster) -> Iterator[None]:
    """Answer on a free port while the block lasts."""

    class Bound(Handler):
        pass

    Bound.cluster = cluster
    with ThreadingHTTPServer(("127.0.0.1", 0), Bound) as server:
        server.daemon_threads = True
        cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            cluster.away = True
            server.shutdown()
            thread.join()
