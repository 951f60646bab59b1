"""What register is given, made small: a model of two files, a report on it, the data that it came from."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.register.run import Evidence
from components.register.settings import RegisterSettings
from modelmill.dataset import encode, open_dataset, write_made
from modelmill.models.folder import save_files, save_model
from modelmill.registry.approval import Demand
from modelmill.sources import pin
from modelmill.store import Store
from tests import samples
from tests.modelmill.evaluation.made import report


def settings(name: str, approval: Demand = "none") -> RegisterSettings:
    return RegisterSettings(
        name=name,
        approval=approval,
        task="text-classification",
        recipe="reviews",
        recipe_digest="0" * 64,
        steps=("resolve", "ingest"),
    )


def evidence(store: Store, folder: Path, seed: int = 0, at_least: float = 0.6) -> Evidence:
    """Put a model and all behind it into the store; another seed makes another model of the same data."""
    source = folder / "reviews.csv"
    source.write_text("text,label\nfine,positive\n")
    labelled = samples.write_labelled(store, {"test": samples.reviews(40), "train": samples.reviews(80, 1)})
    ledger = {"files": {str(source): {"read": 120, "kept": 120, "dropped": {}}}}
    page = store.put_blob(b"<html>")
    made = {"inputs": json.loads(pin([str(source)])), "ledger": ledger}
    made_at = write_made(store, labelled, {**made, "report": {"sha256": page.sha256, "bytes": page.bytes}})
    model = folder / f"model-{seed}"
    model.mkdir()
    (model / "model.safetensors").write_bytes(np.random.default_rng(seed).bytes(1000))
    (model / "config.json").write_text("{}")
    meta = {"task": "text-classification", "labels": ["negative", "positive"], "lineage": {"labelled": labelled}}
    address = save_model(store, model, meta)
    ids = open_dataset(store, labelled).table("test", ["id"])["id"].to_pylist()
    table = pa.table({"id": ids, "probability": [[0.25, 0.75]] * len(ids)})
    measured = report(at_least=at_least).adding(model=address, dataset=labelled)
    files = {"report.json": measured.to_json().encode(), "predictions.parquet": encode(table)}
    kept = save_files(store, "reports", files, {"kind": "report"})
    return Evidence(
        report=kept,
        comparison="",
        model=address,
        corpus="",
        labelled=labelled,
        made_corpus="",
        made_labelled=made_at,
    )


# Of one connection, and not of what goes over it.
_HOPS = {"host", "content-length", "transfer-encoding", "connection"}


@dataclass
class Way:
    """A way to an MLflow server that is cut at one request, and stays cut until it is mended."""

    at: int = 0
    """The request that is the first to go without an answer; 0 for none."""
    acted: bool = False
    """Whether that one reaches the server all the same."""
    requests: int = 0

    def mend(self, at: int, *, acted: bool) -> None:
        self.at, self.acted, self.requests = at, acted, 0

    @property
    def cut(self) -> bool:
        return 0 < self.at <= self.requests


@contextmanager
def way_to(uri: str) -> Iterator[tuple[str, Way]]:
    """Run a server that passes requests on to another one, and return its address and what cuts it."""
    way, lock = Way(), threading.Lock()
    host = uri.removeprefix("http://")

    class Passing(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            body = self._body()
            with lock:
                # Of the hundred files of code that go with a model none is special.
                way.requests += "/artifacts/code/" not in self.path
                cut, last = way.cut, way.requests == way.at
            if not cut or (last and way.acted):
                connection = http.client.HTTPConnection(host, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
                connection.request(self.command, self.path, body=body, headers=headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
            if cut:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOPS:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

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
