"""Promotion and rollback over a real MLflow: one at a time, never half, and told why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from modelmill.errors import ModelmillError, UserError
from modelmill.registry.history import standing
from modelmill.registry.judgement import APPROVED_TAG
from modelmill.registry.promotion import Overtaken, Promotions
from modelmill.registry.versions import CHAMPION
from modelmill.store import Store, open_store
from modelmill.store.local import LocalBackend
from tests.modelmill.registry.made import (
    Breaking,
    breaking_promotions,
    fresh,
    judge,
    local_client,
    promotions,
    state,
    version,
)

# MLflow's own dealings with SQLAlchemy, which in other tests go on in a server.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


class Killed(BaseException):
    """The end of a process, at the worst moment."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return local_client(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def models(client: Any, tmp_path: Path) -> Promotions:
    return promotions(client, open_store(str(tmp_path / "store")))


def works(_version: str) -> None:
    """A version that loads and answers."""


def two_champions(of: Promotions) -> None:
    """Version 2 is champion, and version 1 was it before."""
    of.promote(version(of), who="ann")
    of.promote(version(of, beside="1"), who="ann")


def test_a_good_verdict_moves_the_champion_and_the_history_says_all_of_it(models: Promotions) -> None:
    first, second = version(models), version(models, beside="1")
    models.promote(first, who="ann")
    moved = models.promote(second, who="bob", reason="better on long reviews")
    assert moved.changed
    assert state(models) == ("2", [("first", None, "1"), ("promote", "1", "2")])
    entry = moved.entry
    assert (entry.who, entry.why, entry.decision) == ("bob", "better on long reviews", "promote")
    assert entry.report.startswith("reports/")
    assert len(entry.verdict_digest) == 64
    assert entry.when.endswith("+00:00")


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ("hold", r"its verdict is hold: Accuracy is 0\.700.*--force --reason"),
        ("undecided", "its verdict is undecided"),
        ("", "has no verdict; run its recipe again"),
    ],
)
def test_no_other_verdict_makes_a_champion_but_force_with_a_reason_does(
    models: Promotions, decision: str, message: str
) -> None:
    number = version(models, decision)
    with pytest.raises(UserError, match=message):
        models.promote(number, who="ann")
    with pytest.raises(UserError, match="add --reason"):
        models.promote(number, who="ann", force=True, reason=" ")
    assert state(models) == (None, [])
    models.promote(number, who="ann", force=True, reason="the old one is down")
    assert state(models) == (number, [("force", None, number)])


def test_a_version_judged_beside_another_champion_is_told_both(models: Promotions) -> None:
    two_champions(models)
    third = version(models, beside="1")
    with pytest.raises(
        Overtaken, match=r"version 3 was judged beside version 1, and champion now is version 2 \(promote"
    ):
        models.promote(third, who="ann")
    with pytest.raises(Overtaken, match="was to follow version 1, and champion now is version 2"):
        models.promote(third, who="ann", force=True, reason="x", expected="1")
    assert state(models)[0] == "2"
    judge(models, third, "promote", "2")
    models.promote(third, who="ann", expected="2")
    assert state(models)[0] == "3"


def test_promoting_twice_is_promoting_once(models: Promotions) -> None:
    number = version(models)
    assert models.promote(number, who="ann").changed
    assert not fresh(models).promote(number, who="bob").changed
    assert state(models) == ("1", [("first", None, "1")])


def test_an_approval_is_needed_where_the_recipe_says_so_and_holds_for_one_verdict(models: Promotions) -> None:
    number = version(models, approval="required")
    for force in (False, True):
        with pytest.raises(UserError, match=r"0 approvals of its verdict .* modelmill models approve"):
            models.promote(number, who="ann", force=force, reason="in a hurry")
    models.approve(number, who="eve", why="looked at the slices")
    judge(models, number, "promote", "7")
    with pytest.raises(ModelmillError):
        models.promote(number, who="ann")
    judge(models, number, "promote", "")
    again = models.approve(number, who="eve")
    assert again.why == "looked at the slices", "one approval of one verdict by one person"
    models.approve(number, who="dan")
    entry = models.promote(number, who="ann").entry
    assert sorted(one.who for one in entry.approvals) == ["dan", "eve"]
    assert "eve" in models.registry.tags(number)[APPROVED_TAG]


def test_an_approval_of_another_verdict_does_not_count(models: Promotions) -> None:
    number = version(models, "hold", approval="required")
    models.approve(number, who="eve")
    judge(models, number, "promote", "")
    with pytest.raises(UserError, match=r"0 approvals of its verdict .*eve .* was of another verdict"):
        models.promote(number, who="ann")


