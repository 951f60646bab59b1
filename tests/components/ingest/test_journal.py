"""Interrupted work goes on where it ended, and nobody can see in what was made that it was interrupted."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given as given_
from hypothesis import settings
from hypothesis import strategies as st

from components.ingest import feed, journal
from components.ingest import run as ingest_run
from components.ingest.journal import Journal
from components.ingest.parts import unpacked
from components.ingest.rows import Listed
from components.ingest.run import IngestOutputs
from components.ingest.settings import IngestSettings
from components.ingest.source_settings import Source
from components.ingest.work import Order, Worked, work
from components.ingest.work_parts import Batch
from components.ingest.workers import Here
from modelmill.dataset import read_made
from modelmill.sources import pin
from modelmill.step import Step
from modelmill.store import Store, open_store
from tests.components.ingest.tools import csv_of, make_step, write

RECORD = "TEST_JOURNAL_RECORD"


def recorded(order: Order, batch: Batch) -> Worked:
    """Work on a batch, and write down which one it was."""
    with Path(os.environ[RECORD]).open("a") as file:
        file.write(f"{'labelled' if order.labelled else 'corpus'} {batch.numbers[0]} {batch.texts[0]}\n")
    return work(order, batch)


class Dying(Step):
    """A step that is killed with all its processes as soon as a few parts are in the store."""

    def progress(self, *_: Any, **__: Any) -> None:
        if len(parts(self.store)) >= 7:
            os.killpg(os.getpgid(0), signal.SIGKILL)


class Failing(Step):
    """A step that fails when so many batches are done."""

    left = 0

    def progress(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise InterruptedError


def make_small(cores: int) -> None:
    """Make batches and parts small, and nothing too little to be kept."""
    vars(feed).update(work=recorded, _BATCH_CHARS=4_000)
    vars(journal).update(_PART_BYTES=40_000)
    vars(ingest_run).update(_LITTLE=0, usable_cores=lambda: cores)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    # What make_small changes is put back at the end.
    for module, name in ((feed, "work"), (feed, "_BATCH_CHARS"), (journal, "_PART_BYTES")):
        monkeypatch.setattr(module, name, getattr(module, name))
    for name in ("_LITTLE", "usable_cores"):
        monkeypatch.setattr(ingest_run, name, getattr(ingest_run, name))
    monkeypatch.setenv(RECORD, "")
    make_small(1)


@pytest.fixture(params=["folder", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "folder" else str(request.getfixturevalue("s3_uri"))


def recipe(folder: Path, **changed: Any) -> dict[str, Any]:
    """Sources in a folder with something to drop, to mask and to reject in each batch; some 50 batches."""
    if not (folder / "rows.csv").exists():
        many = [f"row number {number} has its own {number * 7} of words and of places" for number in range(2600)]
        rows = [(text, ("good", "bad", "")[number % 23 % 3]) for number, text in enumerate(many)]
        odd = "".join(f'"x",good\n"mail me at someone{number}@example.com now",bad\na,b,c\n' for number in range(25))
        write(folder / "rows.csv", csv_of(rows) + odd)
        lines = [f"line {number} of a film {number * 11} that nobody has seen until now" for number in range(1500)]
        write(folder / "corpus.txt", "\n".join([*lines, "", *many[:100], *(line.upper() for line in lines[:50])]))
    corpus = [{"uri": str(folder / "corpus.txt"), "format": "text"}, {"labelled": "train"}]
    labelled = [{"uri": str(folder / "rows.csv")}]
    return {"corpus": corpus, "labelled": labelled, "max_bad_rows": 0.9, **changed}


def ingest(
    folder: Path, store: Store, given: dict[str, Any], step_class: type[Step] = Step, left: int = 0
) -> tuple[IngestOutputs, list[str]]:
    """Run the step, and return what it made and the batches that were worked on."""
    made = make_step(folder, store)
    step = step_class(name=made.name, store=store, scratch=made.scratch, events=made.events)
    if isinstance(step, Failing):
        step.left = left
    told = IngestSettings.model_validate({"task": "text-classification", **given})
    record = folder / "record"
    record.write_text("")
    os.environ[RECORD] = str(record)
    outputs = ingest_run.run(step, told, pin(told.uris))
    return outputs, record.read_text().splitlines()


def parts(store: Store) -> list[str]:
    return list(store.keys("work/"))


def kept(store: Store) -> dict[str, int]:
    """Return how many batches each part in the store holds."""
    return {part: len(list(unpacked(store.get_work(part)))) for part in parts(store) if "another" not in part}


def all_of(outputs: IngestOutputs, store: Store) -> list[Any]:
    """Return all that was made: addresses, summary, ledgers, and the sha256 of samples and report."""
    return [outputs, read_made(store, outputs.made_corpus), read_made(store, outputs.made_labelled)]


STARTED = """\
import sys
from pathlib import Path
from modelmill.store import open_store
from tests.components.ingest import test_journal as t
if __name__ == '__main__':
    t.make_small(int(sys.argv[4]))
    made = t.ingest(Path(sys.argv[1]), open_store(sys.argv[2]), t.recipe(Path(sys.argv[3])), {step})
