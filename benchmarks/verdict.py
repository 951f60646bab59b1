"""Two classifiers on 100,000 rows are compared: modelmill's comparison beside a plain paired bootstrap.

    python -m benchmarks.verdict --json [--rows 100000] [--draws 2000] [--rounds 5] [--repetitions 10000]

Both draw the rows 2,000 times over, as a whole and within 20 slices, and give the 95 % interval of the difference in
macro F1. The peer is numpy: indices drawn over rows, the figure of the rows drawn. Ours is all that `register` does
with two tables of predictions, the other figures, the exact tests and the sentences included. Beside it the rule is
simulated (`benchmarks/simulated.py`): how often equal models are promoted, and better ones.
"""

import argparse
import json
import time
from typing import Any

import numpy as np

from benchmarks.measure import alternate, report, say

_LABELS = ("a", "b", "c")
_COLUMNS, _VALUES = 4, 5


def main() -> None:
    """Run the rounds and print the figures; as a child of itself, run one side once."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="the object alone, without a word on the way")
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--draws", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--repetitions", type=int, default=10_000)
    options.add_argument("--side", nargs=3, metavar=("SIDE", "ROWS", "DRAWS"), help=argparse.SUPPRESS)
    options.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.side is None:
        _measure(given)
        return
    side, rows, samples = given.side[0], int(given.side[1]), int(given.side[2])
    print(json.dumps({"ours": _ours, "numpy": _numpy, "numbers": _numbers}[side](rows, samples, given.seed)))


def _measure(given: argparse.Namespace) -> None:
    sizes = [str(given.rows), str(given.draws)]
    made = alternate("benchmarks.verdict", sizes, given.rounds, ("ours", "numpy"), "million rows/s")
    numbers = alternate("benchmarks.verdict", sizes, 1, ("numbers",), "million rows/s")
    report(
        "verdict",
        unit="million rows drawn a second",
        ours=made.rates["ours"],
        peer=made.rates["numpy"],
        peer_name="paired bootstrap by numpy's indices over rows, of macro F1 alone",
        rows=given.rows,
        draws=given.draws,
        slices=_COLUMNS * _VALUES,
        seconds={side: each["seconds"] for side, each in {**made.facts, **numbers.facts}.items()},
        intervals={side: each["interval"] for side, each in made.facts.items()},
        peak_memory_mb={**made.memory, **numbers.memory},
        promoted=_simulate(given.repetitions),
        repetitions=given.repetitions,
    )


def _simulate(repetitions: int) -> dict[str, Any]:
    """Return by scenario how often the challenger passes, and what that is held to."""
    from benchmarks.simulated import SCENARIOS, share, slack

    found = {}
    for name, scenario in SCENARIOS.items():
        passed = share(scenario, repetitions)
        found[name] = {"share": round(passed, 4)}
        for bound, limit in (("at_most", scenario.at_most), ("at_least", scenario.at_least)):
            if limit is not None:
                found[name][bound] = limit
        say(f"{name}: {passed:.4f} {found[name]}")
        if scenario.at_most is not None and passed > scenario.at_most + slack(scenario.at_most, repetitions):
            raise SystemExit(f"{name}: passed in {passed:.4f}, at most {scenario.at_most} is stated")
        if scenario.at_least is not None and passed < scenario.at_least - slack(scenario.at_least, repetitions):
            raise SystemExit(f"{name}: passed in {passed:.4f}, at least {scenario.at_least} is stated")
    return found


def _answers(rows: int, seed: int) -> tuple[Any, list[Any], list[Any]]:
    """Return true labels, two models' probabilities, and the slices that the rows are in."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, len(_LABELS), rows)
    models = []
    for skill in (1.5, 1.52):
        scores = generator.normal(size=(rows, len(_LABELS)))
        scores[np.arange(rows), truth] += skill
        odds = np.exp(scores)
        models.append(odds / odds.sum(axis=1, keepdims=True))
    return truth, models, [generator.integers(0, _VALUES, rows) for _ in range(_COLUMNS)]