def test_a_rollback_returns_to_the_champion_before_once(models: Promotions) -> None:
    two_champions(models)
    models.promote(version(models, beside="2"), who="ann")
    tried: list[str] = []
    assert models.rollback(who="bob", check=tried.append, reason="slow").entry.why == "slow"
    assert not fresh(models).rollback(who="bob", check=tried.append).changed, "safe to repeat"
    assert (tried, state(models)[0]) == (["2"], "2")
    assert models.rollback(who="bob", check=tried.append, to="1").changed
    assert (tried, state(models)[0]) == (["2", "1"], "1")
    with pytest.raises(UserError, match="the champions before it are none: there is no 3 to return to"):
        models.rollback(who="bob", check=works, to="3")


def test_a_champion_before_that_does_not_work_changes_nothing(models: Promotions) -> None:
    two_champions(models)

    def broken(number: str) -> None:
        raise ModelmillError(f"version {number}: 1 of its files was changed")

    before = state(models)
    with pytest.raises(ModelmillError, match="1 of its files was changed"):
        models.rollback(who="bob", check=broken)
    assert state(models) == before


def test_whoever_is_overtaken_while_the_old_version_is_tried_is_told(models: Promotions) -> None:
    two_champions(models)

    def slow(_number: str) -> None:
        fresh(models).promote(version(models, beside="2"), who="eve")

    with pytest.raises(Overtaken, match="from version 2 to 1, and meanwhile version 3 became champion"):
        models.rollback(who="bob", check=slow)
    assert state(models)[0] == "3"


def test_there_is_nothing_to_return_to_without_a_champion_or_one_before(models: Promotions) -> None:
    with pytest.raises(UserError, match="has no champion"):
        models.rollback(who="bob", check=works)
    models.promote(version(models), who="ann")
    with pytest.raises(UserError, match="the champions before it are none"):
        models.rollback(who="bob", check=works)


def test_a_deleted_champion_is_none_and_a_deleted_one_before_is_named(models: Promotions) -> None:
    two_champions(models)
    client, name = models.registry.client, models.registry.name
    client.delete_model_version(name, "1")
    with pytest.raises(UserError, match="version 1, the champion before, was deleted"):
        models.rollback(who="bob", check=works)
    client.delete_model_version(name, "2")
    assert models.champion() is None
    with pytest.raises(UserError, match="version 2"):
        models.promote("2", who="ann")
    models.promote(version(models, beside=""), who="ann")
    assert state(models) == ("3", [("first", None, "1"), ("promote", "1", "2"), ("promote", "2", "3")])


def test_a_champion_before_that_is_deleted_while_it_is_tried_changes_nothing(models: Promotions) -> None:
    two_champions(models)
    before = state(models)
    with pytest.raises(UserError, match="version 1, the champion before, was deleted"):
        models.rollback(who="bob", check=lambda number: _delete(models, number))
    assert state(models) == before


def test_a_version_deleted_between_its_entry_and_its_alias_is_told_and_no_champion(models: Promotions) -> None:
    """The last moment at which one can be deleted: afterwards MLflow's alias goes with it."""
    two_champions(models)
    third = version(models, beside="2")

    class Deleting(LocalBackend):
        def put_if_absent(self, key: str, data: bytes | Path) -> bool:
            put = super().put_if_absent(key, data)
            if key.startswith("promotions/"):
                _delete(models, third)
            return put

    store = Store(models.store.uri, Deleting(Path(models.store.uri)))
    slow = promotions(models.registry.client, store, models.registry.name)
    with pytest.raises(ModelmillError, match="version 3 is champion by its history, and was deleted from MLflow"):
        slow.promote(third, who="ann")
    assert fresh(models).champion() is None
    with pytest.raises(UserError, match="version 3"):
        models.promote(third, who="ann")
    assert models.rollback(who="ann", check=works).changed
    assert state(models)[0] == "2"


def _delete(of: Promotions, number: str) -> None:
    of.registry.client.delete_model_version(of.registry.name, number)


def test_an_alias_set_by_hand_is_set_back_and_one_from_before_begins_the_history(models: Promotions) -> None:
    version(models)
    models.registry.set_alias(CHAMPION, "1")
    assert models.champion() == "1"
    models.promote(version(models, beside="1"), who="ann")
    assert state(models) == ("2", [("first", None, "1"), ("promote", "1", "2")])
    models.registry.set_alias(CHAMPION, "1")
    assert fresh(models).champion() == "2"
    assert state(models)[0] == "2"


