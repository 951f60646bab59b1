"""Retention: removes from the store what nothing needs any more, and first shows what that is.

Marks from the registry what stays, raises the store's epoch where a cache may name what goes, marks what came since,
removes manifests, marks once more, and removes blobs. So a manifest goes before its blobs, and whenever it is killed,
what stays is whole: repeated, it goes on. What is younger than the least age stays, and so does what is put again or
read, which makes it young. What MLflow holds is MLflow's, its copies of models in the object store too: nothing of it
is touched.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelmill import lease
from modelmill.errors import ModelmillError, UserError, without_credentials
from modelmill.home import TRACKING_VARIABLE, tracking_uri
from modelmill.retention.mark import Mark
from modelmill.retention.provenance import Provenance
from modelmill.retention.roots import KeptVersion, kept_versions
from modelmill.retention.settings import RetentionSettings
from modelmill.retention.sweep import CACHED, Sweep, Watch
from modelmill.retention.tally import Sum
from modelmill.store import STORE_VARIABLE, Store
from modelmill.store.epochs import raise_epoch
from modelmill.store.removal import clock

WORK = lease.Work(
    folder="retention",
    what="gc",
    busy="removes things from this very store; wait until it has ended",
    lost="another gc took over while this one stood still, so this one ends; nothing is half removed",
)


def collect(
    store: Store, client: Any, settings: RetentionSettings, watch: Watch = lambda _what, _count: None
) -> dict[str, Any]:
    """Count what stays and what goes, remove the latter if the settings say so, and return all figures.

    Raises:
        UserError: the store or MLflow is not the right one.
        ModelmillError: MLflow or the store does not answer, another process is at it, or something that stays cannot be
            read, so that nobody knows what it needs.
    """
    began = time.monotonic()
    check_places(store)
    collector = Collector(store, client, settings, watch)
    if not settings.apply:
        sweep, raised = collector.count(), False
    else:
        with lease.held(store, WORK, lambda: None) as held:
            sweep, raised = collector.remove(held)
    return _told(collector, sweep, raised=raised, seconds=time.monotonic() - began)


def check_places(store: Store) -> None:
    """Check that store and MLflow are named, where they are not those of one folder.

    Raises:
        UserError: there is no such store, or MLflow is not named.
    """
    if not store.uri.startswith("s3://"):
        if not Path(store.uri).is_dir():
            raise UserError(f"{store.uri}: there is no such store; correct {STORE_VARIABLE}")
    elif not os.environ.get(TRACKING_VARIABLE):
        raise UserError(
            f"{TRACKING_VARIABLE} is not set, and only the registry says what of {store.uri} is needed; set it to the "
            "address of the MLflow that this store's models are registered in"
        )


class Collector:
    """One go: the time that it goes by, what stays, and the ways through the store."""

    def __init__(self, store: Store, client: Any, settings: RetentionSettings, watch: Watch) -> None:
        self.store, self.client, self.settings, self.watch = store, client, settings, watch
        now = clock(store)
        self.mark = Mark(store=store, now=now, cutoff=now - settings.min_age_on_any_clock)
        self.versions: list[KeptVersion] = []

    def count(self) -> Sweep:
        """Go through the store and remove nothing."""
        with _nothing_removed():
            self._mark()
        sweep = self._sweep(apply=False)
        sweep.manifests()
        sweep.rest()
        return sweep

    def remove(self, held: lease.Lease) -> tuple[Sweep, bool]:
        """Remove what goes; return also whether an epoch was raised."""
        with _nothing_removed():
            self._mark()
        sweep = self._sweep(apply=True, held=held)
        raised = self._raise_epochs(sweep)
        if raised:
            # What was answered from a cache until now counts as used.
            with _nothing_removed():
                self._mark()
        sweep.manifests()
        self._mark()
        sweep.rest()
        return sweep, raised

    def _raise_epochs(self, sweep: Sweep) -> bool:
        """Let no cache be believed that may name what goes; those of runs on other raw files still are."""
        provenance, of = Provenance(store=self.store), set[str]()
        for number, address in enumerate(sweep.going(CACHED)):
            self.watch("lineage", number)
            sources = provenance.of(address)
            if sources is None:
                raise_epoch(self.store, "gc")
                return True
            of |= sources
        for one in sorted(of):
            raise_epoch(self.store, "gc", one)
        return bool(of)

    def _mark(self) -> None:
        self.watch("versions", 0)
        self.versions = kept_versions(self.client, self.store, self.settings, self.mark.cutoff)
        self.mark.run(self.versions)

    def _sweep(self, *, apply: bool, held: lease.Lease | None = None) -> Sweep:
        check = held.check if held is not None else lambda: None
        return Sweep(store=self.store, mark=self.mark, apply=apply, check=check, watch=self.watch)


@contextmanager
def _nothing_removed() -> Iterator[None]:
    """Say of an error that it came before anything was removed."""
    try:
        yield
    except ModelmillError as error:
        raise type(error)(f"{error} (nothing was removed)") from error


def _told(collector: Collector, sweep: Sweep, *, raised: bool, seconds: float) -> dict[str, Any]:
    kept, removed = Sum(), Sum()
    for tally in sweep.tallies.values():
        kept.add(tally.all_kept.bytes, tally.all_kept.count)
        removed.add(tally.removed.bytes, tally.removed.count)
    settings = collector.settings
    return {
        "store": collector.store.uri,
        "mlflow": without_credentials(tracking_uri()),
        "applied": settings.apply,
        "keep_versions": settings.keep_versions,
        "min_age": settings.min_age,
        "epoch_raised": raised,
        "versions": [
            {"name": one.name, "version": one.version, "because": list(one.because)} for one in collector.versions
        ],
        "missing": [{"address": address, "named_by": by} for address, by in sorted(collector.mark.missing.items())],
        "kinds": [tally.to_dict() for tally in sweep.tallies.values()],
        "total": {
            "kept": kept.count,
            "kept_bytes": kept.bytes,
            "removed": removed.count,
            "removed_bytes": removed.bytes,
        },
        "seconds": round(seconds, 1),
    }


def retain(settings: Mapping[str, Any], watch: Watch = lambda _what, _count: None) -> dict[str, Any]:
    """Do so in the store and the MLflow that the environment names, with settings as they were given.

    Raises:
        UserError: a setting is wrong; and see `collect`.
    """
    from pydantic import ValidationError

    from modelmill.store import open_store
    from modelmill.tracking import mlflow_client

    try:
        told = RetentionSettings(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"--{part}: ".replace("_", "-") for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch":
            said = "write a number and a unit of s, m, h or d, as in 12h or 7d"
        raise UserError(f"{where}{said}") from None
    store = open_store()
    check_places(store)
    return collect(store, mlflow_client(), told, watch)
