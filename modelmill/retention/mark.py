"""Marks what stays: all that a version, a young manifest or a running step leads to, and nothing is guessed.

Memory: a set entry of some 100 bytes for every blob that stays (100 MB for a million), none for one that goes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from modelmill.errors import ModelmillError
from modelmill.references import ADDRESS, references
from modelmill.retention.roots import KeptVersion, Why
from modelmill.store import NotFound, Store
from modelmill.store.backend import Entry
from modelmill.store.keys import CHECKPOINT
from modelmill.store.removal import entries

MANIFESTS = ("reports", "golden", "models", "made", "datasets", "schemas")
"""Kinds of manifests that are named by their content, each before those that it may name."""
# A heart beats every 10 s; a store that does not answer for minutes does not end a training.
_ALIVE_SECONDS = 600.0
_THREADS = 8
_TURNS = 10


@dataclass(kw_only=True)
class Mark:
    """What stays, and why; it only ever grows, so that marking again takes in what came meanwhile."""

    store: Store
    now: float
    cutoff: float
    """What was put or used since stays; both in seconds since 1970, by the store's clock."""
    kept: dict[str, Why] = field(default_factory=dict)
    """By the address of a manifest."""
    runs: dict[str, Why] = field(default_factory=dict)
    """By the run key of checkpoints."""
    missing: dict[str, str] = field(default_factory=dict)
    """Addresses that something names and that are not there, with who names them."""
    _blobs: dict[Why, set[bytes]] = field(default_factory=lambda: defaultdict(set), repr=False)

    def run(self, versions: Iterable[KeptVersion]) -> None:
        """Mark from the versions that stay, and from all that is young, at work, or remembered for ever.

        Raises:
            ModelmillError: a manifest that stays cannot be read, so that nobody knows what it names.
        """
        for one in versions:
            self._reach(dict.fromkeys(one.addresses, f"{one.name} version {one.version}"), one.why)
        for kind in MANIFESTS:
            young = (entry for entry in entries(self.store, f"{kind}/") if self.is_young(entry))
            self._reach({address: "its age" for entry in young if (address := address_of(entry))}, "young")
        for entry in entries(self.store, "measured/"):
            if self.is_young(entry):
                self._reach_from(entry, "young")
        for entry in entries(self.store, "accepted/"):
            self._reach_from(entry, "record")
        for key, those in grouped(self.store, "checkpoints/").items():
            if why := self._why_run(those):
                self.runs[key] = why
                self._blobs[why] |= self._of_checkpoints(key, those)

    def is_young(self, entry: Entry) -> bool:
        """Return whether something was put or used lately."""
        return entry.modified >= self.cutoff

    def why_blob(self, sha256: str) -> Why | None:
        """Return why a blob that is old stays; None where it goes."""
        short = _short(sha256)
        return next((why for why, those in self._blobs.items() if short in those), None)

    def _reach(self, named: Mapping[str, str], why: Why) -> None:
        """Mark manifests, given with who names each, and all that they lead to."""
        frontier = {address: by for address, by in named.items() if address not in self.kept}
        with ThreadPoolExecutor(_THREADS) as threads:
            while frontier:
                read = threads.map(self._read, frontier)
                following: dict[str, str] = {}
                for (address, by), value in zip(frontier.items(), read, strict=True):
                    if value is None:
                        self.missing.setdefault(address, by)
                        continue
                    self.kept[address] = why
                    for one in self._named(address, value, why):
                        following.setdefault(one, address)
                frontier = {address: by for address, by in following.items() if address not in self.kept}

    def _read(self, address: str) -> dict[str, Any] | None:
        try:
            return self.store.get_addressed(address)
        except NotFound:
            return None

    def _named(self, address: str, value: Mapping[str, Any], why: Why) -> Iterator[str]:
        """Yield the manifests that one names, what made a dataset among them, and mark its blobs."""
        inputs = value.get("inputs", {}) if address.startswith("made/") else {}
        for one in references(value):
            if one.kind == "address":
                yield one.name
            elif one.kind == "blob":
                self._blobs[why].add(_short(one.name))
            else:
                self._source(one.name, why)
        for uri in inputs:
            self._source(uri, why)
        if address.startswith("datasets/"):
            made = entries(self.store, f"made/{address.partition('/')[2]}/")
            yield from filter(None, map(address_of, made))

    def _source(self, uri: str, why: Why) -> None:
        """Mark a source that lies in this very store, as one that was uploaded with a recipe."""
        blob = f"{self.store.uri}/blobs/"
        if uri.startswith(blob):
            self._blobs[why].add(_short(uri.removeprefix(blob)))

    def _reach_from(self, entry: Entry, why: Why) -> None:
        """Mark what a remembered thing names."""
        try:
            value = self.store.get_manifest(entry.key)
        except NotFound:
            return
        self._reach({one.name: entry.key for one in references(value) if one.kind == "address"}, why)

    def _why_run(self, those: list[Entry]) -> Why | None:
        """Return why the checkpoints of a training stay: it is at work, or was lately."""
        marks = sorted((entry for entry in those if "/lease/" in entry.key), key=lambda entry: entry.key)
        if marks and self.now - marks[-1].modified < _ALIVE_SECONDS:
            try:
                free = self.store.get_manifest(marks[-1].key).get("free")
            except NotFound:
                # The heart beat in between.
                free = False
            if not free:
                return "running"
        return "young" if any(map(self.is_young, those)) else None

    def _of_checkpoints(self, key: str, those: list[Entry]) -> set[bytes]:
        """Return the blobs that the checkpoints of a training name; a training deletes its old ones as it goes."""
        for _ in range(_TURNS):
            try:
                read = [self.store.get_manifest(entry.key) for entry in those if "/step-" in entry.key]
            except NotFound:
                those = list(entries(self.store, f"checkpoints/{key}/"))
                continue
            return {_short(one.name) for value in read for one in references(value) if one.kind == "blob"}
        raise ModelmillError(f"{self.store.place(f'checkpoints/{key}')}: changed {_TURNS} times while it was read")


def address_of(entry: Entry) -> str | None:
    """Return the address of a manifest; None where the key is of no manifest that is named by its content."""
    address = entry.key.removesuffix(".json")
    return address if ADDRESS.fullmatch(address) and entry.key.endswith(".json") else None


def grouped(store: Store, folder: str) -> dict[str, list[Entry]]:
    """Return what lies in a folder by the run key that is the first part of its name."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries(store, folder):
        if folder != "checkpoints/" or CHECKPOINT.fullmatch(entry.key):
            found[entry.key.split("/")[1]].append(entry)
    return found


def _short(sha256: str) -> bytes:
    # Half of it tells blobs apart as well, and two that it did not would only stay.
    try:
        return bytes.fromhex(sha256)[:16]
    except ValueError:
        return sha256.encode()