"""


def killed(folder: Path, store_uri: str, sources: Path, cores: int) -> None:
    """Run the step in processes of its own until it is killed."""
    command = [sys.executable, "-c", STARTED.format(step="t.Dying"), str(folder), store_uri, str(sources), str(cores)]
    env = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=env, timeout=120, check=False, start_new_session=True)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("uri", "cores"),
    [("folder", 1), ("s3", 2), *(pytest.param(*both, marks=pytest.mark.slow) for both in (("folder", 2), ("s3", 1)))],
    indirect=["uri"],
)
def test_a_killed_step_goes_on_from_its_parts_and_makes_what_it_would_have_made(
    tmp_path: Path, uri: str, cores: int, caplog: pytest.LogCaptureFixture
) -> None:
    make_small(cores)
    given, store = recipe(tmp_path), open_store(uri)
    store.put_work("work/another/0-0", b"of another run")
    whole, batches = ingest(tmp_path / "whole", open_store(str(tmp_path / "whole" / "store")), given)
    assert len(batches) > 40

    killed(tmp_path / "killed", uri, tmp_path, cores)
    assert not list(store.keys("datasets/"))
    already = sum(kept(store).values())
    assert 20 < already < len(batches), len(batches)
    with caplog.at_level(logging.INFO):
        again, rest = ingest(tmp_path / "again", store, given)

    # The labelled source is read first; what was kept of it is its beginning.
    assert sorted(rest) == sorted(in_order(batches)[already:])
    assert all_of(again, store) == all_of(whole, open_store(str(tmp_path / "whole" / "store")))
    assert parts(store) == ["work/another/0-0"]
    assert f"resumed: {already} of the batches of {tmp_path / 'rows.csv'} are from an interrupted run" in caplog.text


def in_order(batches: Sequence[str]) -> list[str]:
    """Return batches as they were handed out: two processes may have begun them in another order."""
    return sorted(batches, key=lambda line: (line.split()[0] == "corpus", int(line.split()[1])))


def interrupted(folder: Path, store: Store, given: dict[str, Any], after: int = 35) -> dict[str, int]:
    """Run the step until it fails, and return what is kept of it."""
    with pytest.raises(InterruptedError):
        ingest(folder, store, given, Failing, after)
    return kept(store)


def test_it_goes_on_wherever_it_was_interrupted_and_however_often(tmp_path_factory: pytest.TempPathFactory) -> None:
    sources = tmp_path_factory.mktemp("sources")
    given = recipe(sources)
    whole, batches = ingest(sources / "whole", open_store(str(sources / "whole" / "store")), given)
    wanted = all_of(whole, open_store(str(sources / "whole" / "store")))

    @settings(max_examples=8)
    @given_(st.lists(st.integers(0, len(batches) - 1), min_size=1, max_size=3))
    def check(ends: list[int]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store, before = open_store(f"{folder}/store"), 0
            for number, end in enumerate(ends):
                already = sum(interrupted(Path(folder) / str(number), store, given, end).values())
                assert before <= already
                # All but the part that was in work, which is of 5 batches or so, or on its way.
                assert already >= end - 15
                before = already
            again, rest = ingest(Path(folder) / "again", store, given)
            assert all_of(again, store) == wanted
            assert len(rest) == len(batches) - before
            assert parts(store) == []

    check()


def test_other_settings_sources_or_code_see_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, store = recipe(tmp_path), open_store(str(tmp_path / "store"))
    before = interrupted(tmp_path / "interrupted", store, given)
    assert len(before) > 3
    for name, other in (("settings", {"min_chars": 3}), ("code", {}), ("sources", {})):
        with monkeypatch.context() as patched:
            if name == "code":
                patched.setattr(ingest_run, "code_digest", lambda: "0" * 64)
            if name == "sources":
                with (tmp_path / "rows.csv").open("a") as file:
                    file.write("one more row at the end,good\n")
            _, batches = ingest(tmp_path / name, store, given | other)
        assert len(batches) > 40, name
        # Those of the interrupted run are not this one's to delete.
        assert kept(store) == before, name


def test_a_damaged_part_is_worked_on_again_and_the_others_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given, store = recipe(tmp_path), open_store(str(tmp_path / "store"))
    before = interrupted(tmp_path / "interrupted", store, given)
    damaged = sorted(before)[1]
    path = tmp_path / "store" / damaged
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    again, rest = ingest(tmp_path / "again", store, given)
    whole, batches = ingest(tmp_path / "whole", open_store(str(tmp_path / "whole" / "store")), given)
    assert len(rest) == len(batches) - sum(before.values()) + before[damaged]
    assert all_of(again, store) == all_of(whole, open_store(str(tmp_path / "whole" / "store")))
    assert f"{damaged}: damaged" in caplog.text


def test_a_damaged_part_is_put_anew(tmp_path: Path) -> None:
    given, store = recipe(tmp_path), open_store(str(tmp_path / "store"))
    before = interrupted(tmp_path / "interrupted", store, given)
    path = tmp_path / "store" / sorted(before)[1]
    path.write_bytes(b"")
    assert interrupted(tmp_path / "again", store, given) == before


@pytest.mark.parametrize("uri", ["s3", pytest.param("folder", marks=pytest.mark.slow)], indirect=True)
def test_two_runs_of_the_same_at_once_both_end_right(tmp_path: Path, uri: str) -> None:
    given, store = recipe(tmp_path), open_store(uri)
    program = STARTED.format(step="t.Step") + "    print(made[0].made_corpus, made[0].made_labelled)\n"
    env = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / name), uri, str(tmp_path), "1"],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    whole, _ = ingest(tmp_path / "whole", store, given)
    assert said == [f"{whole.made_corpus} {whole.made_labelled}\n"] * 2
    assert parts(store) == []


def test_little_work_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_run, "_LITTLE", 1 << 30)
    store = open_store(str(tmp_path / "store"))
    assert interrupted(tmp_path / "interrupted", store, recipe(tmp_path)) == {}


BATCHES = [
    Batch(numbers=[number], texts=[f"some text of its own {number}" * 100], labels=[None]) for number in range(1, 41)
]


class Counting(Here):
    """Workers that know which rows they worked on."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def map(self, function: Any, items: Iterable[Any]) -> Iterator[Any]:
        for batch in items:
            self.rows += batch.numbers
            yield function(batch)


