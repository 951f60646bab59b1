"""BLEU and chrF of answers against references, by sacrebleu, with bootstrap intervals over rows.

BLEU: Papineni et al. 2002 (aclanthology.org/P02-1040); chrF: Popović 2015 (aclanthology.org/W15-3049); the bootstrap:
Koehn 2004 (aclanthology.org/W04-3250).
"""

# N rows, S sums that a figure follows from, K samples

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

# Enough for the first decimal of an end of the interval.
SAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What answers have in common with their references, row by row; from the sums the figures of any rows follow."""

    sums: Mapping[str, npt.NDArray[np.float64]]
    """[N, S] by figure, `bleu` and `chrf`."""
    signatures: Mapping[str, str]
    """How each was computed, as sacrebleu writes it, so that others can compare."""

    def figures(self) -> dict[str, float]:
        """Return the figures of all rows, from 0 to 100."""
        return {name: _score(name, sums_NS.sum(axis=0)) for name, sums_NS in self.sums.items()}

    def of_rows(self, name: str) -> npt.NDArray[np.float64]:
        """Return a figure of each row alone [N]."""
        return np.array([_score(name, sums_S) for sums_S in self.sums[name]])

    def intervals(self, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Return the 95 % interval of each figure: of as many rows, drawn again and again from these."""
        rows = len(next(iter(self.sums.values())))
        generator = np.random.default_rng(seed)
        counts_KN = generator.multinomial(rows, np.full(rows, 1 / rows), size=SAMPLES)
        found = {}
        for name, sums_NS in self.sums.items():
            scores_K = [_score(name, sums_S) for sums_S in counts_KN @ sums_NS]
            low, high = np.quantile(scores_K, (0.025, 0.975))
            found[name] = (float(low), float(high))
        return found


def overlap(answers: Sequence[str], references: Sequence[str]) -> Overlap:
    """Compare answers with a reference each."""
    sums, signatures = {}, {}
    for name, metric in _metrics().items():
        # sacrebleu gives figures of corpora; the sums of rows that they follow from are its own, here and in `_score`.
        of_rows = metric._extract_corpus_statistics(list(answers), [list(references)])
        sums[name] = np.array(of_rows, dtype=np.float64)
        signatures[name] = str(metric.get_signature())
    return Overlap(sums=sums, signatures=signatures)


def _score(name: str, sums_S: npt.NDArray[np.float64]) -> float:
    return float(_metrics()[name]._compute_score_from_stats(sums_S.astype(np.int64).tolist()).score)


@cache
def _metrics() -> dict[str, Any]:
    from sacrebleu.metrics import BLEU, CHRF

    return {"bleu": BLEU(), "chrf": CHRF()}
