"""Walks what a version was made from, and names what is missing or whose bytes changed.

From the version's tags on, every manifest that is named is read, every blob that it names is hashed, and every source
that a dataset was made from is looked at again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modelmill.errors import ModelmillError, UserError
from modelmill.references import ADDRESS, Reference, references
from modelmill.registry.asking import asking
from modelmill.registry.files import changed_files
from modelmill.registry.history import History, standing
from modelmill.registry.judgement import VERDICT_TAG, judgement
from modelmill.registry.versions import MODEL_TAG, Registry, fetch
from modelmill.sources import fingerprint, shown
from modelmill.store import NotFound, Store


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An artifact that is not as it was."""

    artifact: str
    """Its address, `blobs/<sha256>`, a source's URI, or `models:/<name>/<version>` for what MLflow holds."""
    needed_by: str
    what: str


@dataclass(kw_only=True)
class Walk:
    """One walk over all that several versions were made from; what they share is looked at once."""

    registry: Registry
    store: Store
    scratch: Path
    faults: list[Fault] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """All that was looked at."""

    def history(self) -> None:
        """Look at the chain of promotions."""
        history = History(store=self.store, name=self.registry.name)
        with self._noting(f"promotions/{self.registry.name}", self.registry.name):
            standing(history.entries())

    def version(self, version: str) -> None:
        """Look at a version, and at all that its tags lead to.

        Raises:
            UserError: there is no such version.
            ModelmillError: MLflow does not answer.
        """
        named = f"models:/{self.registry.name}/{version}"
        tags = self.registry.tags(version)
        for address in tags.values():
            self._address(address, named)
        with self._noting(named, named):
            judged = judgement(self.registry, self.store, version)
            if tags.get(VERDICT_TAG, judged.decision) != judged.decision:
                self._fault(named, named, f"tag {VERDICT_TAG} says {tags[VERDICT_TAG]}, its report {judged.decision}")
        with self._noting(f"{named} (files)", named), asking(named):
            folder = fetch(named, self.scratch / f"version-{version}")
            for said in changed_files(self.store, folder, tags.get(MODEL_TAG, "")):
                self._fault(named, named, said)

    def _address(self, address: str, needed_by: str) -> None:
        if ADDRESS.fullmatch(address) is None or address in self.seen:
            return
        with self._noting(address, needed_by):
            manifest = self.store.get_addressed(address)
            for one in references(manifest):
                self._reference(one, address)
            if address.startswith("made/"):
                for uri, pinned in manifest.get("inputs", {}).items():
                    self._source(uri, pinned, address)

    def _reference(self, one: Reference, needed_by: str) -> None:
        if one.kind == "blob":
            self._blob(one.name, needed_by)
        elif one.kind == "address":
            self._address(one.name, needed_by)
        else:
            self._source(one.name, one.pinned, needed_by)

    def _source(self, uri: str, pinned: str, needed_by: str) -> None:
        if uri in self.seen:
            return
        with self._noting(uri, needed_by, named=shown(uri)):
            found = fingerprint(uri)
            if found != pinned:
                what = f"was changed: its fingerprint was {pinned[:12]}, and is {found[:12]}"
                self._fault(shown(uri), needed_by, what)

    def _blob(self, sha256: str, needed_by: str) -> None:
        if f"blobs/{sha256}" in self.seen:
            return
        with self._noting(f"blobs/{sha256}", needed_by):
            # Each way checks the bytes, and none holds a model in memory.
            if self.store.blob_file(sha256) is None:
                path = self.scratch / "blob"
                self.store.fetch_blob(sha256, path)
                path.unlink()

    @contextmanager
    def _noting(self, key: str, needed_by: str, *, named: str = "") -> Iterator[None]:
        """Make a fault of what is raised inside, and let the walk go on."""
        self.seen.add(key)
        try:
            yield
        except ModelmillError as error:
            gone = isinstance(error, NotFound | UserError)
            self._fault(named or key, needed_by, f"is missing: {error}" if gone else str(error))

    def _fault(self, artifact: str, needed_by: str, what: str) -> None:
        self.faults.append(Fault(artifact=artifact, needed_by=needed_by, what=what))


def verify(registry: Registry, store: Store, versions: list[str], scratch: Path) -> Walk:
    """Walk the lineage of versions of a registered model, and its history; `faults` of what is returned names all.

    Raises:
        UserError: there is no such version.
        ModelmillError: MLflow does not answer.
    """
    walk = Walk(registry=registry, store=store, scratch=scratch)
    walk.history()
    for version in versions:
        walk.version(version)
    return walk
