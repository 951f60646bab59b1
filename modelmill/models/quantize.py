"""Quantises a model and measures what that costs: the figures of both on the same rows, size and time."""

# N rows, L labels

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelmill.errors import ModelmillError, UserError
from modelmill.models import quantized
from modelmill.models.folder import MODEL_FILE, save_files, save_model
from modelmill.models.predict import load_predictor
from modelmill.scoring.golden import Golden
from modelmill.store import Store

Numbers = npt.NDArray[Any]

TASKS = (
    "text-classification",
    "pair-classification",
    "image-classification",
    "table-classification",
    "table-regression",
)
"""Whose loss can be stated in one figure of right and wrong, or of distance."""
_REPEATS = 7
_CHUNK = 256


def check_task(task: str) -> None:
    """Check that what quantising costs a model for a task can be told.

    Raises:
        UserError: it cannot.
    """
    if task not in TASKS:
        raise UserError(
            f"a model for {task} is not quantised: what it would lose is measured for {', '.join(TASKS)} alone"
        )


def quantize(store: Store, folder: Path, output: Path, golden: Golden) -> dict[str, Any]:
    """Put a model with quantised linear layers into the store, and a report; return the report with both addresses.

    `output` is a folder that does not exist, in which the quantised model is made.

    Raises:
        UserError: nothing of the model can be quantised.
        ModelmillError: the quantised model gives no finite answers.
    """
    facts = json.loads((folder / MODEL_FILE).read_text())
    check_task(facts["task"])
    before = load_predictor(folder)
    layers = quantized.save(before, folder, output)
    meta = {name: value for name, value in facts.items() if name != "digest"}
    meta[quantized.KEY] = {"scheme": quantized.SCHEME, "layers": layers, "of": facts.get("digest", "")}
    address = save_model(store, output, meta)
    after = load_predictor(output)
    answers = [_answers(predictor, golden.inputs) for predictor in (before, after)]
    if not np.isfinite(answers[1]).all():
        raise ModelmillError(f"{address}: gives no finite answers to {golden.source}, so it is of no use")
    assert golden.truth_N is not None
    report = {
        "task": facts["task"],
        "model": facts.get("digest", ""),
        "quantized": address,
        "layers": layers,
        "rows": len(golden.inputs),
        "measured_on": golden.source,
        "metrics": {name: _score(facts, golden.truth_N, one) for name, one in _both(answers).items()},
        "lost": _lost(golden.truth_N, answers[0], answers[1]),
        "bytes": _both([(folder / quantized.PLAIN).stat().st_size, (output / quantized.WEIGHTS).stat().st_size]),
        "milliseconds": {
            str(rows): _both([_milliseconds(one, golden.inputs, rows) for one in (before, after)]) for rows in (1, 32)
        },
    }
    files = {"quantization.json": (json.dumps(report, indent=1, sort_keys=True) + "\n").encode()}
    at = save_files(store, "reports", files, {"kind": "quantization", "model": address})
    return {**report, "report": at}


def _both(values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(("before", "after"), values, strict=True))


def _answers(predictor: Any, inputs: Sequence[Any]) -> Numbers:
    parts = [predictor.predict(inputs[start : start + _CHUNK]) for start in range(0, len(inputs), _CHUNK)]
    return np.concatenate(parts)


def _score(facts: Mapping[str, Any], truth_N: Numbers, answers: Numbers) -> dict[str, float]:
    from modelmill.evaluation import metrics, regression

    return metrics.score(truth_N, answers) if "labels" in facts else regression.score(truth_N, answers)


def _lost(truth_N: Numbers, before: Numbers, after: Numbers) -> dict[str, Any]:
    """Return what is lost by row, paired: of accuracy, or of squared error what is gained, with its 95 % interval."""
    from modelmill.evaluation.intervals import of_mean

    if before.ndim == 2:
        right = [(one.argmax(axis=1) == truth_N).astype(np.float64) for one in (before, after)]
        loss_N, what = right[0] - right[1], "accuracy"
        same = float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    else:
        loss_N, what = (after - truth_N) ** 2 - (before - truth_N) ** 2, "mse"
        same = float((before == after).mean())
    low, high = of_mean(loss_N) if len(loss_N) > 1 else (float("-inf"), float("inf"))
    return {
        "metric": what,
        "value": float(loss_N.mean()),
        "interval": [low, high] if np.isfinite([low, high]).all() else None,
        "same_answers": same,
        "largest_difference": float(np.abs(before - after).max()),
    }


def _milliseconds(predictor: Any, inputs: Sequence[Any], rows: int) -> float:
    """Return the median time that a batch takes, its raw input included."""
    batch = [inputs[place % len(inputs)] for place in range(rows)]
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        predictor.predict(batch)
        times.append(time.perf_counter() - began)
    return round(1000 * float(np.median(times)), 3)
