import numpy as np
import pytest
import sacrebleu

from modelmill.evaluation.overlap import overlap
from tests import samples

TEXTS = [text for text, _ in samples.reviews(80, 6)]
ANSWERS = [" ".join([*text.split()[:-2], "scenes"]) for text in TEXTS]


def test_figures_are_sacrebleus() -> None:
    """Also after an upgrade: the sums of rows are of its own making."""
    found = overlap(ANSWERS, TEXTS)
    bleu, chrf = sacrebleu.corpus_bleu(ANSWERS, [TEXTS]), sacrebleu.corpus_chrf(ANSWERS, [TEXTS])
    assert found.figures() == {"bleu": pytest.approx(bleu.score), "chrf": pytest.approx(chrf.score)}
    assert 0 < found.figures()["bleu"] < 100
    assert found.of_rows("chrf")[3] == pytest.approx(sacrebleu.sentence_chrf(ANSWERS[3], [TEXTS[3]]).score)
    assert found.signatures["bleu"].startswith("nrefs:1|case:mixed|")


def test_intervals_hold_the_figures_and_narrow_with_more_rows() -> None:
    few, many = overlap(ANSWERS[:20], TEXTS[:20]), overlap(ANSWERS * 4, TEXTS * 4)
    for name, value in few.figures().items():
        low, high = few.intervals()[name]
        assert low < value < high
        closer = many.intervals()[name]
        assert closer[1] - closer[0] < high - low
    assert few.intervals() == few.intervals()


def test_equal_answers_are_perfect_and_empty_ones_worth_nothing() -> None:
    assert overlap(TEXTS, TEXTS).figures() == {"bleu": pytest.approx(100), "chrf": pytest.approx(100)}
    nothing = overlap([""] * 3, TEXTS[:3])
    assert nothing.figures() == {"bleu": 0.0, "chrf": 0.0}
    assert np.isfinite(list(nothing.intervals().values())).all()
