"""How often the rule that compares two models errs: models made to be equal, and models made to be better.

Each scenario draws test rows and two models' answers anew, again and again, and decides as `register` does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from modelmill.evaluation import paired, sums
from modelmill.evaluation.compare import holm, outcome
from modelmill.evaluation.comparison import AgainstChampion
from modelmill.evaluation.gains import Gain, gains_of
from modelmill.evaluation.metrics import Floats
from modelmill.evaluation.resample import draws, joint

LEVEL = 0.025
"""How often at most an equal model may be promoted, at the default confidence."""
POWER = 0.8
BETTER = AgainstChampion()
_MARGIN = 0.02
# One model's errors are rarely made, and then so many times as large.
_RARE, _HUGE = 0.05, 3.2


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Two models and a test set."""

    decide: Callable[[np.random.Generator, int], bool]
    """Whether the challenger passes in one repetition on so many rows."""
    rows: int
    at_most: float | None = None
    """How often it may pass; None where that is only told."""
    at_least: float | None = None


def share(scenario: Scenario, repetitions: int, seed: int = 0) -> float:
    """Return how often the challenger passes."""
    generator = np.random.default_rng(seed)
    return sum(scenario.decide(generator, scenario.rows) for _ in range(repetitions)) / repetitions


def slack(expected: float, repetitions: int) -> float:
    """Return three standard errors of a share: how far it may be off by luck of the repetitions."""
    return 3 * float(np.sqrt(expected * (1 - expected) / repetitions))


def _accuracy(gain: float, apart: float, asked: AgainstChampion = BETTER) -> Callable[[np.random.Generator, int], bool]:
    """The models differ on a share `apart` of the rows, by `gain` in all."""

    def decide(generator: np.random.Generator, rows: int) -> bool:
        gained, lost, _ = generator.multinomial(rows, [(apart + gain) / 2, (apart - gain) / 2, 1 - apart])
        seen = Gain(champion=0.0, challenger=0.0, rows=rows, gained=int(gained), lost=int(lost))
        return outcome(seen, asked) in {"better", "not_worse"}

    return decide


def _smallest(apart: float, rows: int) -> float:
    found = paired.smallest_difference(apart, rows)
    assert found is not None
    return found


def _f1_macro(generator: np.random.Generator, rows: int) -> bool:
    """Two classifiers of three labels of unlike frequency, right on 0.8 of the rows, each for itself."""
    truth = generator.choice(3, rows, p=[0.6, 0.3, 0.1])
    models = []
    for _ in range(2):
        wrong = generator.random(rows) > 0.8
        given = np.where(wrong, (truth + generator.integers(1, 3, rows)) % 3, truth)
        models.append(sums.of_labels(truth, given, ("a", "b", "c")))
    found = gains_of(models[0], models[1], ["f1_macro"])["f1_macro"]
    return outcome(found, BETTER) == "better"


class _Numbers:
    """Two regressions whose errors have some distribution; one sample of draws serves all repetitions."""

    def __init__(self, champion: Callable[..., Floats], challenger: Callable[..., Floats]) -> None:
        self.errors = (champion, challenger)
        self.drawn: dict[int, list[Floats]] = {}

    def __call__(self, generator: np.random.Generator, rows: int) -> bool:
        truth = 3 * generator.normal(size=rows)
        before, after = (sums.of_numbers(truth, truth + errors(generator, rows)) for errors in self.errors)
        if rows not in self.drawn:
            self.drawn[rows] = [each.astype(np.float64) for each in draws(joint(before, after))]
        found = gains_of(before, after, ["r2"], self.drawn[rows])["r2"]
        return outcome(found, BETTER) == "better"


def _normal(generator: np.random.Generator, rows: int) -> Floats:
    return generator.normal(size=rows)


def _heavy(generator: np.random.Generator, rows: int) -> Floats:
    return generator.standard_t(3, size=rows)


def _rare(generator: np.random.Generator, rows: int) -> Floats:
    """Errors as large as the normal ones in the mean of their squares, most of it in a few rows."""
    small = np.sqrt((1 - _RARE * _HUGE**2) / (1 - _RARE))
    return generator.normal(size=rows) * np.where(generator.random(rows) < _RARE, _HUGE, small)


def _shrunk(rows: int) -> Callable[..., Floats]:
    """Errors that are smaller by the gain that so many rows are said to show four times in five."""
    low, square = 0.0, 1.0
    for _ in range(50):
        middle = (low + square) / 2
        # The standard error of a difference of two means of squares, times what shows it four times in five.
        enough = 1 - middle > (1.96 + 0.8416) * np.sqrt((2 + 2 * middle**2) / rows)
        low, square = (middle, square) if enough else (low, middle)
    square = low
    return lambda generator, count: np.sqrt(square) * generator.normal(size=count)


def _no_slice_worse(generator: np.random.Generator, rows: int) -> bool:
    """Of 20 slices on which the models are equal, one is shown to be worse."""
    counts = generator.multinomial(rows // 20, [0.05, 0.05, 0.9], size=20)
    ps = paired.p_at_most(counts[:, 1], counts[:, 0], rows // 20, 0.0)
    return any(holm([float(p) for p in ps], LEVEL))


SCENARIOS: Mapping[str, Scenario] = {
    **{
        f"equal, accuracy, {rows} rows": Scenario(decide=_accuracy(0.0, 0.2), rows=rows, at_most=LEVEL)
        for rows in (30, 200, 2000)
    },
    **{
        f"better, accuracy, {rows} rows": Scenario(
            decide=_accuracy(_smallest(0.2, rows), 0.2), rows=rows, at_least=POWER
        )
        for rows in (200, 2000)
    },
    "worse by the margin, accuracy, 400 rows": Scenario(
        decide=_accuracy(-_MARGIN, 0.1, AgainstChampion(wants="not_worse", margin=_MARGIN)), rows=400, at_most=LEVEL
    ),
    "equal on 20 slices, one shown to be worse, 2000 rows": Scenario(decide=_no_slice_worse, rows=2000, at_most=LEVEL),
    **{f"equal, macro F1, {rows} rows": Scenario(decide=_f1_macro, rows=rows, at_most=LEVEL) for rows in (40, 200)},
    **{
        f"equal, R², {name} errors, {rows} rows": Scenario(decide=_Numbers(kind, kind), rows=rows, at_most=LEVEL)
        for name, kind in {"normal": _normal, "heavy-tailed": _heavy}.items()
        for rows in (30, 200)
    },
    "better, R², normal errors, 200 rows": Scenario(
        decide=_Numbers(_normal, _shrunk(200)), rows=200, at_least=POWER - 0.05
    ),
    # What a test set holds no example of, no interval knows of: told, and held to nothing.
    **{
        f"equal, R², rare huge errors of the challenger, {rows} rows": Scenario(
            decide=_Numbers(_normal, _rare), rows=rows
        )
        for rows in (200, 1000)
    },
}
"""By name."""
