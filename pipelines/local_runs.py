"""Runs of this machine, as they lie in `.modelmill/runs`."""

import json
from pathlib import Path
from typing import Any

from modelmill.errors import UserError
from modelmill.home import home
from modelmill.sources import nearest


def list_local() -> list[dict[str, Any]]:
    """Return what is known of each run, newest first; a run that has not ended has no seconds."""
    return [_known(folder) for folder in sorted(_runs().glob("*/"), reverse=True) if _readable(folder)]


def show_local(run: str) -> dict[str, Any]:
    """Return the object of a run.

    Raises:
        UserError: there is no such run here.
    """
    return _known(_folder(run))


def local_log(run: str, step: str | None) -> list[str]:
    """Return the lines that a run's steps have said, or one of them.

    Raises:
        UserError: there is no such run, or no such step in it.
    """
    folder = _folder(run)
    logs = {path.stem: path for path in sorted(folder.glob("*.log")) if path.stem != "runner"}
    if step is None:
        last = sorted(logs.values(), key=lambda path: path.stat().st_mtime)[-1:]
        return last[0].read_text(errors="replace").splitlines() if last else []
    if step not in logs:
        known = ", ".join(logs) or "none ran"
        raise UserError(f"run {run}: no log of a step {step!r}{nearest(step, tuple(logs))}; there are: {known}")
    return logs[step].read_text(errors="replace").splitlines()


def _runs() -> Path:
    return home() / "runs"


def _readable(folder: Path) -> bool:
    return (folder / "recipe.json").is_file()


def _folder(run: str) -> Path:
    names = [folder.name for folder in _runs().glob("*/") if _readable(folder)]
    if run not in names:
        hint = nearest(run, names) or "; `modelmill runs list` shows those of this folder"
        raise UserError(f"run {run}: there is none in {_runs()}{hint}; one on a cluster wants --profile FILE")
    return _runs() / run


def _known(folder: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads((folder / "run.json").read_text())
        return known
    except (OSError, ValueError):
        # Its end was never written down: it goes on, or its process was killed.
        name = json.loads((folder / "recipe.json").read_text())["recipe"]["name"]
        return {"run": folder.name, "recipe": name, "state": "running", "seconds": None, "steps": []}
