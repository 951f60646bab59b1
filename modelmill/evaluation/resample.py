"""How far a figure, or the difference of two models' figures on the same rows, may be luck of the rows drawn.

Two intervals are made and the wider one is told, at either end:

- The paired bootstrap's, bias-corrected and accelerated (BCa; Efron 1987, "Better bootstrap confidence intervals", JASA
  82). Its plain percentiles are too narrow at small N: Hesterberg 2015 (arXiv:1411.5279), table 1 and section 4.
- Student's, from the jackknife (Efron and Stein 1981): it has the factor for few rows, which the bootstrap lacks, but
  takes the figure's distribution for symmetric.

`benchmarks/verdict.py` simulates how often the two err together.

N rows, J joint patterns (rows on which both models count alike), S samples.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill.evaluation.metrics import Floats
from modelmill.evaluation.sums import Figures, Sums

SAMPLES = 2000
# Bounds memory alone: the result does not depend on it.
_CELLS_AT_ONCE = 500_000
# With fewer patterns than this for each row, drawing how often each pattern occurs is faster than drawing rows.
_PATTERNS_A_ROW = 0.1
# Of figures with a few huge rows the acceleration would turn an interval's end around; so it goes to the last sample.
_LEAST = 1e-9


@dataclass(frozen=True, kw_only=True)
class Joint:
    """The same rows as one or several models count them."""

    models: tuple[Sums, ...]
    """What a row of each joint pattern adds, [J, K], and the figures that follow."""
    times_J: NDArray[np.int64]
    """How many rows have each joint pattern."""
    joint_N: NDArray[np.int64]
    """The joint pattern of each row."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.joint_N)

    def figures(self, times_SJ: NDArray[Any]) -> list[Figures]:
        """Return each model's figures of samples in which the joint patterns occur so many times."""
        weights_SJ = np.asarray(times_SJ, dtype=np.float64)
        return [sums.of_times(weights_SJ) for sums in self.models]

    def without_each(self) -> list[Figures]:
        """Return each model's figures when one row is left out, by the joint pattern of that row."""
        found = []
        for sums in self.models:
            total_K = np.asarray(self.times_J.astype(np.float64) @ sums.values_PK)
            step = max(1, _CELLS_AT_ONCE // len(total_K))
            parts = [
                sums.figures(total_K - _dense(sums.values_PK[start : start + step]))
                for start in range(0, len(self.times_J), step)
            ]
            found.append({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
        return found


def _dense(values: Any) -> Floats:
    dense: Floats = values if isinstance(values, np.ndarray) else values.toarray()
    return dense


def joint(*models: Sums) -> Joint:
    """Return several models' sums over the same rows, in the same order, as one."""
    code_N = models[0].pattern_N
    for sums in models[1:]:
        code_N = code_N * sums.values_PK.shape[0] + sums.pattern_N
    _, first_J, joint_N, times_J = np.unique(code_N, return_index=True, return_inverse=True, return_counts=True)
    places_J = np.arange(len(first_J))
    apart = (
        Sums(pattern_N=places_J, values_PK=sums.values_PK[sums.pattern_N[first_J]], figures=sums.figures)
        for sums in models
    )
    return Joint(models=tuple(apart), times_J=times_J, joint_N=joint_N.reshape(-1))


def draws(rows: Joint, samples: int = SAMPLES, seed: int = 0, at_once: int | None = None) -> Iterator[NDArray[Any]]:
    """Yield how often each joint pattern occurs in as many rows drawn with replacement, [some samples, J].

    Equal seeds give equal samples, whatever `at_once`, how many are yielded together.
    """
    generator = np.random.default_rng(seed)
    patterns = len(rows.times_J)
    chunk = at_once or max(1, _CELLS_AT_ONCE // patterns)
    few, alone = patterns <= _PATTERNS_A_ROW * rows.rows, patterns == rows.rows
    for start in range(0, samples, chunk):
        count = min(chunk, samples - start)
        if few:
            yield generator.multinomial(rows.rows, rows.times_J / rows.rows, size=count)
            continue
        # One sample at a time: its counts stay in the processor's cache.
        drawn_SJ = np.empty((count, patterns))
        for sample in range(count):
            drawn_N = generator.integers(0, rows.rows, rows.rows)
            # Rows that are all a pattern of their own are as well named by its place.
            drawn_SJ[sample] = np.bincount(drawn_N if alone else rows.joint_N[drawn_N], minlength=patterns)
        yield drawn_SJ


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure, or a difference of two, and what its intervals are made of."""

    value: float
    drawn_S: Floats
    """Of the samples, sorted."""
    error: float
    """Its standard error, by the jackknife."""
    acceleration: float
    """How fast the error changes with the value: a sixth of the skewness of the jackknife's values."""
    rows: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the wider of the two intervals at either end; with fewer than two rows, everything."""
        if self.rows < 2:
            return -np.inf, np.inf
        tail = (1 - confidence) / 2
        reach = _student(1 - tail, self.rows - 1) * self.error
        low, high = np.quantile(self.drawn_S, (self._level(tail), self._level(1 - tail)))
        return min(float(low), self.value - reach), max(float(high), self.value + reach)

    def p_at_most(self, limit: float) -> float:
        """Return how likely so large a value, or a larger one, is if the truth is `limit`: one-sided, the larger p.

        It is below a tail of the interval exactly where that interval begins above `limit`.
        """
        from scipy.special import ndtr, ndtri, stdtr

        if self.rows < 2:
            return 1.0
        if self.error == 0:
            return 0.0 if self.value > limit else 1.0
        student = float(stdtr(self.rows - 1, (limit - self.value) / self.error))
        share = float(np.searchsorted(self.drawn_S, limit, side="right")) / len(self.drawn_S)
        if share in {0.0, 1.0}:
            # Beyond what so many samples can tell.
            return student if share == 0 else 1.0
        apart = ndtri(share) - self._bias()
        return max(student, float(ndtr(apart / max(1 + self.acceleration * apart, _LEAST) - self._bias())))

    def mirrored(self) -> "Estimate":
        """Return the same of the opposite difference."""
        return Estimate(
            value=-self.value,
            drawn_S=-self.drawn_S[::-1],
            error=self.error,
            acceleration=-self.acceleration,
            rows=self.rows,
        )

    def _bias(self) -> float:
        from scipy.special import ndtri

        below = np.searchsorted(self.drawn_S, self.value, side="left")
        upto = np.searchsorted(self.drawn_S, self.value, side="right")
        least = 0.5 / len(self.drawn_S)
        # Half of those that equal it; and never none or all, for which there is no quantile.
        share = np.clip((below + upto) / 2 / len(self.drawn_S), least, 1 - least)
        return float(ndtri(share))

    def _level(self, tail: float) -> float:
        from scipy.special import ndtr, ndtri

        moved = self._bias() + ndtri(tail)
        return float(ndtr(self._bias() + moved / max(1 - self.acceleration * moved, _LEAST)))


def _student(level: float, freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, level))


def estimates(
    rows: Joint, names: Sequence[str], drawn: Iterable[NDArray[Any]] | None = None, seed: int = 0
) -> dict[str, Estimate]:
    """Return, of one model, its figures, and of two, by how much the second's exceed the first's.

    `drawn` are samples as `draws` yields them.
    """
    whole = _apart(rows.figures(rows.times_J[None]), names)
    parts = [
        _apart(rows.figures(times_SJ), names) for times_SJ in (drawn if drawn is not None else draws(rows, seed=seed))
    ]
    # Of one row nothing is left without it.
    without = _apart(rows.without_each(), names) if rows.rows > 1 else whole
    found = {}
    for name in names:
        drawn_S = np.sort(np.concatenate([part[name] for part in parts]))
        error, acceleration = _jackknife(without[name], rows.times_J)
        found[name] = Estimate(
            value=float(whole[name][0]), drawn_S=drawn_S, error=error, acceleration=acceleration, rows=rows.rows
        )
    return found


def _apart(figures: Sequence[Figures], names: Sequence[str]) -> Figures:
    if len(figures) == 1:
        return {name: figures[0][name] for name in names}
    before, after = figures
    return {name: after[name] - before[name] for name in names}


def _jackknife(without_J: Floats, times_J: NDArray[np.int64]) -> tuple[float, float]:
    """Return a figure's standard error and its acceleration from its values with one row left out."""
    rows = int(times_J.sum())
    apart_J = float(times_J @ without_J) / rows - without_J
    squares = float(times_J @ apart_J**2)
    # What is left of the same number subtracted from itself is no difference.
    if rows < 2 or squares <= rows * (1e-15 * max(1.0, float(np.abs(without_J).max()))) ** 2:
        return 0.0, 0.0
    return sqrt((rows - 1) / rows * squares), float(times_J @ apart_J**3) / (6 * squares**1.5)
