"""Stores that hold what runs leave behind: small real manifests that name each other, versions of them, and ages.

Whatever is made here says what it needs, so that a test knows without asking the code under test what must stay.
"""

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from modelmill.accepted import accept
from modelmill.digest import canonical_json, digest, sha256_hex
from modelmill.registry.judgement import GOLDEN_TAG, REPORT_TAG
from modelmill.registry.promotion import Promotions
from modelmill.registry.versions import MODEL_TAG
from modelmill.retention.settings import RetentionSettings
from modelmill.store import Store
from tests.modelmill.registry.made import promotions, report

OLD_SECONDS, YOUNG_SECONDS = -10000.0, 3600.0
SOURCES = {"package://x/y.csv": "f" * 64}
"""What the raw files of all data sets were pinned at."""
RECORDS = ("promotions/", "approvals/", "accepted/", "epoch", "retention/")


def settings(*, apply: bool = True, keep_versions: int = 2, **more: Any) -> RetentionSettings:
    """Return settings by which all is old that is not of the future: versions in MLflow cannot be made older."""
    return RetentionSettings(**{"min_age": "0s", "idle": True, "apply": apply, "keep_versions": keep_versions, **more})


@dataclass
class Grown:
    """A store in a folder, what each of its keys needs, and which of them are young."""

    store: Store
    needs: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    young: set[str] = field(default_factory=set)
    uncached: set[str] = field(default_factory=set)
    """Keys of reports that no step answers with from a cache."""
    count: int = 0

    def blob(self, text: str = "") -> str:
        """Put a blob and return its sha256."""
        self.count += 1
        return self.store.put_blob(f"{text or self.count}".encode()).sha256

    def manifest(self, kind: str, content: dict[str, Any], blobs: list[str], *needed: str) -> str:
        """Put a manifest that names blobs, and whatever its content does, and return its address."""
        self.count += 1
        named = [{"sha256": sha256, "bytes": 1} for sha256 in blobs]
        address = self.store.put_addressed(kind, {"number": self.count, "blobs": named, **content})
        self.needs[f"{address}.json"] |= {f"blobs/{sha256}" for sha256 in blobs} | {f"{one}.json" for one in needed}
        return address

    def dataset(self, blobs: list[str], before: str = "", schema: str = "") -> str:
        """Put a dataset and what made it: from another one, or from raw files."""
        address = self.manifest("datasets", {}, blobs)
        inputs = {"labelled": before, "corpus": "", "base": ""} if before else SOURCES
        told = {"inputs": inputs, **({"schema": schema} if schema else {})}
        made = self.manifest(f"made/{address.partition('/')[2]}", told, [self.blob()], *filter(None, (before, schema)))
        self.needs[f"{address}.json"].add(f"{made}.json")
        return address

    def model(self, blobs: list[str], labelled: str, base: str = "") -> str:
        """Put a model that learned from a dataset, and from another model as resolve pinned it."""
        pinned = canonical_json({"uri": "models:/other/3", "fingerprint": base}) if base else ""
        lineage = {"labelled": labelled, "model": "", "base": pinned}
        return self.manifest("models", {"meta": {"lineage": lineage}}, blobs, *filter(None, (labelled, base)))

    def evaluation(self, blobs: list[str], model: str, dataset: str) -> str:
        """Put a report on a model."""
        return self.manifest("reports", {"meta": {"model": model, "dataset": dataset}}, blobs, model, dataset)

    def measured(self, of: str) -> str:
        """Remember a report, and return the key."""
        key = f"measured/{sha256_hex(of)}.json"
        self.store.claim(key, {"report": of, "summary": {}})
        return key

    def checkpoint(self, run: str, step: int, blobs: list[str]) -> str:
        """Put a checkpoint of a training, and return its key."""
        key = f"checkpoints/{run}/step-{step:08d}.json"
        files = {f"part-{place}": {"sha256": sha256, "bytes": 1} for place, sha256 in enumerate(blobs)}
        self.store.put_manifest(key, {"step": step, "files": files})
        self.needs[key] = {f"blobs/{sha256}" for sha256 in blobs}
        return key

    def settle(self) -> None:
        """Let all be old but what is young."""
        now = time.time()
        for key in self.store.keys(""):
            self.let_be(key, now + (YOUNG_SECONDS if key in self.young else OLD_SECONDS))
        # A file system's clock may be some milliseconds behind the one that MLflow goes by.
        time.sleep(0.02)

    def let_be(self, key: str, when: float) -> None:
        """Let a key be put at a time."""
        os.utime(Path(self.store.uri) / key, (when, when))

    def reached(self, roots: set[str]) -> set[str]:
        """Return what some keys need, with themselves."""
        found: set[str] = set()
        pending = list(roots)
        while pending:
            key = pending.pop()
            if key not in found:
                found.add(key)
                pending += self.needs[key]
        return found

    def bytes(self) -> dict[str, bytes]:
        """Return all that the store holds, by key."""
        return {key: (Path(self.store.uri) / key).read_bytes() for key in self.store.keys("")}


