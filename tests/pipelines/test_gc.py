"""`modelmill gc` as a person uses it, on what a real run leaves behind."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from modelmill.store import open_store
from tests.commands import modelmill
from tests.pipelines.test_models import models
from tests.pipelines.test_run import RECIPES, cached, run

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
# Quick and whole: what is wanted here is what a run leaves behind.
QUICK = ("--set", "finetune.folds=null", "--set", "evaluate.robustness=[]", "--set", "evaluate.explain=0")


def gc(folder: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = modelmill("gc", *arguments, "--json", cwd=folder)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def removed(answer: dict[str, Any]) -> set[str]:
    return {one["kind"] for one in answer["kinds"] if one["removed"]}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with one registered version, and a model that was trained and never registered; all of it old."""
    folder = tmp_path_factory.mktemp("gc")
    result = run(RECIPES / "wine_tiny.yaml", *QUICK, cwd=folder)
    run(RECIPES / "wine_tiny.yaml", *QUICK, "--set", "finetune.lr=0.002", "--until", "finetune", cwd=folder)
    store = folder / ".modelmill" / "store"
    for path in store.rglob("*"):
        os.utime(path, (time.time() - 30 * 86400,) * 2)
    return folder, result


def test_a_dry_run_shows_a_table_and_removes_nothing(ran: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = ran
    store = open_store(str(folder / ".modelmill" / "store"))
    before = list(store.keys(""))
    done = modelmill("gc", cwd=folder, env={"COLUMNS": "160"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "would go with --apply" in done.stdout
    assert "why kept" in done.stdout
    assert "1 version of 1 registered model" in done.stdout
    assert list(store.keys("")) == before
    assert removed(gc(folder)) == {"blobs", "models", "checkpoints"}


def test_what_is_left_is_verified_a_new_run_finds_it_and_a_second_gc_removes_nothing(
    ran: tuple[Path, dict[str, Any]],
) -> None:
    folder, first = ran
    name = first["model"]["name"]
    answer = gc(folder, "--apply")
    assert (answer["applied"], answer["epoch_raised"]) == (True, True)
    verified = models(folder, "verify", name)
    assert (verified["versions"], verified["faults"]) == (["1"], [])
    assert gc(folder, "--apply")["total"]["removed"] == 0
    again = run(RECIPES / "wine_tiny.yaml", *QUICK, cwd=folder)
    # Nothing is believed that was cached before; all comes out as it was, and is the same version.
    assert cached(again) == set()
    assert (again["datasets"], again["metrics"], again["model"]) == (
        first["datasets"],
        first["metrics"],
        first["model"],
    )


def test_wrong_input_ends_with_two(ran: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = ran
    assert "--min-age: write a number" in gc(folder, "--min-age", "soon", code=2)["error"]
    assert "there is no such store" in gc(tmp_path, code=2)["error"]
