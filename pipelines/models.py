"""What the `models` commands do: the registry's versions, and who is champion."""

import dataclasses
from typing import Any

from modelmill.errors import UserError
from modelmill.registry.asking import asking, check_name, pages
from modelmill.registry.files import check_works
from modelmill.registry.history import standing
from modelmill.registry.judgement import judgement
from modelmill.registry.lineage import Walk
from modelmill.registry.lineage import verify as walk
from modelmill.registry.promotion import Moved, Promotions
from modelmill.registry.versions import CHAMPION, MODEL_TAG, Registry
from modelmill.registry.who import who as whoever
from modelmill.scratch import scratch_folder
from modelmill.store import open_store
from modelmill.tracking import mlflow_client


def list_models() -> dict[str, Any]:
    """Return every registered model that has versions of modelmill's making, with its aliases and number of versions.

    Raises:
        ModelmillError: MLflow does not answer.
    """
    client, models = mlflow_client(), []
    with asking("listing the registered models"):
        for name, aliases in sorted((model.name, model.aliases) for model in pages(client.search_registered_models)):
            versions = [v for v in _versions(client, name) if MODEL_TAG in v.tags]
            if versions:
                newest = max(int(version.version) for version in versions)
                told = {alias: str(at) for alias, at in sorted(aliases.items())}
                models.append({"name": name, "versions": len(versions), "newest": str(newest), "aliases": told})
    return {"models": models}


def show(name: str, version: str = "") -> dict[str, Any]:
    """Return a registered model's versions, or all that is known of one of them: verdict, approvals, lineage.

    Raises:
        UserError: there is no such model or version.
        ModelmillError: MLflow or the store do not answer.
    """
    promotions = _promotions(name)
    registry = promotions.registry
    aliases = _aliases(registry)
    if version:
        return _one(promotions, _number(registry, version), aliases)
    with asking(f"looking at {name}"):
        there = sorted(_versions(registry.client, name), key=lambda one: int(one.version))
    versions = [
        {
            "version": str(one.version),
            "aliases": sorted(alias for alias, at in aliases.items() if at == str(one.version)),
            "verdict": one.tags.get("modelmill.verdict", ""),
            "approval": one.tags.get("modelmill.approval", "none"),
            "model": one.tags.get(MODEL_TAG, ""),
        }
        for one in there
    ]
    return {"name": name, "champion": _champion(promotions, aliases), "versions": versions}


def history(name: str) -> dict[str, Any]:
    """Return who was champion when and why, the oldest entry first, and to which versions a rollback could go.

    Raises:
        UserError: no such model is registered.
        ModelmillError: MLflow or the store do not answer, or the history was changed.
    """
    promotions = _promotions(name)
    aliases = _aliases(promotions.registry)
    entries = promotions.history.entries()
    return {
        "name": name,
        "champion": _champion(promotions, aliases),
        "alias": aliases.get(CHAMPION),
        "before": standing(entries)[:-1],
        "entries": [entry.model_dump(mode="json") for entry in entries],
    }


def promote(
    name: str, version: str, *, force: bool = False, reason: str = "", expected: str = "", who: str = ""
) -> dict[str, Any]:
    """Make a version champion; see `Promotions.promote`.

    Raises:
        UserError: no such version, or it may not be champion.
        ModelmillError: another was first; or MLflow or the store do not answer.
    """
    promotions = _promotions(name)
    number = _number(promotions.registry, version)
    return _moved(
        name,
        promotions.promote(number, who=who or whoever(), expected=expected, force=force, reason=reason),
    )


def rollback(name: str, *, to: str = "", reason: str = "", who: str = "") -> dict[str, Any]:
    """Return to the champion before, once it was loaded and its golden rows tried; see `Promotions.rollback`.

    Raises:
        UserError: there is none to return to.
        ModelmillError: it does not work any more; or MLflow or the store do not answer.
    """
    promotions = _promotions(name)
    with scratch_folder("rollback") as scratch:
        check = check_works(promotions.registry, promotions.store, scratch)
        return _moved(name, promotions.rollback(who=who or whoever(), check=check, to=to, reason=reason))


def approve(name: str, version: str, *, reason: str = "", who: str = "") -> dict[str, Any]:
    """Record an approval of a version's present verdict.

    Raises:
        UserError: there is no such version.
        ModelmillError: MLflow or the store do not answer.
    """
    promotions = _promotions(name)
    number = _number(promotions.registry, version)
    given = promotions.approve(number, who=who or whoever(), why=reason)
    decision = judgement(promotions.registry, promotions.store, number).decision
    return {"name": name, "version": number, "verdict": decision, **given.model_dump(mode="json")}


def verify(name: str, version: str = "") -> dict[str, Any]:
    """Walk the lineage of a version, or of all that have an alias, and return how many artifacts were looked at
    and the faults: what is missing, or whose bytes changed.

    Raises:
        UserError: there is no such model or version.
        ModelmillError: MLflow does not answer.
    """
    promotions = _promotions(name)
    registry = promotions.registry
    versions = [_number(registry, version)] if version else sorted(set(_aliases(registry).values()), key=int)
    with scratch_folder("verify") as scratch:
        found: Walk = walk(registry, promotions.store, versions, scratch)
    return {
        "name": name,
        "versions": versions,
        "checked": len(found.seen),
        "faults": [dataclasses.asdict(fault) for fault in found.faults],
    }


def _promotions(name: str) -> Promotions:
    return Promotions(registry=Registry(client=mlflow_client(), name=check_name(name)), store=open_store())


def _aliases(registry: Registry) -> dict[str, str]:
    with asking(registry.name):
        found = registry.client.get_registered_model(registry.name).aliases
    return {alias: str(at) for alias, at in found.items()}


def _champion(promotions: Promotions, aliases: dict[str, str]) -> str | None:
    """The champion by the history, which the alias follows; before the history began, by the alias."""
    head = promotions.history.head()
    return head.to_version if head is not None else aliases.get(CHAMPION)


def _number(registry: Registry, version: str) -> str:
    """Return the version that a person means: a number, or an alias that stands at one."""
    if version.isdecimal():
        return str(int(version))
    aliases = _aliases(registry)
    if version.removeprefix("@") in aliases:
        return aliases[version.removeprefix("@")]
    known = ", ".join(sorted(aliases)) or "none"
    raise UserError(f"{registry.name} {version}: no version; give a number, or one of its aliases ({known})")


def _moved(name: str, moved: Moved) -> dict[str, Any]:
    return {
        "name": name,
        "champion": moved.entry.to_version,
        "changed": moved.changed,
        "entry": moved.entry.model_dump(mode="json"),
    }


def _one(promotions: Promotions, version: str, aliases: dict[str, str]) -> dict[str, Any]:
    judged = judgement(promotions.registry, promotions.store, version)
    valid = promotions.approvals.of(version, judged.digest)
    return {
        "name": promotions.registry.name,
        "version": version,
        "aliases": sorted(alias for alias, at in aliases.items() if at == version),
        "model": judged.model,
        "verdict": judged.decision,
        "reasons": list(judged.reasons),
        "judged_beside": judged.champion,
        "report": judged.report,
        "approval": judged.approval,
        "approvals": [one.model_dump(mode="json") for one in valid],
        "tags": dict(sorted(promotions.registry.tags(version).items())),
    }


def _versions(client: Any, name: str) -> list[Any]:
    return pages(lambda **page: client.search_model_versions(f"name = '{name}'", **page))
