import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.ingest.tables import sketch as sketching
from components.ingest.tables.sketch import MAX_BINS, Sketch

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    sketch.add(np.array(values, dtype=np.float64))
    return sketch


@given(st.lists(st.lists(FINITE)))
@example([[0.0, -0.0], [1e308, -1e308, 5e-324, 1, 2, 3]])
def test_parts_make_the_same_sketch_in_any_order_whether_added_or_merged(parts: list[list[float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketching, "MAX_BINS", 5)
        whole = sketch_of([value for part in parts for value in part])
        one_by_one, left, right = Sketch(), Sketch(), Sketch()
        for part in reversed(parts):
            one_by_one.add(np.array(sorted(part), dtype=np.float64))
        for part in parts:
            left.merge(sketch_of(part))
        for part in reversed(parts):
            later, right = right, sketch_of(part)
            right.merge(later)

    assert one_by_one == whole
    assert left == whole
    assert right == whole
    assert whole.total == sum(map(len, parts))
    assert len(whole.keys) <= 5


@given(st.lists(FINITE, min_size=1, max_size=200))
def test_few_values_are_kept_exactly(values: list[float]) -> None:
    sketch = sketch_of(values)

    assert sketch.values().tolist() == sorted({value + 0.0 for value in values})
    ordered = sorted(values)
    for share in (0.0, 0.25, 0.5, 1.0):
        assert sketch.quantiles([share])[0] == ordered[max(0, math.ceil(share * len(values)) - 1)]


def test_nought_has_one_place_whatever_its_sign() -> None:
    assert len(sketch_of([0.0, -0.0]).keys) == 1


def test_a_wide_stretch_is_stood_for_by_its_middle() -> None:
    # One place for every power of two.
    assert sketch_of([1.0, 1.9, -4.5]).coarsened(52).values() == pytest.approx([-6, 1.5])


@pytest.mark.parametrize("name", ["normal", "lognormal", "years", "seconds", "one far value"])
def test_quantiles_of_many_values_are_near_the_true_ones(name: str) -> None:
    random = np.random.default_rng(0)
    values = {
        "normal": random.normal(size=200_000),
        "lognormal": random.lognormal(0, 5, size=200_000),
        "years": random.uniform(1990, 2020, size=200_000),
        "seconds": 1.6e9 + random.uniform(0, 1e5, size=200_000),
        "one far value": np.append(random.uniform(100, 101, size=199_999), 1e300),
    }[name]

    sketch = sketch_of(values.tolist())

    shares = [0.01, 0.25, 0.5, 0.75, 0.99]
    # Where the quantile found lies among the values: its rank is what must be right.
    ranks = np.searchsorted(np.sort(values), sketch.quantiles(shares)) / len(values)
    assert np.abs(ranks - shares).max() < 0.01
    assert len(sketch.keys) <= MAX_BINS


@given(st.lists(FINITE, min_size=1), st.lists(FINITE, min_size=1, max_size=5, unique=True))
def test_a_histogram_counts_every_value_up_to_its_edge(values: list[float], edges: list[float]) -> None:
    counts = sketch_of(values).histogram(np.array(sorted(edges)))

    bounds = [-math.inf, *sorted(edges), math.inf]
    assert counts.tolist() == [sum(low < value <= high for value in values) for low, high in pairwise(bounds)]


def test_a_sketch_survives_as_json() -> None:
    sketch = sketch_of([1.5, -1e300, 0])

    assert Sketch.from_dict(json.loads(json.dumps(sketch.to_dict()))) == sketch