def one_source(store: Store, batches: Sequence[Batch]) -> tuple[Iterator[Worked], list[int]]:
    """Return what workers with a journal come to, and the rows that they work on meanwhile."""
    source = Source(uri="a.txt", format="text")
    order = feed.order_of(IngestSettings.model_validate(RECIPE), Listed(source=source, labelled=False, files=[]))
    hands = Counting()
    return Journal(hands, store, "key", ["a.txt"]).map(partial(work, order), batches), hands.rows


RECIPE = {"task": "text-classification", "corpus": [{"uri": "a.txt", "format": "text"}]}


def ids(results: Iterable[Worked]) -> list[bytes]:
    return [worked.ids for worked in results]


def test_a_part_that_is_deleted_while_it_is_taken_is_taken_whole(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    wanted = ids(one_source(store, BATCHES)[0])
    first = kept(store)["work/key/0-0"]
    results, rows = one_source(store, BATCHES)
    found = [next(results).ids]
    store.delete_work("work/key")
    assert [*found, *ids(results)] == wanted
    assert rows == list(range(first + 1, 41))


def test_a_batch_that_is_another_one_than_it_was_is_worked_on(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    wanted = ids(one_source(store, BATCHES)[0])
    first = kept(store)["work/key/0-0"]
    changed = [*BATCHES]
    changed[2] = replace(BATCHES[2], texts=["something else"])
    results, rows = one_source(store, changed)
    found = ids(results)
    assert [place for place in range(40) if found[place] != wanted[place]] == [2]
    # From there on to the end of the part: batches may have been cut at other places.
    assert rows == list(range(3, first + 1))


def test_only_few_results_are_in_memory_however_many_are_kept(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    list(one_source(store, BATCHES)[0])
    handed: list[int] = []

    def batches() -> Iterator[Batch]:
        for batch in BATCHES:
            handed.extend(batch.numbers)
            yield batch

    results, rows = one_source(store, cast(Any, batches()))
    for place, _ in enumerate(results, 1):
        assert len(handed) <= place + 1
    assert rows == []


def test_a_store_that_takes_no_parts_costs_the_parts_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(str(tmp_path / "store"))
    write(tmp_path / "store" / "tmp", "a file where the folder should be")
    results, rows = one_source(store, BATCHES)
    assert len(ids(results)) == len(rows) == 40
    assert caplog.text.count("from here on, interrupted work begins anew") == 1
