"""Fifty who move one champion at once, on real servers, each with its own client: one wins, all others are told."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from modelmill.errors import UserError
from modelmill.registry.history import standing
from modelmill.registry.promotion import Moved, Overtaken, Promotions
from modelmill.store import open_store
from modelmill.tracking import mlflow_client
from tests.modelmill.registry.made import fresh, promotions, state, version
from tests.postgresql import BACKENDS

FIFTY = 50
SQLITE, POSTGRESQL = BACKENDS
ON_BOTH = pytest.mark.parametrize("mlflow_on", BACKENDS, indirect=True)


@pytest.fixture
def models(mlflow_on: dict[str, str]) -> Promotions:
    return promotions(mlflow_client(), open_store())


def at_once(of: Promotions, numbers: list[str], act: Callable[[Promotions, str], Moved]) -> dict[str, str]:
    """Let everyone begin at the same moment; return for each number "moved", "was there", or what was told."""
    barrier = Barrier(len(numbers))

    def one(number: str) -> str:
        own = promotions(mlflow_client(), open_store(), of.registry.name)
        barrier.wait(120)
        try:
            return "moved" if act(own, number).changed else "was there"
        except (Overtaken, UserError) as told:
            return str(told)

    with ThreadPoolExecutor(len(numbers)) as threads:
        return dict(zip(numbers, threads.map(one, numbers), strict=True))


def check_complete(of: Promotions, came: dict[str, str]) -> None:
    """Check that the history tells of everyone who moved the champion and of nobody else, and ends where the alias is.

    Everyone signs with a number, as `w7`. That no entry was lost or changed the history checks as it is read.
    """
    alias, moves = state(of)
    assert [before for _, before, _ in moves] == [None, *(to for _, _, to in moves[:-1])]
    entries = fresh(of).history.entries()
    assert sorted(entry.who for entry in entries if entry.who != "ann") == sorted(
        f"w{number}" for number, what in came.items() if what == "moved"
    )
    assert alias == moves[-1][2] == standing(entries)[-1]
    assert "was there" not in came.values()


@ON_BOTH
def test_of_fifty_promotions_at_once_one_wins_and_the_others_are_told(models: Promotions) -> None:
    """Each was judged beside the same champion."""
    models.promote(version(models), who="ann")
    numbers = [version(models, beside="1") for _ in range(FIFTY)]
    came = at_once(models, numbers, lambda own, number: own.promote(number, who=f"w{number}"))
    check_complete(models, came)
    (winner,) = [number for number, what in came.items() if what == "moved"]
    for number, what in came.items():
        told = f"version {number} was judged beside version 1, and champion now is version {winner} (promote by w"
        assert number == winner or told in what


@pytest.mark.slow
@ON_BOTH
def test_of_fifty_first_promotions_at_once_one_wins_and_the_others_are_told(models: Promotions) -> None:
    """There is no alias yet, which two may be about to make at the same moment."""
    numbers = [version(models) for _ in range(FIFTY)]
    came = at_once(models, numbers, lambda own, number: own.promote(number, who=f"w{number}"))
    check_complete(models, came)
    (winner,) = [number for number, what in came.items() if what == "moved"]
    assert state(models)[1] == [("first", None, winner)]
    assert sum("was judged beside no version, and champion now is version" in what for what in came.values()) == 49


@pytest.mark.slow
@ON_BOTH
def test_fifty_forced_promotions_at_once_are_in_the_history_or_refused(models: Promotions) -> None:
    """Those that saw the champion of before are told, those that came later move on from it."""
    numbers = [version(models, "hold") for _ in range(FIFTY)]
    came = at_once(models, numbers, lambda own, number: own.promote(number, who=f"w{number}", force=True, reason="x"))
    check_complete(models, came)
    assert all(what == "moved" or "was to follow" in what for what in came.values())


@pytest.mark.parametrize("mlflow_on", [pytest.param(SQLITE, marks=pytest.mark.slow), POSTGRESQL], indirect=True)
def test_rollbacks_among_forced_promotions_leave_one_champion_and_a_complete_history(models: Promotions) -> None:
    models.promote(version(models), who="ann")
    models.promote(version(models, beside="1"), who="ann")
    numbers = [version(models, "hold") for _ in range(FIFTY)]

    def act(own: Promotions, number: str) -> Moved:
        if int(number) % 3:
            return own.promote(number, who=f"w{number}", force=True, reason="x")
        return own.rollback(who=f"w{number}", check=lambda _: None)

    came = at_once(models, numbers, act)
    # A rollback that finds another one done says that the champion was returned to already.
    check_complete(models, {number: what for number, what in came.items() if what != "was there"})
    assert all(int(number) % 3 == 0 for number, what in came.items() if what == "was there")
