from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill.training.schedule import Rates
from modelmill.training.settings import Schedule, Training


def rates(schedule: Schedule, steps: int, warmup: float = 0.0, final: float = 0.0, decay: float = 0.2) -> list[float]:
    made = Rates(schedule=schedule, steps=steps, warmup=warmup, final=final, decay=decay)
    return [made.factor(step) for step in range(steps)]


schedules = st.sampled_from(get_args(Schedule))
shares = st.floats(0, 0.99)


@given(schedule=schedules, steps=st.integers(1, 500), warmup=shares, final=st.floats(0, 1), decay=st.floats(0.01, 1))
def test_the_rate_rises_then_falls_and_is_never_zero(
    schedule: Schedule, steps: int, warmup: float, final: float, decay: float
) -> None:
    found = rates(schedule, steps, warmup, final, decay)
    assert all(0 < rate <= 1 + 1e-12 for rate in found)
    rising = sum(step < warmup * steps for step in range(steps))
    assert found[:rising] == sorted(found[:rising])
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(found[rising:]))
    top = found.index(max(found))
    assert abs(top - warmup * steps) <= 1


@given(schedule=schedules, warmup=st.floats(0, 0.9), final=st.floats(0, 1), decay=st.floats(0.1, 1))
def test_the_rate_makes_no_leaps_and_ends_at_its_final_share(
    schedule: Schedule, warmup: float, final: float, decay: float
) -> None:
    steps = 2000
    found = rates(schedule, steps, warmup, final, decay)
    # No slope is steeper than that of a half wave, pi / 2 times the straight one, over the shortest stretch there is.
    steepest = 1.6 / (steps * min(share for share in (warmup, 1 - warmup, decay) if share)) if warmup or decay else 1
    leaps = [abs(later - earlier) for earlier, later in pairwise(found)]
    assert max(leaps) <= max(steepest, 1e-9)
    assert found[-1] == pytest.approx(1.0 if schedule == "constant" else final, abs=1.6 / (steps * min(decay, 0.1)))
    if warmup * steps > 1:
        assert found[0] <= (1 / 25 if schedule == "one-cycle" else 0) + 1.6 / (warmup * steps)


def test_the_rate_has_the_values_of_the_formulas() -> None:
    assert rates("linear", 4) == [1.0, 0.75, 0.5, 0.25]
    assert rates("linear", 8, warmup=0.5) == [0.2, 0.4, 0.6, 0.8, 1.0, 0.75, 0.5, 0.25]
    assert rates("linear", 4, final=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4])
    assert rates("constant", 4, final=0.5) == [1.0] * 4
    assert rates("cosine", 4) == pytest.approx([1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])
    assert rates("warmup-stable-decay", 10, warmup=0.2, decay=0.4) == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    )
    assert rates("one-cycle", 6, warmup=1 / 3)[:3] == pytest.approx([0.04 + 0.96 * 0.25, 0.04 + 0.96 * 0.75, 1.0])


def test_the_rates_are_those_that_the_recipe_says() -> None:
    told = Training(schedule="cosine", warmup=0.3, lr_final=0.1, decay=0.5)
    assert Rates.of(told, 7) == Rates(schedule="cosine", steps=7, warmup=0.3, final=0.1, decay=0.5)


@pytest.mark.parametrize("schedule", get_args(Schedule))
@pytest.mark.parametrize("steps", [1, 2])
def test_even_the_shortest_training_learns(schedule: Schedule, steps: int) -> None:
    assert min(rates(schedule, steps, warmup=0.1)) > 0
