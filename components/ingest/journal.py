"""The journal: what workers came to, kept in the store while sources are read, so that interrupted work goes on.

A part is a run of consecutive batches of one source, `work/<run key>/<source>-<part>`, put once they are all done. The
same step started again, here or elsewhere, reads its sources as before, but what a part holds is not worked on again.
A result is taken for the very batch that it was made of and for no other one, so a part can save work and cannot change
what comes out. The parts go when the step has ended well; those of a run that never does are left.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar, cast

from components.ingest.parts import Packer, look, unpacked
from components.ingest.work import Worked
from components.ingest.workers import Workers
from modelmill.errors import ModelmillError
from modelmill.store import NotFound, Store
from modelmill.store.keys import WORK

Item = TypeVar("Item")
Result = TypeVar("Result")

# Of batches as they are handed out: what two cores do in some 10 s, and what is lost at most.
_PART_BYTES = 32 << 20
# What a batch takes in a part beside its rows, so that there is an end to many small ones too.
_BATCH_BYTES = 4 << 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Piece:
    """A batch, and its place among the parts."""

    batch: Any
    digest: str
    worked: Worked | None
    """What it came to in an interrupted run."""
    part: str
    is_new: bool
    """Whether the part is not in the store yet."""
    is_last: bool
    """Whether the part ends with it."""


class Journal:
    """Workers that keep what they come to; each call of `map` is one source, in the order of the sources."""

    def __init__(self, workers: Workers, store: Store, run_key: str, sources: Sequence[str]) -> None:
        """Begin or go on; what the run key is a digest of must decide all that a worker makes of a batch."""
        self._workers = workers
        self._store = store
        self._folder = f"{WORK}/{run_key}"
        self._sources = sources
        self._begun = 0
        self._keeping = True

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the function's results in the order of the items, from the store where they are there."""
        position = self._begun
        self._begun += 1
        return cast(Iterator[Result], self._results(position, cast(Callable[[Any], Worked], function), items))

    def clear(self) -> None:
        """Give back the room in the store: all is done."""
        self._delete(self._folder)

    def _results(self, position: int, function: Callable[[Any], Worked], batches: Iterable[Any]) -> Iterator[Worked]:
        pieces = self._pieces(f"{self._folder}/{position}", batches)
        with ThreadPoolExecutor(1) as thread:
            keeper = _Keeper(thread, self._keep)
            for known, run in groupby(pieces, lambda piece: piece.worked is not None):
                if known:
                    yield from self._known(run, self._sources[position])
                else:
                    yield from self._worked(run, function, keeper)
            keeper.end()

    def _pieces(self, name: str, batches: Iterable[Any]) -> Iterator[_Piece]:
        """Yield the batches with what is known of them."""
        number = size = 0
        stored: Iterator[tuple[str, Worked]] | None = None
        for batch in batches:
            part = f"{name}-{number}"
            if not size:
                # Whole before its first batch: another run may end and delete it.
                stored = self._fetch(part)
            looked = look(batch)
            size += looked.bytes + _BATCH_BYTES
            digest, worked = next(stored, ("", None)) if stored is not None else ("", None)
            if stored is not None and digest != looked.digest:
                stored, worked = iter(()), None
            is_last = size >= _PART_BYTES
            yield _Piece(
                batch=batch,
                digest=looked.digest,
                worked=worked,
                part=part,
                is_new=stored is None,
                is_last=is_last,
            )
            if is_last:
                number, size = number + 1, 0

    def _known(self, pieces: Iterable[_Piece], source: str) -> Iterator[Worked]:
        count = 0
        for count, piece in enumerate(pieces, 1):  # noqa: B007 - told below
            yield cast(Worked, piece.worked)
        logger.info("resumed: %d of the batches of %s are from an interrupted run", count, source)

    def _worked(
        self, pieces: Iterable[_Piece], function: Callable[[Any], Worked], keeper: "_Keeper"
    ) -> Iterator[Worked]:
        under_way: deque[_Piece] = deque()

        def batches() -> Iterator[Any]:
            for piece in pieces:
                under_way.append(piece)
                yield piece.batch

        for worked in self._workers.map(function, batches()):
            piece = under_way.popleft()
            if self._keeping and piece.is_new:
                keeper.add(piece, worked)
            yield worked

    def _fetch(self, part: str) -> Iterator[tuple[str, Worked]] | None:
        """Return what a part holds, None where there is no sound one."""
        try:
            return unpacked(self._store.get_work(part))
        except NotFound:
            return None
        except ValueError as error:
            logger.warning("%s: damaged: %s; its batches are worked on again", self._store.place(part), error)
            # It would be in the way of the new one.
            self._delete(part)
            return None

    def _keep(self, part: str, data: bytes) -> None:
        if not self._keeping:
            return
        try:
            # A part that is there already is another run's, and as good.
            self._store.put_work(part, data)
        except ModelmillError as error:
            # A store that cannot be written will be told of when datasets are.
            logger.warning("%s; from here on, interrupted work begins anew", error)
            self._keeping = False

    def _delete(self, key: str) -> None:
        try:
            self._store.delete_work(key)
        except ModelmillError as error:
            # Nothing is lost but the room.
            logger.warning("%s; what was kept of the work on the sources is left there", error)


class _Keeper:
    """Gathers the part that is in work, and puts it beside the work on the next one."""

    def __init__(self, thread: ThreadPoolExecutor, put: Callable[[str, bytes], None]) -> None:
        self._thread = thread
        self._put = put
        self._packer = Packer()
        self._part = ""
        self._under_way: Future[None] | None = None

    def add(self, piece: _Piece, worked: Worked) -> None:
        """Add what a batch came to; the last one of a part sends it."""
        self._part = piece.part
        self._packer.add(piece.digest, worked)
        if piece.is_last:
            self._send()

    def end(self) -> None:
        """Send what there is, and wait until it is in the store."""
        if not self._packer.empty:
            self._send()
        self._wait()

    def _send(self) -> None:
        data = self._packer.packed()
        self._packer = Packer()
        # One at a time: no more than two parts are in memory.
        self._wait()
        self._under_way = self._thread.submit(self._put, self._part, data)

    def _wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None
