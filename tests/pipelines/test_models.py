"""The `models` commands as a person uses them, and the whole cycle on a small table."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelmill.registry.promotion import Promotions
from modelmill.store import open_store
from tests.commands import modelmill
from tests.modelmill.registry.made import local_client, promotions, version
from tests.pipelines.test_run import RECIPES, run

# MLflow's own dealings with SQLAlchemy, which in other tests go on in a server.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
ENV = {"MODELMILL_USER": "ann"}


def models(folder: Path, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = modelmill("models", *arguments, "--json", cwd=folder, env={**ENV, **(env or {})})
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Promotions]:
    """A model with a champion, one that was judged beside it and needs an approval, and one that is held."""
    folder = tmp_path_factory.mktemp("models")
    (folder / ".modelmill").mkdir()
    client = local_client(folder / ".modelmill")
    client.create_registered_model("reviews")
    of = promotions(client, open_store(str(folder / ".modelmill" / "store")), "reviews")
    of.promote(version(of), who="eve", reason="[first] of all")
    version(of, beside="1", approval="required")
    version(of, "hold", beside="1")
    return folder, of


def test_a_version_is_looked_at_approved_and_promoted_from_the_command_line(
    registered: tuple[Path, Promotions],
) -> None:
    folder, _ = registered
    assert models(folder, "list")["models"] == [
        {"name": "reviews", "versions": 3, "newest": "3", "aliases": {"champion": "1"}}
    ]
    assert models(folder, "show", "reviews", "champion")["verdict"] == "promote"
    refused = models(folder, "promote", "reviews", "2", code=2)
    assert "modelmill models approve reviews 2" in refused["error"]
    assert models(folder, "approve", "reviews", "2", "--reason", "read it")["who"] == "ann"
    moved = models(folder, "promote", "reviews", "2", "--expect", "1")
    assert (moved["champion"], moved["changed"], moved["entry"]["from_version"]) == ("2", True, "1")
    assert not models(folder, "promote", "reviews", "2")["changed"]
    told = models(folder, "history", "reviews")
    assert [(entry["action"], entry["to_version"]) for entry in told["entries"]] == [("first", "1"), ("promote", "2")]
    assert (told["champion"], told["alias"], told["before"]) == ("2", "2", ["1"])


def test_what_is_refused_says_why_and_ends_with_two(registered: tuple[Path, Promotions]) -> None:
    folder, _ = registered
    assert "its verdict is hold" in models(folder, "promote", "reviews", "3", code=2)["error"]
    assert "--reason" in models(folder, "promote", "reviews", "3", "--force", code=2)["error"]
    assert "give a number, or one of its aliases" in models(folder, "promote", "reviews", "best", code=2)["error"]
    assert "no name of a registered model" in models(folder, "history", "a/b", code=2)["error"]
    assert "nothing" in models(folder, "history", "nothing", code=2)["error"]


def test_people_read_tables_and_reasons_are_no_markup(registered: tuple[Path, Promotions]) -> None:
    folder, _ = registered
    done = modelmill("models", "history", "reviews", cwd=folder, env={**ENV, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    assert "[first] of all" in done.stdout
    assert "- → 1" in done.stdout
    done = modelmill("models", "show", "reviews", cwd=folder, env={**ENV, "COLUMNS": "200"})
    assert "hold" in done.stdout
    assert "required" in done.stdout


def test_an_mlflow_that_is_gone_is_told_and_no_password_with_it(tmp_path: Path) -> None:
    env = {"MLFLOW_TRACKING_URI": "http://ann:hunter2@127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = modelmill("models", "promote", "reviews", "1", "--json", cwd=tmp_path, env=env)
    assert done.returncode == 1, done.stderr
    assert "http://127.0.0.1:9 gives no answer" in json.loads(done.stdout)["error"]
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.slow
def test_the_whole_cycle_of_a_table_model_ends_where_it_began(tmp_path: Path) -> None:
    """Train, promote a challenger by force, return after its golden rows were answered, and find all as it was."""
    recipe = RECIPES / "boston_linear_tiny.yaml"
    first = run(recipe, cwd=tmp_path)
    assert first["model"]["aliases"] == ["challenger", "champion"]
    second = run(recipe, "--set", "finetune.epochs=250", cwd=tmp_path)
    name = first["model"]["name"]
    assert (second["model"]["version"], second["model"]["aliases"]) == ("2", ["challenger"])
    models(tmp_path, "promote", name, "challenger", "--force", "--reason", "to come back from")
    back = models(tmp_path, "rollback", name, "--reason", "cycle")
    assert (back["champion"], back["changed"]) == ("1", True)
    verified = models(tmp_path, "verify", name)
    assert verified["faults"] == []
    assert verified["versions"] == ["1", "2"]
