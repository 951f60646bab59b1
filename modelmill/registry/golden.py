"""Golden rows: a few inputs with the answers that evaluation got, kept with a version and tried before a rollback."""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modelmill.dataset import Dataset
from modelmill.digest import canonical_json
from modelmill.errors import ModelmillError
from modelmill.store import Store

ASKED: Mapping[str, tuple[str, ...]] = {
    "text": ("text",),
    "labelled-text": ("text",),
    "labelled-pairs": ("text", "pair"),
    "labelled-targets": ("text",),
    "labelled-questions": ("question", "context"),
    "labelled-images": ("image",),
    "labelled-table": ("features",),
}
"""By a dataset's kind, the column that holds what a predictor is asked; of several, a mapping of them."""

Answer = Literal["probability", "number", "text", "loss"]
# The column of a report's predictions that holds the answers; the first one that is there counts.
_COLUMNS: Mapping[str, Answer] = {"probability": "probability", "answer": "text", "predicted": "number", "nats": "loss"}
_ROWS = 8
# A row that is larger, in JSON, is no golden one: a picture of 200 kB is enough to see that pictures are read.
_MOST_BYTES = 1 << 18
# Evaluation may have run in bfloat16, the coarsest arithmetic there is here: its 8 bits tell 1 from 1.008. What that
# moves was measured on residual networks of 4 to 24 layers, every weight and every result rounded to bfloat16 against
# float32: a probability by 0.023 in one case of 100 and 0.035 at most, of 4,800 (logits of a deviation up to 4, 24
# layers); a number, as a share of it, by 0.005 and 0.024, of 6,000 (2 and 4 layers). With these bounds none is told.
_OF_PROBABILITY, _OF_NUMBER = 0.04, 0.03
# One word may fall the other way on another device, and changes the text after it.
_OF_TEXTS = 0.5


def keep_golden(store: Store, dataset: Dataset, split: str, predictions: bytes, facts: Mapping[str, Any]) -> str:
    """Keep the first rows of a split with a report's answers to them; return their address, '' where there are none.

    `facts` are the model's address, its task, and what its losses depend on (`mask_rate`).

    Raises:
        ModelmillError: dataset or store cannot be read or written.
    """
    import pyarrow.parquet as pq

    columns = ASKED[dataset.meta["kind"]]
    table = pq.read_table(io.BytesIO(predictions))
    column = next((name for name in _COLUMNS if name in table.column_names), None)
    if column is None or not dataset.rows(split):
        return ""
    found = dict(zip(table["id"].to_pylist()[:_ROWS], table[column].to_pylist()[:_ROWS], strict=True))
    rows = []
    # Places count: which tokens are hidden, or which noise is drawn, hangs on a document's.
    for row in next(dataset.batches(split, ["id", *columns], rows=_ROWS)).to_pylist():
        asked = {name: row[name] for name in columns} if len(columns) > 1 else row[columns[0]]
        one = {"id": row["id"], "input": _plain(asked), "answer": found.get(row["id"])}
        if one["answer"] is None or len(canonical_json(one)) > _MOST_BYTES:
            break
        rows.append(one)
    return store.put_addressed("golden", {**facts, "kind": _COLUMNS[column], "rows": rows}) if rows else ""


def try_golden(store: Store, address: str, folder: Path) -> int:
    """Load a model from its folder and ask it its golden rows; return how many.

    Without an address the model is loaded, and nothing asked.

    Raises:
        UserError: the folder holds no model that answers.
        ModelmillError: it answers otherwise than it did.
    """
    from modelmill.models.predict import load_predictor

    predictor: Any = load_predictor(folder)
    if not address:
        return 0
    golden = store.get_addressed(address)
    inputs = [given(row["input"]) for row in golden["rows"]]
    kind: Answer = golden["kind"]
    if kind == "loss":
        rate = golden.get("mask_rate")
        losses = predictor.losses(inputs, rate) if rate else predictor.losses(inputs)
        # Word embeddings answer with the losses of frequency alone, too.
        answers = (losses[0] if isinstance(losses, tuple) else losses).nats_D
    else:
        answers = predictor.predict(inputs)
        answers = answers["answer"] if answers.dtype.names else answers
    wrong = differing(kind, [row["answer"] for row in golden["rows"]], list(answers))
    if wrong:
        raise ModelmillError(
            f"{golden['model']}: answers {len(wrong)} of {len(inputs)} golden rows otherwise than when it was "
            f"evaluated: {wrong[0]}; are the libraries here those of its requirements?"
        )
    return len(inputs)


def differing(kind: Answer, before: Sequence[Any], now: Sequence[Any]) -> list[str]:
    """Return which answers differ by more than another device makes them, each as a sentence.

    Of texts, which one other word may change wholly, half may differ.
    """
    if len(before) != len(now):
        return [f"{len(before)} answers were given, and {len(now)} are"]
    wrong = []
    for number, (old, new) in enumerate(zip(before, now, strict=True)):
        if not _same(kind, old, new):
            wrong.append(f"row {number + 1} had {_shown(old)} and has {_shown(new)}")
    few = kind == "text" and len(wrong) <= _OF_TEXTS * len(before)
    return [] if few else wrong


def given(value: Any) -> Any:
    """Return what a predictor is asked from how a golden row keeps it."""
    if isinstance(value, dict) and set(value) == {"base64"}:
        return base64.b64decode(value["base64"])
    return value


def _plain(value: Any) -> Any:
    """Return a value as JSON can say it: bytes as base64, dates as texts, and what is no number as missing."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, datetime | date):
        return value.isoformat()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _same(kind: Answer, old: Any, new: Any) -> bool:
    if kind == "text":
        return str(old) == str(new)
    old_L, new_L = np.atleast_1d(np.asarray(old, float)), np.atleast_1d(np.asarray(new, float))
    if old_L.shape != new_L.shape or not np.isfinite(new_L).all():
        return False
    allowed = _OF_PROBABILITY if kind == "probability" else _OF_NUMBER * max(1.0, float(np.abs(old_L).max()))
    return bool(np.abs(old_L - new_L).max() <= allowed)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value[:60])
    return ", ".join(f"{one:.4g}" for one in np.atleast_1d(np.asarray(value, float)).tolist()[:8])
