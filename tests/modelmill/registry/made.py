"""Versions with verdicts for the tests, and a client and a store whose calls break off."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmill.digest import sha256_hex
from modelmill.models.folder import save_files
from modelmill.registry.judgement import APPROVAL_TAG, REPORT_TAG, VERDICT_TAG
from modelmill.registry.promotion import Promotions
from modelmill.registry.versions import CHAMPION, MODEL_TAG, Registry
from modelmill.store import Store


def promotions(client: Any, store: Store, name: str = "") -> Promotions:
    """Return the promotions of a model, by default a new one."""
    if not name:
        name = f"model-{uuid.uuid4().hex[:10]}"
        client.create_registered_model(name)
    return Promotions(registry=Registry(client=client, name=name), store=store)


def version(
    of: Promotions,
    decision: str = "promote",
    beside: str = "",
    approval: str = "none",
    source: str = "s3://models/x",
) -> str:
    """Make a version that was judged beside a champion; without a decision it was not judged."""
    registry = of.registry
    model = f"models/{sha256_hex(uuid.uuid4().hex)}"
    tags = {MODEL_TAG: model, APPROVAL_TAG: approval}
    if decision:
        tags[VERDICT_TAG] = decision
        tags[REPORT_TAG] = report(of.store, model, decision, beside)
    return str(registry.client.create_model_version(registry.name, source, tags=tags).version)


def judge(of: Promotions, number: str, decision: str, beside: str) -> None:
    """Judge a version anew."""
    registry = of.registry
    model = registry.tags(number)[MODEL_TAG]
    registry.client.set_model_version_tag(registry.name, number, REPORT_TAG, report(of.store, model, decision, beside))


def report(store: Store, model: str, decision: str, beside: str) -> str:
    """Put a report that holds no more than a verdict, and return its address."""
    told = {
        "model": model,
        "verdict": {"decision": decision, "reasons": ["Accuracy is 0.700, at least 0.800 is wanted."]},
        "lineage": {"champion_judged": beside},
    }
    return save_files(store, "reports", {"report.json": json.dumps(told).encode()}, {"kind": "report"})


@dataclass
class Breaking:
    """Counts the calls of what it is put around, and breaks one of them off, before it acts or after."""

    at: int
    after: bool
    errors: Mapping[str, Callable[[], BaseException]]
    """What a call of the `client` and of the `store` raises."""
    calls: int = field(default=0, init=False)

    def around(self, inner: Any, what: str) -> Any:
        return _Around(inner, self, self.errors[what])

    @property
    def broke(self) -> bool:
        return self.calls >= self.at


class _Around:
    def __init__(self, inner: Any, breaking: Breaking, error: Callable[[], BaseException]) -> None:
        self._inner, self._breaking, self._error = inner, breaking, error

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            breaking = self._breaking
            breaking.calls += 1
            breaks = breaking.calls == breaking.at
            if breaks and not breaking.after:
                raise self._error()
            answer = value(*arguments, **named)
            if breaks:
                raise self._error()
            return answer

        return call


def breaking_promotions(of: Promotions, breaking: Breaking) -> Promotions:
    """Return the same promotions with a client and a store that break off."""
    store = Store(of.store.uri, breaking.around(of.store._backend, "store"))
    return promotions(breaking.around(of.registry.client, "client"), store, of.registry.name)


def fresh(of: Promotions) -> Promotions:
    """Return the same promotions as another process sees them: nothing is remembered."""
    return promotions(of.registry.client, of.store, of.registry.name)


def state(of: Promotions) -> tuple[str | None, list[tuple[str, str | None, str]]]:
    """Return where MLflow's alias stands, and the moves of the history: action, from, to."""
    entries = fresh(of).history.entries()
    moves = [(str(entry.action), entry.from_version, entry.to_version) for entry in entries]
    return of.registry.alias(CHAMPION), moves


def local_client(folder: Path) -> Any:
    """Return a client of an MLflow in a file."""
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)
