"""What is known of the data before a run: from datasets that the cache names, else from the sources' own size."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from components.ingest.settings import Ingest
from modelmill.dataset import Dataset, open_dataset
from modelmill.errors import ModelmillError
from modelmill.sources import list_files, open_raw
from modelmill.store import Store
from pipelines.plan.walk import PlannedStep

Part = Literal["corpus", "labelled"]
# Bytes at the beginning of a file by which the length of its lines is judged.
_GLANCE = 1 << 20
_LINES = (".csv", ".tsv", ".jsonl", ".txt", ".text")


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a training reads, as far as it is known."""

    rows: int | None = None
    """Of its training split."""
    basis: str = "known after ingest"
    """Where the number of rows is from."""
    tokens_per_row: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What the dataset's manifest says of its columns."""


def data_of(part: Part, ingest: Ingest, steps: Sequence[PlannedStep], store: Store) -> Data:
    """Return what is known of the corpus or of the labelled rows.

    Raises:
        ModelmillError: the store does not answer.
    """
    outputs = {step.name: step.outputs for step in steps if step.state == "cached"}
    if "preprocess" in outputs:
        found = _opened(store, outputs["preprocess"].get(f"{part}_tokens", ""))
        if found is not None:
            return _of(found, part, json.loads(outputs["preprocess"]["summary"]))
    if "ingest" in outputs:
        found = _opened(store, outputs["ingest"].get(part, ""))
        if found is not None:
            return _of(found, part, {})
    return _guessed(ingest) if part == "labelled" else Data()


def _opened(store: Store, address: str) -> Dataset | None:
    try:
        return open_dataset(store, address) if address else None
    except ModelmillError:
        # What was deleted from the store is made again.
        return None


def _of(dataset: Dataset, part: Part, summary: Mapping[str, Any]) -> Data:
    texts = summary.get(f"{part}_texts")
    return Data(
        rows=dataset.rows("train"),
        basis="of the dataset in the cache",
        tokens_per_row=summary[f"{part}_tokens"] / texts if texts else None,
        meta=dataset.meta,
    )


def _guessed(ingest: Ingest) -> Data:
    """Return about how many rows the labelled sources hold, by their size and the length of their first lines."""
    total = 0.0
    for source in ingest.labelled:
        rows = _rows(source.uri)
        if rows is None:
            return Data()
        total += rows * (source.sample or 1.0)
    return Data(rows=round(total * ingest.split.train), basis="about, by the size of the sources")


def _rows(uri: str) -> float | None:
    rows = 0.0
    for file in list_files(uri):
        if not file.name.endswith(_LINES) or not file.bytes:
            return None
        with open_raw(file) as raw:
            seen = raw.read(_GLANCE)
        lines = seen.count(b"\n")
        if not seen or not lines:
            return None
        rows += file.bytes * lines / len(seen)
    return rows
