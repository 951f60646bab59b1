"""Whatever the graph: what a root leads to survives with its bytes, the rest goes, and being killed changes nothing."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as told
from hypothesis import strategies as st

from modelmill.digest import canonical_json
from modelmill.retention.run import collect
from modelmill.store import Store, open_store
from modelmill.store.local import LocalBackend
from modelmill.tracking import where
from tests.modelmill.registry.made import Breaking
from tests.modelmill.retention.conftest import forget
from tests.modelmill.retention.graphs import SOURCES, Grown, Registered, expected, grow, settings

# MLflow's own dealings with SQLAlchemy, which elsewhere go on in a server.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
CACHED = ("datasets/", "models/", "reports/", "made/")


class Killed(BaseException):
    """What ends a process at a call."""


def place(grown: Grown) -> str:
    """Return what is in the key of every cached step."""
    return where(grown.store, canonical_json(SOURCES))


def cached(grown: Grown, keys: Iterable[str]) -> list[str]:
    """Return those of some keys that a cache may name."""
    return [key for key in keys if key.startswith(CACHED) and key not in grown.uncached]


@contextmanager
def grown_at_random(client: Any, draw: Random) -> Iterator[tuple[Grown, list[Registered]]]:
    with TemporaryDirectory() as folder:
        try:
            yield grow(open_store(f"{folder}/store"), client, draw)
        finally:
            forget(client)


@told(max_examples=30, suppress_health_check=SHARED)
@given(draw=st.randoms(use_true_random=False), newest=st.integers(1, 3))
def test_what_a_root_leads_to_survives_with_its_bytes_and_the_rest_goes(client: Any, draw: Random, newest: int) -> None:
    with grown_at_random(client, draw) as (grown, models):
        wanted, before = expected(grown, models, newest), grown.bytes()
        at = place(grown)
        shown = collect(grown.store, client, settings(apply=False, keep_versions=newest))
        assert grown.bytes() == before
        done = collect(grown.store, client, settings(keep_versions=newest))
        left = {key: data for key, data in grown.bytes().items() if not key.startswith(("retention/", "epochs"))}
        assert left == {key: data for key, data in before.items() if key in wanted}
        assert done["total"]["removed"] == shown["total"]["removed"] == len(before) - len(wanted)
        assert done["total"]["removed_bytes"] == sum(len(data) for key, data in before.items() if key not in wanted)
        assert done["epoch_raised"] == (place(grown) != at) == bool(cached(grown, before.keys() - wanted))

        again = collect(grown.store, client, settings(keep_versions=newest))
        assert (again["total"]["removed"], again["epoch_raised"]) == (0, False)
        assert left.items() <= grown.bytes().items()


@told(max_examples=40, suppress_health_check=SHARED)
@given(draw=st.randoms(use_true_random=False), share=st.floats(0, 1), after=st.booleans())
def test_killed_at_any_call_of_the_store_it_leaves_what_stays_whole_and_repeated_it_finishes(
    client: Any, draw: Random, share: float, after: bool
) -> None:
    with grown_at_random(client, draw) as (grown, models):
        wanted, before = expected(grown, models, 2), grown.bytes()
        kept = {key: data for key, data in before.items() if key in wanted}
        where_it_was = place(grown)
        unbroken = Breaking(at=-1, after=after, errors={"store": Killed})
        copy = f"{grown.store.uri}-copy"
        shutil.copytree(grown.store.uri, copy)
        collect(Store(copy, unbroken.around(LocalBackend(Path(copy)), "store")), client, settings())
        at = max(1, round(share * unbroken.calls))
        breaking = Breaking(at=at, after=after, errors={"store": Killed})
        broken = Store(grown.store.uri, breaking.around(grown.store._backend, "store"))
        try:
            collect(broken, client, settings())
        except Killed:
            there = grown.bytes()
            assert kept.items() <= there.items()
            if cached(grown, before.keys() - there.keys()):
                assert place(grown) != where_it_was
        # The lease of a process that is gone would be taken; this one is still there.
        shutil.rmtree(Path(grown.store.uri) / "retention", ignore_errors=True)
        collect(grown.store, client, settings())
        left = {key: data for key, data in grown.bytes().items() if not key.startswith(("retention/", "epochs"))}
        assert left == kept
