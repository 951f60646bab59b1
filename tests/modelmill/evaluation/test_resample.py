import numpy as np
import pytest
from scipy import stats

from modelmill.evaluation import sums
from modelmill.evaluation.resample import SAMPLES, Joint, draws, estimates, joint
from tests.modelmill.evaluation import made


def numbers(rows: int, seed: int = 0) -> Joint:
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=rows) * 3
    return joint(*(sums.of_numbers(truth, truth + generator.normal(size=rows)) for _ in "ab"))


def classes(rows: int, seed: int = 0) -> Joint:
    truth, _ = made.guesses(rows, 2, seed=seed)
    given = [made.guesses(rows, 2, seed=seed)[1].argmax(axis=1), made.guesses(rows, 2, seed=seed + 1)[1].argmax(axis=1)]
    return joint(*(sums.of_labels(truth, each, ("a", "b")) for each in given))


@pytest.mark.parametrize("rows", [numbers(50), classes(1000)])
def test_equal_seeds_draw_equal_rows_however_many_at_once(rows: Joint) -> None:
    at_once = [np.concatenate(list(draws(rows, 100, seed=3, at_once=size))) for size in (1, 7, 100)]
    assert (at_once[0] == at_once[1]).all()
    assert (at_once[0] == at_once[2]).all()
    assert (at_once[0].sum(axis=1) == rows.rows).all()
    assert (at_once[0] != np.concatenate(list(draws(rows, 100, seed=4)))).any()


def test_few_patterns_are_drawn_as_often_as_their_rows_would_be() -> None:
    rows = classes(1000)
    assert len(rows.times_J) <= 8
    times = np.concatenate(list(draws(rows, 2000)))
    assert times.mean(axis=0) == pytest.approx(rows.times_J, abs=2.5)
    assert times.var(axis=0) == pytest.approx(rows.times_J * (1 - rows.times_J / 1000), rel=0.15)


def test_rows_of_their_own_are_drawn_one_by_one() -> None:
    times = np.concatenate(list(draws(numbers(40), 4000)))
    assert times.mean() == 1
    assert times.var() == pytest.approx(1 - 1 / 40, rel=0.02)


def test_a_mean_has_students_interval_unless_the_bootstrap_s_is_wider() -> None:
    values = np.random.default_rng(0).normal(size=25)
    found = estimates(joint(sums.of_means({"f1": values})), ["f1"])["f1"]
    assert found.error == pytest.approx(values.std(ddof=1) / 5)
    low, high = stats.t.interval(0.95, 24, values.mean(), values.std(ddof=1) / 5)
    ours = found.interval()
    assert ours[0] <= low + 1e-9
    assert ours[1] >= high - 1e-9
    assert ours == pytest.approx((low, high), abs=0.05)


def test_the_bootstrap_is_bias_corrected_and_accelerated_as_scipy_s_is() -> None:
    values = np.random.default_rng(1).exponential(size=200)
    found = estimates(joint(sums.of_means({"f1": values})), ["f1"])["f1"]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2))
    ends = [np.quantile(found.drawn_S, found._level(tail)) for tail in (0.025, 0.975)]
    assert ends == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


@pytest.mark.parametrize("name", ["r2", "mae"])
def test_p_and_interval_tell_the_same(name: str) -> None:
    for seed in range(20):
        found = estimates(numbers(60, seed), [name], seed=seed)[name]
        low, high = found.interval()
        nudge = 1e-3 * (high - low)
        assert found.p_at_most(low - nudge) <= 0.0255
        assert found.p_at_most(low + nudge) >= 0.0245
        assert found.mirrored().p_at_most(-high - nudge) <= 0.0255
        assert found.mirrored().interval() == pytest.approx((-high, -low), abs=nudge)


def test_a_difference_is_the_second_s_less_the_first_s() -> None:
    rows = classes(500)
    found = estimates(rows, ["f1_macro"])["f1_macro"]
    before, after = (each["f1_macro"][0] for each in rows.figures(rows.times_J[None]))
    assert found.value == after - before
    assert len(found.drawn_S) == SAMPLES
    assert found.error == pytest.approx(found.drawn_S.std(), rel=0.1)


def test_the_same_model_twice_differs_in_nothing() -> None:
    truth = np.arange(40.0)
    both = joint(sums.of_numbers(truth, truth + 1), sums.of_numbers(truth, truth + 1))
    found = estimates(both, ["r2"])["r2"]
    assert (found.value, found.interval()) == (0.0, (0.0, 0.0))
    assert found.p_at_most(0.0) == 1.0
    assert found.p_at_most(-0.01) == 0.0


def test_one_row_says_nothing() -> None:
    found = estimates(joint(sums.of_means({"f1": np.ones(1)})), ["f1"])["f1"]
    assert found.interval() == (-np.inf, np.inf)
    assert found.p_at_most(0.0) == 1.0