@dataclass
class Registered:
    """A registered model and its versions, in the order of their numbers, with the keys that each needs itself."""

    of: Promotions
    versions: list[set[str]] = field(default_factory=list)

    def add(self, grown: Grown, model: str, *more: str, golden: str = "") -> str:
        """Make a version, and return its number."""
        judged = report(grown.store, model, "promote", "")
        grown.uncached.add(f"{judged}.json")
        blobs = grown.store.get_addressed(judged)["files"].values()
        grown.needs[f"{judged}.json"] |= {f"blobs/{blob['sha256']}" for blob in blobs}
        tags = {MODEL_TAG: model, REPORT_TAG: judged, **({GOLDEN_TAG: golden} if golden else {})}
        tags |= {f"modelmill.more-{place}": address for place, address in enumerate(more)}
        registry = self.of.registry
        self.versions.append({f"{one}.json" for one in (model, judged, *more, golden) if one})
        return str(registry.client.create_model_version(registry.name, "s3://models/x", tags=tags).version)

    def kept(self, newest: int) -> set[int]:
        """Return the places of the versions that must stay, told from the moves of the history alone."""
        stack: list[str] = []
        for entry in self.of.history.entries():
            if entry.action == "rollback":
                while stack[-1] != entry.to_version:
                    stack.pop()
            else:
                stack.append(entry.to_version)
        aliases = self.of.registry.client.get_registered_model(self.of.registry.name).aliases
        last = range(max(0, len(self.versions) - newest), len(self.versions))
        return {*last, *(int(one) - 1 for one in [*stack, *aliases.values()])}


def registered(client: Any, grown: Grown) -> Registered:
    """Return a new registered model."""
    return Registered(of=promotions(client, grown.store))


def move(model: Registered, draw: Random) -> None:
    """Let the champion be another one, or the one before."""
    of, numbers = model.of, [str(number + 1) for number in range(len(model.versions))]
    before = {entry.to_version for entry in of.history.entries()}
    if len(before) > 1 and draw.random() < 0.4:
        from modelmill.errors import UserError

        try:
            of.rollback(who="ann", check=lambda _version: None)
        except UserError:
            # There is none to return to any more.
            return
    else:
        of.promote(draw.choice(numbers), who="ann", force=True, reason="to see")


def grow(store: Store, client: Any, draw: Random) -> tuple[Grown, list[Registered]]:
    """Fill a store at random: shared blobs, datasets of datasets, models of models, versions, histories and ages."""
    grown = Grown(store=store)
    store.epoch()
    blobs = [grown.blob() for _ in range(draw.randint(3, 12))]

    def some(most: int = 2) -> list[str]:
        return draw.sample(blobs, draw.randint(0, most))

    schemas = [grown.manifest("schemas", {}, []) for _ in range(draw.randint(0, 2))]
    datasets: list[str] = []
    for _ in range(draw.randint(1, 6)):
        before = draw.choice(["", *datasets])
        datasets.append(grown.dataset(some(), before, draw.choice(["", *schemas])))
    models: list[str] = []
    for _ in range(draw.randint(1, 6)):
        models.append(grown.model(some(), draw.choice(datasets), draw.choice(["", *models])))
    reports = [grown.evaluation(some(), draw.choice(models), draw.choice(datasets)) for _ in range(draw.randint(0, 4))]
    golden = [grown.manifest("golden", {"model": one}, [], one) for one in models[:2]]
    for one in reports[:2]:
        grown.measured(one)
    if schemas:
        accept(store, "a-recipe", sources="{}", schema=draw.choice(schemas), before="")
    for run in "ab":
        for step in range(draw.randint(0, 2)):
            grown.checkpoint(digest(run), step, [*some(1), grown.blob()])
    store.put_work("work/one/0-0", b"part")
    store.put_work("work/two/0-0", b"part")
    versioned = []
    for _ in range(draw.randint(1, 2)):
        model = registered(client, grown)
        for _ in range(draw.randint(1, 5)):
            beside = [*reports, *datasets]
            more = draw.sample(beside, draw.randint(0, min(2, len(beside))))
            model.add(grown, draw.choice(models), *more, golden=draw.choice(["", *golden]))
        for _ in range(draw.randint(0, 4)):
            move(model, draw)
        versioned.append(model)
    grown.young = {key for key in store.keys("") if draw.random() < 0.1}
    grown.settle()
    return grown, versioned


def expected(grown: Grown, models: list[Registered], newest: int) -> set[str]:
    """Return the keys that must be left."""
    keys = set(grown.store.keys(""))
    roots = {key for model in models for place in model.kept(newest) for key in model.versions[place]}
    roots |= grown.young
    for key in keys:
        if key.startswith("accepted/"):
            entry = grown.store.get_manifest(key)
            roots.add(f"{entry['schema']}.json")
        elif key.startswith("measured/") and key in grown.young:
            roots.add(f"{grown.store.get_manifest(key)['report']}.json")
    # All of a training, or of a run's work, is as young as the youngest of it.
    folders = {f"{'/'.join(key.split('/')[:2])}/" for key in grown.young if key.startswith(("checkpoints/", "work/"))}
    roots |= {key for key in keys if any(key.startswith(folder) for folder in folders)}
    left = grown.reached(roots)
    left |= {key for key in keys if key.startswith(RECORDS)}
    told = {key: f"{grown.store.get_manifest(key)['report']}.json" for key in keys if key.startswith("measured/")}
    return left | {key for key, needed in told.items() if needed in left}


def keys(store: Store) -> list[str]:
    """Return what a store holds beside what retention itself writes."""
    return [key for key in store.keys("") if not key.startswith(("retention/", "epoch"))]
