"""The chain of promotions: one writer wins each number, and what was changed shows."""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill.errors import ModelmillError
from modelmill.registry.history import Action, Entry, History, Move, standing
from modelmill.store import Store, open_store

VERSIONS = st.sampled_from(["1", "2", "3", "4"])


def _move(version: str, action: Action = "promote") -> Move:
    return Move(action=action, to_version=version, who="ann", why="")


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["look", "promote", "force", "rollback"]), VERSIONS), max_size=25
    )
)
@settings(max_examples=60)
def test_any_order_of_writers_leaves_a_chain_that_replays_to_the_champion(steps: list[tuple[int, str, str]]) -> None:
    """Writers act on the head that they saw last, which may be old by then."""
    with tempfile.TemporaryDirectory() as folder:
        writers = [History(store=open_store(folder), name="m") for _ in range(3)]
        seen: list[Entry | None] = [None, None, None]
        won: list[Entry] = []
        for writer, what, version in steps:
            if what == "look":
                seen[writer] = writers[writer].head()
                continue
            head = seen[writer]
            stack = standing([*won[: head.number + 1]]) if head is not None else []
            action: Action = "first" if head is None else "promote" if what == "promote" else "force"
            if what == "rollback" and len(stack) < 2:
                continue
            move = _move(stack[-2], "rollback") if what == "rollback" else _move(version, action)
            made = writers[writer].add(move, after=head)
            newest = won[-1] if won else None
            assert (made is not None) == (head == newest)
            if made is not None:
                won.append(made)
        entries = History(store=open_store(folder), name="m").entries()
        assert entries == tuple(won)
        champion = None
        for entry in entries:
            assert entry.from_version == champion
            champion = entry.to_version
        assert standing(entries)[-1:] == ([champion] if champion else [])


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_of_many_writers_of_one_number_exactly_one_wins(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = str(tmp_path) if place == "folder" else request.getfixturevalue("s3_uri")
    writers = [History(store=open_store(uri), name="m") for _ in range(12)]
    with ThreadPoolExecutor(12) as threads:
        for number in range(3):
            heads = [writer.head() for writer in writers]
            added = list(
                threads.map(lambda pair: pair[0].add(_move("1"), after=pair[1]), zip(writers, heads, strict=True))
            )
            assert sum(entry is not None for entry in added) == 1
            assert len(writers[0].entries()) == number + 1


def _chain(folder: Path) -> Store:
    store = open_store(str(folder))
    history = History(store=store, name="m")
    for version in ("1", "2", "3"):
        assert history.add(_move(version), after=history.head()) is not None
    return store


def test_a_changed_entry_is_named(tmp_path: Path) -> None:
    store = _chain(tmp_path)
    path = tmp_path / "promotions" / "m" / "000001.json"
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "who": "eve"}))
    with pytest.raises(ModelmillError, match=r"000002\.json: does not follow from the entry before it"):
        History(store=store, name="m").entries()


def test_a_missing_entry_is_told(tmp_path: Path) -> None:
    store = _chain(tmp_path)
    (tmp_path / "promotions" / "m" / "000001.json").unlink()
    with pytest.raises(ModelmillError, match=r"000002\.json: stands where promotions/m/000001\.json should"):
        History(store=store, name="m").entries()


def test_an_entry_of_another_make_is_told_and_not_guessed_at(tmp_path: Path) -> None:
    store = _chain(tmp_path)
    (tmp_path / "promotions" / "m" / "000000.json").write_text('{"number": 0}')
    with pytest.raises(ModelmillError, match=r"000000\.json: no entry: id: Field required"):
        History(store=store, name="m").entries()


def test_rollbacks_take_what_came_after_from_the_end(tmp_path: Path) -> None:
    history = History(store=open_store(str(tmp_path)), name="m")
    moves = [_move("1", "first"), _move("2"), _move("3"), _move("2", "rollback"), _move("4"), _move("1", "rollback")]
    stacks = []
    for move in moves:
        history.add(move, after=history.head())
        stacks.append(standing(history.entries()))
    assert stacks == [["1"], ["1", "2"], ["1", "2", "3"], ["1", "2"], ["1", "2", "4"], ["1"]]
