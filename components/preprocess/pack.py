"""Packs documents into full rows: concatenate, cut, and no position is padding."""

# N rows, T tokens of a row

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from modelmill.models.tokenizer import Ids


@dataclass(kw_only=True)
class Packer:
    """Makes rows `[CLS] document [SEP] document [SEP] …` of exactly `max_tokens` ids and counts what it does.

    A document goes on in the next row where a row is full. What is left at the end and fills no row is not used.
    """

    max_tokens: int
    first: int
    """Id that every row begins with."""
    end: int
    """Id after every document."""
    documents: int = field(default=0, init=False)
    tokens: int = field(default=0, init=False)
    """Of the documents alone, without special tokens."""
    rows: int = field(default=0, init=False)
    cut: int = field(default=0, init=False)
    """Documents that a row's end falls into."""
    unused: int = field(default=0, init=False)
    """Tokens and document ends left over at the end."""

    def pack(self, documents: Iterable[Ids], rows: int) -> Iterator[Ids]:
        """Yield arrays [N, T] of at most `rows` rows; which rows there are depends on the documents' order alone."""
        body = self.max_tokens - 1
        waiting: list[Ids] = []
        length = 0
        for document_T in documents:
            self._count(document_T, length, body)
            waiting += [document_T, np.array([self.end])]
            length += len(document_T) + 1
            if length >= rows * body:
                stream = np.concatenate(waiting)
                whole = len(stream) // (rows * body) * rows * body
                for start in range(0, whole, rows * body):
                    yield self._rows(stream[start : start + rows * body])
                waiting, length = [stream[whole:]], len(stream) - whole
        whole = length // body * body
        self.unused = length - whole
        if whole:
            yield self._rows(np.concatenate(waiting)[:whole])

    def figures(self) -> dict[str, float]:
        """Return the counts, and as shares from 0 to 1: positions that hold text, documents that a row's end cuts."""
        return {
            "documents": self.documents,
            "tokens": self.tokens,
            "rows": self.rows,
            "unused": self.unused,
            "utilisation": round(1 - 1 / self.max_tokens, 6),
            "cut_share": round(self.cut / max(self.documents, 1), 6),
        }

    def _count(self, document_T: Ids, position: int, body: int) -> None:
        self.documents += 1
        self.tokens += len(document_T)
        # Whole rows have left the stream by a multiple of the row's length, so the position still tells where rows end.
        self.cut += int(position % body + len(document_T) > body)

    def _rows(self, stream: Ids) -> Ids:
        rows_NT = stream.reshape(-1, self.max_tokens - 1)
        self.rows += len(rows_NT)
        return np.concatenate([np.full((len(rows_NT), 1), self.first), rows_NT], axis=1)
