"""Goes through the store once: counts what stays and what goes, and removes the latter where that is wanted."""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from modelmill.errors import UserError
from modelmill.references import references
from modelmill.retention.mark import MANIFESTS, Mark, address_of, grouped
from modelmill.retention.roots import Why
from modelmill.retention.tally import Tally
from modelmill.store import NotFound, Store
from modelmill.store.backend import Changed, Entry
from modelmill.store.keys import is_sha256
from modelmill.store.removal import entries, remove_older, remove_unfinished, unfinished

log = logging.getLogger(__name__)

CACHED = ("reports", "models", "made", "datasets")
"""What steps answer with: a cache may name it after it is gone, so the store's epoch is raised before it goes."""
RECORDS = ("promotions", "approvals", "accepted", "epochs", "epochs-of", "retention", "sources")
"""Never removed: histories, which are small, and copies of sources, which a schedule may name before it first runs."""
Watch = Callable[[str, int], None]
"""Hears what is gone through, and how many things of it so far."""

_BATCH = 256
_THREADS = 16


@dataclass(kw_only=True)
class Sweep:
    """One way through the store."""

    store: Store
    mark: Mark
    apply: bool
    check: Callable[[], None]
    """Raises where another process has taken over, before anything more is removed."""
    watch: Watch
    tallies: dict[str, Tally] = field(default_factory=dict)

    def going(self, kinds: Iterable[str]) -> Iterator[str]:
        """Yield the addresses of all manifests of some kinds that go."""
        for entry in (entry for kind in kinds for entry in entries(self.store, f"{kind}/")):
            address = address_of(entry)
            if address is not None and self._why_manifest(entry) is None:
                yield address

    def manifests(self) -> None:
        """Go through the manifests: each kind before those that it may name, and what is remembered of them first."""
        self._all("measured", ((entry, self._why_measured(entry)) for entry in entries(self.store, "measured/")))
        for kind in MANIFESTS:
            found = ((entry, self._why_manifest(entry)) for entry in entries(self.store, f"{kind}/"))
            self._all(kind, found)

    def rest(self) -> None:
        """Go through what nothing names, and last through the blobs, which only manifests name that are gone now."""
        self._all("checkpoints", self._checkpoints())
        self._all("work", self._work())
        self._all("blobs", ((entry, self._why_blob(entry)) for entry in entries(self.store, "blobs/")))
        self._unfinished()
        kept: Why = "record"
        self._all("records", ((entry, kept) for folder in RECORDS for entry in entries(self.store, f"{folder}/")))

    def _all(self, kind: str, found: Iterable[tuple[Entry, Why | None]]) -> None:
        """Count things, given with why they stay, and remove those that stay for no reason, some at a time."""
        tally = self.tallies.setdefault(kind, Tally(kind=kind))
        batch: list[Entry] = []
        for number, (entry, why) in enumerate(found, 1):
            if why is not None:
                tally.keep(why, entry.bytes)
            else:
                batch.append(entry)
            if len(batch) == _BATCH:
                self._remove(tally, batch)
                batch = []
            self.watch(kind, number)
        self._remove(tally, batch)

    def _remove(self, tally: Tally, batch: list[Entry]) -> None:
        gone = [True] * len(batch)
        if self.apply and batch:
            self.check()
            # Of a training, what its checkpoints are found by goes last.
            marks = [entry for entry in batch if "/lease/" in entry.key]
            others = [entry for entry in batch if "/lease/" not in entry.key]
            batch = [*others, *marks]
            with ThreadPoolExecutor(_THREADS) as threads:
                gone = list(chain(threads.map(self._remove_one, others), threads.map(self._remove_one, marks)))
        for entry, is_gone in zip(batch, gone, strict=True):
            if is_gone:
                tally.removed.add(entry.bytes)
            else:
                # Put again, or used, at this moment.
                tally.keep("young", entry.bytes)

    def _remove_one(self, entry: Entry) -> bool:
        return remove_older(self.store, entry.key, self.mark.cutoff)

    def _why_manifest(self, entry: Entry) -> Why | None:
        address = address_of(entry)
        if address is None:
            return "unknown"
        return self.mark.kept.get(address) or ("young" if self.mark.is_young(entry) else None)

    def _why_measured(self, entry: Entry) -> Why | None:
        """Return why it stays what was measured once: as long as its report does, which it does not keep."""
        if self.mark.is_young(entry):
            return "young"
        try:
            named = [one.name for one in references(self.store.get_manifest(entry.key)) if one.kind == "address"]
        except (NotFound, Changed):
            return None
        return next((why for name in named if (why := self.mark.kept.get(name))), None)

    def _why_blob(self, entry: Entry) -> Why | None:
        sha256 = entry.key.removeprefix("blobs/")
        if not is_sha256(sha256):
            return "unknown"
        return self.mark.why_blob(sha256) or ("young" if self.mark.is_young(entry) else None)

    def _checkpoints(self) -> Iterator[tuple[Entry, Why | None]]:
        for key, those in grouped(self.store, "checkpoints/").items():
            why: Why | None = self.mark.runs.get(key)
            # One that was begun since is young, and takes its older checkpoints with it.
            if why is None and any(map(self.mark.is_young, those)):
                why = "young"
            yield from ((entry, why) for entry in those)

    def _work(self) -> Iterator[tuple[Entry, Why | None]]:
        """Yield what steps keep while they work: all of a run, or nothing."""
        for those in grouped(self.store, "work/").values():
            why: Why | None = "young" if any(map(self.mark.is_young, those)) else None
            yield from ((entry, why) for entry in those)

    def _unfinished(self) -> None:
        tally = self.tallies.setdefault("unfinished", Tally(kind="unfinished"))
        try:
            for entry in unfinished(self.store):
                if self.mark.is_young(entry):
                    tally.keep("young", entry.bytes)
                    continue
                if self.apply:
                    self.check()
                    remove_unfinished(self.store, entry)
                tally.removed.add(entry.bytes)
        except UserError as error:
            # Not every server lists them, nor lets everyone.
            log.warning("uploads that were never finished are left: %s", error)
