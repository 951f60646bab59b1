"""Why a step is not in the cache: what is different from the last run of the recipe here."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipelines.plan.cost import former_runs
from pipelines.plan.walk import PlannedStep
from pipelines.recipe import Recipe
from pipelines.steps import settings_of

_MOST = 3


def explained(steps: Sequence[PlannedStep], recipe: Recipe) -> list[PlannedStep]:
    """Return the steps, those that run for a known reason with it."""
    folder = next(former_runs(recipe.name), None)
    if folder is None:
        return list(steps)
    try:
        before = Recipe.model_validate_json(json.dumps(json.loads((folder / "recipe.json").read_text())["recipe"]))
        answered = json.loads((folder / "outputs.json").read_text())
    except (OSError, ValueError, KeyError):
        # A run of another version of modelmill.
        return list(steps)
    was, is_now = settings_of(before), settings_of(recipe)
    made = []
    for step in steps:
        reason = ""
        if step.state == "runs" and "not in the cache" in step.why:
            reason = _settings(was.get(step.name), is_now[step.name]) or _inputs(steps, answered)
        made.append(replace(step, why=reason) if reason else step)
    return made


def _settings(was: str | None, now: str) -> str:
    if was is None:
        return "the recipe had no such step in its last run"
    old, new = json.loads(was), json.loads(now)
    changed = [key for key in new if old.get(key) != new[key]]
    if not changed:
        return ""
    told = [f"{key} {_short(old.get(key))} → {_short(new[key])}" for key in changed[:_MOST]]
    more = f" and {len(changed) - _MOST} more" if len(changed) > _MOST else ""
    return f"changed since the last run: {', '.join(told)}{more}"


def _inputs(steps: Sequence[PlannedStep], answered: dict[str, dict[str, str]]) -> str:
    resolved = next((step.outputs for step in steps if step.name == "resolve"), {})
    old = answered.get("resolve", {})
    if "sources" in old and old["sources"] != resolved.get("sources"):
        was, now = json.loads(old["sources"]), json.loads(resolved["sources"])
        names = [uri for uri in now if was.get(uri) != now[uri]]
        return f"other data since the last run: {', '.join(names[:_MOST])}"
    if "where" in old and old["where"] != resolved.get("where"):
        return "another store or MLflow than in the last run, or the store was collected since"
    if any(old.get(name, "") != resolved.get(name, "") for name in ("base", "teacher", "before") if name in old):
        return "another base model, teacher or accepted table than in the last run"
    return ""


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}…"
