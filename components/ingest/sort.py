"""The second pass: bucket by bucket, rows are settled and counted; what is kept is laid out in the order of the ids."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.ingest.read import Reading
from components.ingest.settings import Ingest
from components.ingest.settle import SPLITS, Settled, corpus_draw, settle
from components.ingest.spill import ID_BYTES, id_words
from modelmill.ledger import Ledger, Rejected
from modelmill.step import Step

_KEPT = [("id", pa.binary(ID_BYTES)), ("text", pa.large_string())]
_CORPUS = pa.schema([*_KEPT, ("draw", pa.int64())])
_LABELLED = pa.schema([*_KEPT, ("label", pa.string()), ("split", pa.int8())])
Rows = npt.NDArray[np.int64]

# Tables are written and read back in pieces of so many rows.
_PIECE_ROWS = 1 << 16


@dataclass(kw_only=True)
class Sorted:
    """The kept rows, on disk in the order of their ids, and what must be known before they are written."""

    corpus_path: Path
    """Columns id, text, draw."""
    labelled_path: Path
    """Columns id, text, label (a name), split (a position in SPLITS)."""
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


def sort_rows(step: Step, settings: Ingest, reading: Reading) -> Sorted:
    """Settle all rows that were read; afterwards both ledgers tell of every row.

    Raises:
        ModelmillError: a ledger does not add up.
    """
    result = Sorted(corpus_path=step.scratch / "corpus.arrow", labelled_path=step.scratch / "labelled.arrow")
    total = reading.corpus.read + reading.labelled.read
    done = 0
    with (
        pa.ipc.new_stream(str(result.corpus_path), _CORPUS) as corpus,
        pa.ipc.new_stream(str(result.labelled_path), _LABELLED) as labelled,
    ):
        for table in reading.spill.buckets():
            step.check_stop()
            settled = settle(table, settings.split, takes_labelled=settings.takes_labelled)
            _keep_corpus(result, settled, corpus)
            _keep_labelled(result, settled, labelled)
            _count(reading.files, reading.corpus, table, settled.corpus, settled.corpus_dropped)
            _count(reading.files, reading.labelled, table, settled.labelled, settled.labelled_dropped)
            done += table.num_rows
            step.progress("sorting", done, total, "rows")
    reading.corpus.check()
    reading.labelled.check()
    return result


def _keep_corpus(result: Sorted, settled: Settled, writer: Any) -> None:
    kept = settled.table.select(["id", "text"]).take(settled.corpus)
    if not kept.num_rows:
        return
    draw = corpus_draw(id_words(kept["id"])[1])
    result.corpus_rows += kept.num_rows
    result.smallest_draw = min(result.smallest_draw, int(draw.min()))
    writer.write_table(kept.append_column("draw", pa.array(draw)), _PIECE_ROWS)


def _keep_labelled(result: Sorted, settled: Settled, writer: Any) -> None:
    kept = settled.table.select(["id", "text", "label"]).take(settled.labelled)
    split = pa.array(settled.labelled_split, pa.int8())
    names = [SPLITS[position] for position in settled.labelled_split]
    result.classes.update(zip(names, kept["label"].to_pylist(), strict=True))
    writer.write_table(kept.append_column("split", split), _PIECE_ROWS)


def _count(files: list[str], ledger: Ledger, table: Any, kept: Rows, dropped: dict[str, Rows]) -> None:
    """Enter a bucket's kept and dropped rows, given by their positions, into the ledger of the files they came from."""
    file = table["file"].to_numpy()
    for number, count in zip(*np.unique(file[kept], return_counts=True), strict=True):
        ledger.file(files[number]).kept += int(count)
    for reason, rows in dropped.items():
        for number, count in zip(*np.unique(file[rows], return_counts=True), strict=True):
            own = ledger.file(files[number])
            own.drop_counted(reason, int(count))
            wanted = own.wants(reason)
            samples = table.take(rows[file[rows] == number][:wanted]) if wanted else table.slice(0, 0)
            for row, text in zip(samples["row"].to_pylist(), samples["text"].to_pylist(), strict=True):
                own.sample(Rejected(row=row, reason=reason, text=text))


def _tables(path: Path) -> Iterator[Any]:
    with pa.memory_map(str(path)) as file:
        for batch in pa.ipc.open_stream(file):
            yield pa.table(batch)