def _ours(rows: int, samples: int, seed: int) -> dict[str, Any]:
    from modelmill.evaluation import resample
    from modelmill.evaluation.compare import Measured, compare
    from modelmill.evaluation.comparison import AgainstChampion
    from modelmill.evaluation.document import Report
    from modelmill.evaluation.verdict import verdict

    truth, models, slices = _answers(rows, seed)
    figures = {"accuracy": 0.0, "f1_macro": 0.0}
    told = Report(
        task="text-classification", model="models/" + "a" * 64, dataset="datasets/" + "b" * 64, test_rows=rows,
        labels=_LABELS, metrics={"test": figures}, intervals={},
    )  # fmt: skip
    tables = [_table(truth, probabilities, slices) for probabilities in models]
    assert samples == resample.SAMPLES, f"{samples} draws: modelmill makes {resample.SAMPLES}"
    began = time.perf_counter()
    before, after = (Measured(report=told, table=table) for table in tables)
    made = compare(before, after, AgainstChampion(metric="f1_macro"), "1")
    verdict([], "version 1", rows=rows, comparison=made)
    seconds = time.perf_counter() - began
    main = made.main
    return {**_rate(rows, samples, seconds), "interval": [main.low, main.high]}


def _table(truth: Any, probability: Any, slices: list[Any]) -> Any:
    import pyarrow as pa

    flat = pa.array(probability.astype(np.float32).ravel())
    columns = {
        "id": [f"{row:032x}" for row in range(len(truth))],
        "label": pa.array(truth, pa.int32()),
        "predicted": pa.array(probability.argmax(axis=1), pa.int32()),
        "probability": pa.FixedSizeListArray.from_arrays(flat, probability.shape[1]),
    }
    parts = {f"slice.{place}": [f"value {code}" for code in codes] for place, codes in enumerate(slices)}
    return pa.table(columns | parts)


def _rate(rows: int, samples: int, seconds: float) -> dict[str, Any]:
    drawn = rows * samples * (1 + _COLUMNS)
    return {"rate": drawn / seconds / 1e6, "seconds": round(seconds, 2)}


def _numpy(rows: int, samples: int, seed: int) -> dict[str, Any]:
    truth, models, slices = _answers(rows, seed)
    first, second = (probabilities.argmax(axis=1) for probabilities in models)
    began = time.perf_counter()
    interval = _plain(truth, first, second, samples)
    for codes in slices:
        for value in range(_VALUES):
            inside = codes == value
            _plain(truth[inside], first[inside], second[inside], samples)
    seconds = time.perf_counter() - began
    return {**_rate(rows, samples, seconds), "interval": [round(float(end), 6) for end in interval]}


def _plain(truth: Any, first: Any, second: Any, samples: int) -> Any:
    """Return the paired bootstrap's percentile interval of a difference in macro F1."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(samples):
        drawn = generator.integers(0, len(truth), len(truth))
        figures = []
        for given in (first, second):
            pairs = np.bincount(truth[drawn] * len(_LABELS) + given[drawn], minlength=len(_LABELS) ** 2)
            confusion = pairs.reshape(len(_LABELS), -1)
            figures.append(np.mean(2 * np.diag(confusion) / (confusion.sum(axis=0) + confusion.sum(axis=1))))
        found.append(figures[1] - figures[0])
    return np.quantile(found, (0.025, 0.975))


def _numbers(rows: int, samples: int, seed: int) -> dict[str, Any]:
    """The same of predicted numbers, where every row is its own pattern."""
    import pyarrow as pa

    from modelmill.evaluation.compare import Measured, compare
    from modelmill.evaluation.comparison import AgainstChampion
    from modelmill.evaluation.document import Report

    generator = np.random.default_rng(seed)
    truth = generator.normal(size=rows) * 3 + 20
    _, _, slices = _answers(rows, seed)
    told = Report(
        task="table-regression", model="models/" + "a" * 64, dataset="datasets/" + "b" * 64, test_rows=rows,
        metrics={"test": {"r2": 0.9}}, intervals={},
    )  # fmt: skip
    parts = {f"slice.{place}": [f"value {code}" for code in codes] for place, codes in enumerate(slices)}
    ids = [f"{row:032x}" for row in range(rows)]
    tables = [
        pa.table({"id": ids, "target": truth, "predicted": truth + generator.normal(size=rows), **parts}) for _ in "ab"
    ]
    began = time.perf_counter()
    compare(*(Measured(report=told, table=table) for table in tables), AgainstChampion(), "1")
    return _rate(rows, samples, time.perf_counter() - began)


if __name__ == "__main__":
    main()
