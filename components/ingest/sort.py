"""The second pass: all rows are settled, then gone through by bucket, counted, and laid out in the order of ids."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.ingest.clusters import Clusters
from components.ingest.decontaminate import Grams, contaminated, held_out_grams
from components.ingest.fields import either_way_hashes
from components.ingest.images.near import near_links
from components.ingest.merge import merge_answers
from components.ingest.payload import Payload
from components.ingest.read import Reading
from components.ingest.settings import Ingest
from components.ingest.settle import KEPT, REASONS, Rules, Settled, settle
from components.ingest.spill import id_words
from components.ingest.splits import SPLITS
from components.ingest.watch import Watch
from components.ingest.work import ID_BYTES
from components.ingest.workers import Workers
from modelmill.ledger import Ledger, Rejected
from modelmill.step import Step

Rows = npt.NDArray[np.int64]

# Tables are written and read back in pieces of so many rows, and looked at for contamination in still smaller ones.
_PIECE_ROWS = 1 << 16
_LOOK_CHARS = 1 << 20


@dataclass(kw_only=True)
class Sorted:
    """The kept rows, on disk in the order of their ids, and what must be known before they are written."""

    corpus_path: Path
    """Columns id, the payload's, draw."""
    labelled_path: Path
    """Columns id, the payload's, label (a name), split (a position in SPLITS), group."""
    payload: Payload
    watch: Watch
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Kept labelled rows by split and label."""
    corpus_rows: int = 0
    smallest_draw: int = 1 << 32

    def corpus(self) -> Iterator[Any]:
        """Yield the kept rows of the corpus in tables."""
        return _tables(self.corpus_path)

    def labelled(self) -> Iterator[Any]:
        """Yield the kept labelled rows in tables."""
        return _tables(self.labelled_path)


def sort_rows(step: Step, settings: Ingest, reading: Reading, workers: Workers) -> Sorted:
    """Settle all rows that were read; afterwards both ledgers tell of every row.

    Raises:
        ModelmillError: a ledger does not add up.
    """
    watch = _settled(settings, reading)
    settled = watch.settled
    step.check_stop()
    grams = _held_out(settings, reading, settled)
    payload = reading.spill.payload
    result = Sorted(
        corpus_path=step.scratch / "corpus.arrow",
        labelled_path=step.scratch / "labelled.arrow",
        payload=payload,
        watch=watch,
    )
    kept = [pa.field("id", pa.binary(ID_BYTES)), *payload.columns]
    corpus_schema = pa.schema([*kept, ("draw", pa.int64())])
    labelled_schema = pa.schema([*kept, ("label", pa.string()), ("split", pa.int8()), ("group", pa.uint64())])
    done = 0
    with (
        pa.ipc.new_stream(str(result.corpus_path), corpus_schema) as corpus,
        pa.ipc.new_stream(str(result.labelled_path), labelled_schema) as labelled,
    ):
        for bucket in reading.spill.tables():
            step.check_stop()
            table = bucket.take(np.lexsort(id_words(bucket["id"])[::-1]))
            number = table["number"].to_numpy()
            in_corpus, as_labelled = _fates(settled.corpus_N[number]), _fates(settled.labelled_N[number])
            if "answers" in payload.columns.names:
                table, as_labelled = merge_answers(table, as_labelled)
            if grams:
                _take_out(in_corpus, table, grams, workers)
            _keep_corpus(result, table.take(in_corpus["kept"]), settled, corpus)
            _keep_labelled(result, table.take(as_labelled["kept"]), settled, labelled)
            watch.bucket(table, in_corpus, as_labelled)
            _count(reading, reading.corpus, table, in_corpus)
            _count(reading, reading.labelled, table, as_labelled)
            done += table.num_rows
            step.progress("sorting", done, reading.index.rows, "rows")
    reading.spill.clear()
    reading.corpus.check()
    reading.labelled.check()
    return result


def _settled(settings: Ingest, reading: Reading) -> Watch:
    index = reading.index
    near = Clusters(index.rows)
    # Equal texts meet too: their ids' words are the key.
    near.link_equal(index.high_N ^ index.low_N, np.arange(index.rows))
    reading.meetings.link(near)
    payload = reading.spill.payload
    like = settings.images.near_duplicates if payload.kind == "image" else None
    if like is not None and settings.near_duplicates.action != "off":
        for pairs in near_links(index.hash_N, like, index.hash_N != 0):
            near.link(pairs[:, 0], pairs[:, 1])
    groups = near.copy()
    grouped = np.flatnonzero(index.group_N)
    groups.link_equal(index.group_N[grouped], grouped)
    several = len(payload.texts) > 1
    if several:
        groups.link_equal(index.hash_N, np.arange(index.rows))
    if payload.either_way:
        groups.link_equal(*_either_way(reading))
    rules = Rules(
        takes_labelled=settings.takes_labelled,
        # Rows of a table that are nearly the same have the same features and other targets, texts that are nearly the
        # same other answers: all are kept, together.
        drop_near=settings.near_duplicates.action == "drop" and payload.kind != "table",
        drop_near_labelled=not several,
        most_rows=reading.most_rows,
    )
    settled = settle(index, near.root_N, groups.root_N, settings.split, rules=rules)
    return Watch(
        index=index,
        settled=settled,
        near_N=near.root_N,
        group_N=groups.root_N,
        payload=payload,
        files=reading.files,
    )


def _either_way(reading: Reading) -> tuple[npt.NDArray[np.uint64], Rows]:
    """Return the labelled rows, each with a key that is the same when its two texts change places."""
    keys, numbers = [], []
    for table in reading.spill.tables():
        pairs = table.filter(table["labelled"])
        keys.append(either_way_hashes(*(pairs[name].to_pylist() for name in reading.spill.payload.either_way)))
        numbers.append(pairs["number"].to_numpy())
    none: Rows = np.zeros(0, dtype=np.int64)
    return np.concatenate([none.astype(np.uint64), *keys]), np.concatenate([none, *numbers])


def _held_out(settings: Ingest, reading: Reading, settled: Settled) -> Grams:
    """Return the runs of words that may not stand in the corpus."""
    payload = reading.spill.payload
    if not settings.corpus or not settings.labelled or settings.decontaminate is None or payload.kind != "text":
        return {}

    def batches() -> Iterator[Sequence[str]]:
        for table in reading.spill.tables():
            number = table["number"].to_numpy()
            rows = np.flatnonzero((settled.labelled_N[number] == KEPT) & (settled.split_N[number] != 0))
            for column in payload.texts:
                yield from _texts(table[column].take(rows).drop_null())

    return held_out_grams(batches(), settings.decontaminate)


def _fates(fate: npt.NDArray[np.int8]) -> dict[str, Rows]:
    """Return the positions of the rows that are kept, and of those dropped by reason."""
    dropped = {reason: np.flatnonzero(fate == code) for code, reason in REASONS.items()}
    return {"kept": np.flatnonzero(fate == KEPT), **dropped}


def _take_out(fates: dict[str, Rows], table: Any, grams: Grams, workers: Workers) -> None:
    """Drop of the kept rows those that hold a held-out run of words."""
    kept = fates["kept"]
    found = list(workers.map(partial(contaminated, grams=grams), _texts(table["text"].take(kept))))
    hit = np.concatenate(found) if found else np.zeros(0, dtype=np.bool_)
    fates["kept"], fates["contaminated"] = kept[~hit], kept[hit]


def _texts(column: Any) -> Iterator[list[str]]:
    """Yield texts in batches of about as much as a worker takes at a time."""
    held: list[str] = []
    chars = 0
    for chunk in column.chunks:
        for start in range(0, len(chunk), 1024):
            for text in chunk.slice(start, 1024).to_pylist():
                held.append(text)
                chars += len(text)
                if chars >= _LOOK_CHARS:
                    yield held
                    held, chars = [], 0
    if held:
        yield held


def _keep_corpus(result: Sorted, kept: Any, settled: Settled, writer: Any) -> None:
    if not kept.num_rows:
        return
    draw = settled.draw_N[kept["number"].to_numpy()]
    result.corpus_rows += kept.num_rows
    result.smallest_draw = min(result.smallest_draw, int(draw.min()))
    columns = kept.select(["id", *result.payload.columns.names])
    writer.write_table(columns.append_column("draw", pa.array(draw)), _PIECE_ROWS)


def _keep_labelled(result: Sorted, kept: Any, settled: Settled, writer: Any) -> None:
    split = settled.split_N[kept["number"].to_numpy()]
    result.classes.update(zip([SPLITS[each] for each in split], kept["label"].to_pylist(), strict=True))
    columns = kept.select(["id", *result.payload.columns.names, "label"])
    columns = columns.append_column("split", pa.array(split, pa.int8()))
    group = settled.group_N[kept["number"].to_numpy()]
    writer.write_table(columns.append_column("group", pa.array(group, pa.uint64())), _PIECE_ROWS)


def _count(reading: Reading, ledger: Ledger, table: Any, fates: dict[str, Rows]) -> None:
    """Enter a bucket's kept and dropped rows into the ledger of the files that they came from."""
    file, payload = table["file"].to_numpy(), reading.spill.payload
    for reason, rows in fates.items():
        for number, count in zip(*np.unique(file[rows], return_counts=True), strict=True):
            own = ledger.file(reading.files[number])
            if reason == "kept":
                own.kept += int(count)
                continue
            own.drop_counted(reason, int(count))
            wanted = own.wants(reason)
            samples = table.take(rows[file[rows] == number][:wanted]) if wanted else table.slice(0, 0)
            for row, text in zip(samples["row"].to_pylist(), payload.show(samples), strict=True):
                own.sample(Rejected(row=row, reason=reason, text=text))


def _tables(path: Path) -> Iterator[Any]:
    # Not mapped: the pages of a large file would count as this process's memory.
    with pa.OSFile(str(path)) as file:
        for batch in pa.ipc.open_stream(file):
            yield pa.table(batch)
