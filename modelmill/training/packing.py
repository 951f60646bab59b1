"""Fills rows of one length with the documents of a token store: what they say stays, where rows end is decided here."""

# S tokens of all documents, D documents, P pieces of documents, N rows, T tokens of a row

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelmill.training.room import Growing, room

Array = npt.NDArray[Any]

# Tokens that are moved at a time: what is large lies in files, and is never whole in memory.
_BLOCK_TOKENS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Documents:
    """The token ids of documents, end to end, without special tokens."""

    ids_S: Array
    length_D: Array

    @classmethod
    def of(cls, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> "Documents":
        """Return the documents of the column `input_ids`, read batch by batch."""
        kind = np.dtype(schema.field("input_ids").type.value_type.to_pandas_dtype())
        ids, lengths = Growing(kind), Growing(np.dtype(np.int64))
        for batch in batches:
            column = batch["input_ids"]
            ids.add(column.flatten().to_numpy(zero_copy_only=False))
            lengths.add(column.value_lengths().to_numpy(zero_copy_only=False))
        return cls(ids_S=ids.whole(), length_D=lengths.whole())

    def surrounded(self, first: int | None, end: int) -> "Documents":
        """Return the documents with a token before each, if any is given, and one after each."""
        before = int(first is not None)
        length_D = self.length_D + 1 + before
        end_D = np.cumsum(length_D)
        ids_S = room((int(length_D.sum()),), self.ids_S.dtype)
        for start, stop in _blocks(length_D):
            begins = end_D[start] - length_D[start]
            block_S = ids_S[begins : end_D[stop - 1]]
            ends_D = end_D[start:stop] - begins
            inside_S = np.ones(len(block_S), dtype=bool)
            inside_S[ends_D - 1] = False
            block_S[ends_D - 1] = end
            if first is not None:
                heads_D = ends_D - length_D[start:stop]
                inside_S[heads_D] = False
                block_S[heads_D] = first
            # Each document before the block is longer by its marks.
            source = begins - start * (1 + before)
            block_S[inside_S] = self.ids_S[source : source + int(inside_S.sum())]
        return Documents(ids_S=ids_S, length_D=length_D)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Rows of one length."""

    rows_NT: Array
    figures: Mapping[str, float]
    """`documents`, `tokens` without special ones, `rows`, `unused`: tokens that fill no row at the end; and shares:
    `utilisation`, the positions that hold a document or its end, `cut_share`, the documents that a row's end cuts."""
    piece_P: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Lengths of the pieces of the rows in order, where documents are kept apart."""
    pieces_N: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """How many pieces each row has; empty where documents are not kept apart."""

    @property
    def apart(self) -> bool:
        """Whether documents do not see each other."""
        return len(self.pieces_N) > 0

    def documents_of(self, rows_B: Array) -> Array:
        """Return the number of the document within its row at each position [B, T], from 1; 0 is padding."""
        starts_N = np.cumsum(self.pieces_N) - self.pieces_N
        documents_BT = np.zeros((len(rows_B), self.rows_NT.shape[1]), dtype=np.int64)
        for documents_T, row in zip(documents_BT, rows_B, strict=True):
            piece = self.piece_P[starts_N[row] : starts_N[row] + self.pieces_N[row]]
            documents_T[: piece.sum()] = np.repeat(np.arange(1, len(piece) + 1), piece)
        return documents_BT


def concatenate(documents: Documents, max_tokens: int, *, first: int, end: int, heads: str = "row") -> Packed:
    """Cut the stream of all documents, an end after each, into full rows.

    `first` stands before each row (`heads="row"`), as encoders read them, or before each document ("document").
    A document goes on in the next row where a row is full; what is left at the end and fills no row is not used.
    """
    by_row = heads == "row"
    stream = documents.surrounded(None if by_row else first, end)
    body = max_tokens - 1 if by_row else max_tokens
    count = len(stream.ids_S) // body
    rows_NT = stream.ids_S[: count * body].reshape(count, body)
    if by_row:
        headed_NT = room((count, max_tokens), rows_NT.dtype)
        headed_NT[:, 0], headed_NT[:, 1:] = first, rows_NT
        rows_NT = headed_NT
    # Only its end in the next row cuts no document.
    start_D = np.cumsum(stream.length_D) - stream.length_D
    cut = (start_D % body + stream.length_D - 1 > body).sum()
    figures = _figures(documents, rows_NT, cut=int(cut), unused=len(stream.ids_S) - count * body)
    return Packed(rows_NT=rows_NT, figures={**figures, "utilisation": round(body / max_tokens, 6)})


def best_fit(documents: Documents, max_tokens: int, *, first: int, end: int, pad: int) -> Packed:
    """Fill rows with whole documents, each between `first` and `end`; only one that is longer than a row is cut.

    The longest first, each into the row with the least space that it fits into (arXiv:2404.10830). Of equally long
    ones those that come first go first.
    """
    framed = documents.surrounded(first, end)
    start_D = np.cumsum(framed.length_D) - framed.length_D
    count_D = -(-framed.length_D // max_tokens)
    owner_P = np.repeat(np.arange(len(count_D)), count_D)
    number_P = np.arange(len(owner_P)) - np.repeat(np.cumsum(count_D) - count_D, count_D)
    start_P = start_D[owner_P] + number_P * max_tokens
    length_P = np.minimum(framed.length_D[owner_P] - number_P * max_tokens, max_tokens)
    row_P = _rows_of(length_P, max_tokens)
    order_P = np.argsort(row_P, kind="stable")
    row_P, start_P, length_P = row_P[order_P], start_P[order_P], length_P[order_P]
    rows = int(row_P.max(initial=-1)) + 1
    pieces_N = np.bincount(row_P, minlength=rows)
    end_P = np.cumsum(length_P)
    used_N = np.bincount(row_P, weights=length_P, minlength=rows).astype(np.int64)
    # Where each piece begins within its row: what came before it, less what came before the row.
    within_P = end_P - length_P - np.repeat(np.cumsum(used_N) - used_N, pieces_N)
    rows_NT = room((rows, max_tokens), framed.ids_S.dtype)
    rows_NT[:] = pad
    for start, stop in _blocks(length_P):
        length = length_P[start:stop]
        inside_S = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
        places_S = np.repeat(row_P[start:stop] * max_tokens + within_P[start:stop], length) + inside_S
        rows_NT.reshape(-1)[places_S] = framed.ids_S[np.repeat(start_P[start:stop], length) + inside_S]
    figures = _figures(documents, rows_NT, cut=int((count_D > 1).sum()), unused=0)
    utilisation = round(int(length_P.sum()) / max(rows_NT.size, 1), 6)
    return Packed(rows_NT=rows_NT, figures={**figures, "utilisation": utilisation}, piece_P=length_P, pieces_N=pieces_N)


def _rows_of(length_P: Array, most: int) -> Array:
    """Return the row of each piece by best fit, the longest first.

    Pieces of one length go together: the fullest rows that have space for one take as many as they can, one row after
    the other, which is what best fit does with them one by one. So the work depends on the number of different lengths
    and not on that of the pieces.
    """
    row_P = np.empty(len(length_P), dtype=np.int64)
    by_space: dict[int, list[Array]] = {}
    rows = 0
    for length in np.unique(length_P)[::-1].tolist():
        pieces = np.flatnonzero(length_P == length)
        for space in [*sorted(space for space in by_space if space >= length), most]:
            if not len(pieces):
                break
            each = space // length
            needed = -(-len(pieces) // each)
            if space in by_space:
                open_rows = np.concatenate(by_space.pop(space))
            else:
                open_rows = np.arange(rows, rows + needed)
                rows += needed
            taken, left = open_rows[:needed], open_rows[needed:]
            if len(left):
                by_space[space] = [left]
            placed, pieces = pieces[: len(taken) * each], pieces[len(taken) * each :]
            row_P[placed] = np.repeat(taken, each)[: len(placed)]
            last = len(placed) - (len(taken) - 1) * each
            _open(by_space, space - each * length, taken[:-1])
            _open(by_space, space - last * length, taken[-1:])
    return row_P


def _blocks(length_D: Array) -> Iterator[tuple[int, int]]:
    """Yield where blocks of neighbours begin and end, of about as many tokens each, or of one."""
    end_D = np.cumsum(length_D)
    start = 0
    while start < len(length_D):
        before = int(end_D[start] - length_D[start])
        stop = max(start + 1, int(np.searchsorted(end_D, before + _BLOCK_TOKENS, side="right")))
        yield start, stop
        start = stop


def _open(by_space: dict[int, list[Array]], space: int, rows: Array) -> None:
    if space and len(rows):
        by_space.setdefault(space, []).append(rows)


def _figures(documents: Documents, rows_NT: Array, *, cut: int, unused: int) -> dict[str, float]:
    count = len(documents.length_D)
    return {
        "documents": count,
        "tokens": len(documents.ids_S),
        "rows": len(rows_NT),
        "unused": unused,
        "cut_share": round(cut / max(count, 1), 6),
    }
