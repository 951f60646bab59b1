import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from modelmill.evaluation import paired


@given(gained=st.integers(0, 40), lost=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_mcnemar_s_p_is_the_binomial_test_s(gained: int, lost: int) -> None:
    wanted = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert paired.mcnemar(gained, lost) == pytest.approx(wanted)


@given(gained=st.integers(0, 40), lost=st.integers(0, 40), same=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_the_interval_leaves_0_out_exactly_where_mcnemar_s_test_does(gained: int, lost: int, same: int) -> None:
    low, high = paired.interval(gained, lost, gained + lost + same)
    difference = (gained - lost) / (gained + lost + same)
    assert -1 <= low <= difference <= high <= 1
    shown = paired.mcnemar(gained, lost) <= 0.05
    if abs(paired.mcnemar(gained, lost) - 0.05) > 1e-6:
        assert (low > 0) == (shown and gained > lost)
        assert (high < 0) == (shown and lost > gained)
    assert paired.interval(lost, gained, gained + lost + same) == pytest.approx((-high, -low), abs=1e-9)


def test_tango_s_interval_is_the_published_one() -> None:
    """Tango 1998, table II: of 44 rows 0 and 1 discordant; the wider end of ours is never narrower."""
    assert paired.interval(0, 1, 44)[0] == pytest.approx(-0.1181, abs=2e-3)
    # Without a row that tells the two apart: z² / (N + z²).
    z = 1.959964
    assert paired.interval(0, 0, 100) == pytest.approx((-(z**2) / (100 + z**2), z**2 / (100 + z**2)), abs=1e-6)


def test_the_p_of_a_limit_grows_with_it() -> None:
    ps = [float(paired.p_at_most(12, 7, 200, limit)) for limit in np.linspace(-0.2, 0.3, 101)]
    assert (np.diff(ps) >= -1e-12).all()
    assert ps[0] < 1e-6
    assert ps[-1] > 0.999


@pytest.mark.parametrize(("difference", "apart", "rows"), [(0.05, 0.1, 400), (0.2, 0.3, 60), (0.01, 0.02, 1000)])
def test_the_power_is_how_often_a_gain_is_shown(difference: float, apart: float, rows: int) -> None:
    chances = [(apart + difference) / 2, (apart - difference) / 2, 1 - apart]
    counts = np.random.default_rng(0).multinomial(rows, chances, size=40_000)
    shown = (paired.p_at_most(counts[:, 0], counts[:, 1], rows, 0.0) <= 0.025).mean()
    assert paired.power(difference, apart, rows) == pytest.approx(shown, abs=0.01)


def test_the_smallest_difference_and_the_rows_for_it_belong_together() -> None:
    smallest = paired.smallest_difference(0.1, 1000)
    assert smallest is not None
    assert paired.power(smallest, 0.1, 1000) == pytest.approx(0.8, abs=0.01)
    assert paired.rows_needed(smallest, 0.1) == pytest.approx(1000, rel=0.05)


def test_so_few_rows_apart_show_nothing() -> None:
    assert paired.smallest_difference(0.02, 20) is None
    assert paired.rows_needed(1e-7, 0.1) is None


def test_areas_are_scikit_learn_s_and_their_error_is_the_bootstrap_s() -> None:
    generator = np.random.default_rng(0)
    positive = generator.random(300) < 0.3
    first = positive + generator.normal(size=300)
    second = (0.6 * first + positive + generator.normal(size=300)).round(1)
    found = paired.areas(positive, first, second)
    assert found.champion == pytest.approx(roc_auc_score(positive, first))
    assert found.challenger == pytest.approx(roc_auc_score(positive, second))
    drawn = []
    for _ in range(600):
        rows = generator.integers(0, 300, 300)
        areas = [roc_auc_score(positive[rows], score[rows]) for score in (first, second)]
        drawn.append(areas[1] - areas[0])
    assert found.error == pytest.approx(float(np.std(drawn)), rel=0.12)