def test_a_report_on_another_model_is_no_verdict_on_this_one(models: Promotions) -> None:
    one, two = version(models, "hold"), version(models)
    client, name = models.registry.client, models.registry.name
    client.set_model_version_tag(name, one, "modelmill.report", models.registry.tags(two)["modelmill.report"])
    with pytest.raises(ModelmillError, match="names a report on models/"):
        models.promote(one, who="ann")


@pytest.mark.parametrize("name", ["a/b", "", "../x", "a:b", "é", "x" * 201, "-a", "a'b"])
def test_names_that_mlflow_or_the_store_refuse_are_told(client: Any, tmp_path: Path, name: str) -> None:
    from modelmill.registry.versions import Registry

    with pytest.raises(UserError, match="no name of a registered model"):
        Promotions(registry=Registry(client=client, name=name), store=open_store(str(tmp_path)))


def test_an_unknown_version_is_told(models: Promotions) -> None:
    with pytest.raises(UserError, match="version 7"):
        models.promote("7", who="ann")


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["promote", "force", "rollback", "hand"]), st.integers(1, 4)),
        max_size=12,
    )
)
@settings(max_examples=15)
def test_any_order_of_commands_leaves_the_alias_where_the_history_ends(
    client: Any, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, int]]
) -> None:
    of = promotions(client, open_store(str(tmp_path_factory.mktemp("store"))))
    for _ in range(4):
        version(of)
    writers = [fresh(of) for _ in range(3)]
    for writer, what, number in steps:
        one = writers[writer]
        try:
            if what == "rollback":
                one.rollback(who=f"w{writer}", check=works)
            elif what == "hand":
                one.registry.set_alias(CHAMPION, str(number))
                one.champion()
            else:
                one.promote(str(number), who=f"w{writer}", force=what == "force", reason="x")
        except ModelmillError:
            pass
    alias, moves = state(of)
    assert alias == (moves[-1][2] if moves else None)
    assert [before for _, before, _ in moves] == [None, *(to for _, _, to in moves)][: len(moves)]
    assert standing(fresh(of).history.entries())[-1:] == ([alias] if alias else [])


BREAKS: dict[str, dict[str, Callable[[], BaseException]]] = {
    "killed": {"client": Killed, "store": Killed},
    "gone": {
        "client": lambda: MlflowException("Connection refused"),
        "store": lambda: ModelmillError("s3://bucket/key: cannot be reached; run the same command again"),
    },
}


@pytest.mark.parametrize("after", [False, True], ids=["before-it-acts", "after-it-acted"])
@pytest.mark.parametrize("how", [*BREAKS])
@pytest.mark.parametrize("command", ["first", "promote", "force", "rollback", "approve"])
def test_a_command_broken_off_at_any_call_and_repeated_has_been_done_once(
    models: Promotions, command: str, how: str, after: bool
) -> None:
    def run(of: Promotions) -> None:
        if command == "rollback":
            of.rollback(who="ann", check=works)
        elif command == "approve":
            of.approve("2", who="ann")
        else:
            of.promote("1" if command == "first" else "3", who="ann", force=command == "force", reason="x")

    ends: dict[str, tuple[str, list[tuple[str, str | None, str]]]] = {
        "first": ("1", [("first", None, "1")]),
        "promote": ("3", [("first", None, "1"), ("promote", "1", "2"), ("promote", "2", "3")]),
        "force": ("3", [("first", None, "1"), ("promote", "1", "2"), ("force", "2", "3")]),
        "rollback": ("1", [("first", None, "1"), ("promote", "1", "2"), ("rollback", "2", "1")]),
        "approve": ("2", [("first", None, "1"), ("promote", "1", "2")]),
    }
    wanted = ends[command]
    told: list[str] = []
    for at in range(1, 60):
        of = promotions(models.registry.client, models.store)
        if command == "first":
            version(of)
        else:
            two_champions(of)
            version(of, beside="2")
        breaking = Breaking(at=at, after=after, errors=BREAKS[how])
        try:
            run(breaking_promotions(of, breaking))
        except Killed:
            pass
        except ModelmillError as said:
            told.append(str(said))
        if not breaking.broke:
            break
        # The history never tells of half a thing.
        seen = state(of)[1]
        assert seen in (wanted[1], wanted[1][:-1])
        run(fresh(of))
        assert state(of) == wanted, f"broken off at call {at}"
        assert len(of.approvals.of("2")) == (1 if command == "approve" else 0) if command != "first" else True
    else:
        raise AssertionError("60 calls were not enough")
    assert at > 3, "some calls were broken off"
    assert all("run the same command again" in said for said in told)
