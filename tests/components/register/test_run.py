"""Registering: decided once, promoted through the history, and the same again wherever it was cut off."""

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.register.run import Evidence, RegisterOutputs
from components.register.run import run as run_step
from components.register.settings import RegisterSettings
from modelmill.errors import ModelmillError, UserError
from modelmill.evaluation.document import Report
from modelmill.models.folder import read_files
from modelmill.registry.card import FILE as CARD_FILE
from modelmill.registry.card import description
from modelmill.registry.files import changed_files
from modelmill.registry.lineage import verify
from modelmill.registry.promotion import Promotions
from modelmill.registry.versions import CHALLENGER, CHAMPION, Registry, fetch
from modelmill.step import Step
from modelmill.store import Store, open_store
from modelmill.tracking import mlflow_client
from tests import samples
from tests.components.register.made import evidence, settings
from tests.servers import MlflowServer
from tests.way import way_to

# MLflow's own dealings with SQLAlchemy, which in other tests go on in a server.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `.modelmill` holds MLflow."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def step(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    monkeypatch.chdir(home)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MODELMILL_USER", "ann")
    return _step(tmp_path, monkeypatch)


def _step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    monkeypatch.setenv("MODELMILL_RUN", uuid.uuid4().hex)
    return samples.step_of(open_store(str(folder / "store")), folder, "register")


def run(step: Step, told: RegisterSettings, given: Evidence) -> RegisterOutputs:
    """Register in a scratch folder of its own, as each process has one."""
    folder = step.scratch / uuid.uuid4().hex
    return run_step(samples.step_of(step.store, folder, "register"), told, given, {})


@pytest.fixture
def name() -> str:
    return f"model-{uuid.uuid4().hex[:10]}"


def _promotions(name: str, store: Store) -> Promotions:
    return Promotions(registry=Registry(client=mlflow_client(), name=name), store=store)


def _report(store: Store, made: RegisterOutputs) -> Report:
    return Report.read(read_files(store, made.report)[0]["report.json"])


def test_the_first_good_version_is_champion_by_the_history(step: Step, tmp_path: Path, name: str) -> None:
    made = run(step, settings(name), evidence(step.store, tmp_path))
    assert (made.verdict, made.version) == ("promote", "1")
    of = _promotions(name, step.store)
    (entry,) = of.history.entries()
    assert (entry.action, entry.to_version, entry.who, entry.report) == ("first", "1", "ann", made.report)
    assert of.registry.aliases("1") == (CHALLENGER, CHAMPION)
    tags = of.registry.tags("1")
    told = {key: tags[f"modelmill.{key}"] for key in ("verdict", "champion_judged", "approval", "report")}
    assert told == {"verdict": "promote", "champion_judged": "none", "approval": "none", "report": made.report}
    report = _report(step.store, made)
    assert report.registered is not None
    assert report.registered.aliases == (CHALLENGER, CHAMPION)
    golden = step.store.get_addressed(tags["modelmill.golden"])
    assert len(golden["rows"]) == 8
    assert golden["rows"][0]["answer"] == [0.25, 0.75]


def test_a_version_has_its_card_among_its_files_and_a_word_on_its_page(step: Step, tmp_path: Path, name: str) -> None:
    given = evidence(step.store, tmp_path)
    made = run(step, settings(name), given)
    client = mlflow_client()
    version = client.get_model_version(name, "1")
    assert version.description == description(_report(step.store, made))
    assert version.description.startswith("Verdict: promote. Accuracy ")
    root = Path(client.get_model_version_download_uri(name, "1").removeprefix("file://"))
    kept = (root / CARD_FILE).read_text()
    assert f'load_model("models:/{name}/VERSION")' in kept
    assert "**promote**" in kept
    assert given.labelled in kept
    # What was registered is whole without it, so that a card is no change to a model.
    assert changed_files(step.store, fetch(f"models:/{name}/1", tmp_path / "fetched"), given.model) == []
    files = read_files(step.store, made.report)[0]
    assert f"models:/{name}/1" in files[CARD_FILE].decode()
    again = run(step, settings(name), given)
    assert again == made
    assert (root / CARD_FILE).read_text() == kept


def test_registering_again_changes_nothing(step: Step, tmp_path: Path, name: str) -> None:
    given = evidence(step.store, tmp_path)
    first = run(step, settings(name), given)
    of = _promotions(name, step.store)
    before = (of.history.entries(), of.registry.tags("1"))
    again = run(step, settings(name), given)
    assert again == first
    of = _promotions(name, step.store)
    assert (of.history.entries(), of.registry.tags("1")) == before


def test_a_challenger_is_judged_beside_the_champion_and_does_not_move_it(step: Step, tmp_path: Path, name: str) -> None:
    run(step, settings(name), evidence(step.store, tmp_path))
    made = run(step, settings(name), evidence(step.store, tmp_path, seed=1))
    of = _promotions(name, step.store)
    assert (made.version, of.champion()) == ("2", "1")
    assert of.registry.tags("2")["modelmill.champion_judged"] == "1"
    assert _report(step.store, made).lineage["champion_judged"] == "1"


def test_a_version_that_needs_an_approval_waits_for_it_also_as_the_first_one(
    step: Step, tmp_path: Path, name: str
) -> None:
    made = run(step, settings(name, approval="required"), evidence(step.store, tmp_path))
    of = _promotions(name, step.store)
    assert (made.verdict, of.champion()) == ("promote", None)
    with pytest.raises(UserError, match="0 approvals"):
        of.promote("1", who="ann")
    of.approve("1", who="eve")
    assert of.promote("1", who="ann").entry.approvals[0].who == "eve"


def test_an_alias_behind_the_history_is_brought_after_it_by_registering(step: Step, tmp_path: Path, name: str) -> None:
    run(step, settings(name), evidence(step.store, tmp_path))
    of = _promotions(name, step.store)
    of.registry.client.delete_registered_model_alias(name, CHAMPION)
    run(step, settings(name), evidence(step.store, tmp_path, seed=1))
    assert of.registry.alias(CHAMPION) == "1"


def test_a_version_that_was_deleted_is_made_anew_and_judged_without_it(step: Step, tmp_path: Path, name: str) -> None:
    given = evidence(step.store, tmp_path)
    run(step, settings(name), given)
    of = _promotions(name, step.store)
    of.registry.client.delete_model_version(name, "1")
    made = run(step, settings(name), given)
    assert (made.verdict, made.version) == ("promote", "2")
    of = _promotions(name, step.store)
    assert of.registry.aliases("2") == (CHALLENGER, CHAMPION)
    assert [(entry.from_version, entry.to_version) for entry in of.history.entries()] == [(None, "1"), ("1", "2")]
    assert of.registry.tags("2")["modelmill.champion_judged"] == "none"


def test_where_the_recipe_says_by_verdict_a_better_version_is_champion_but_none_that_was_taken_back(
    step: Step, tmp_path: Path, name: str
) -> None:
    told = settings(name, promote="by_verdict")
    weak = evidence(step.store, tmp_path, right=0.6)
    run(step, told, weak)
    better = replace(evidence(step.store, tmp_path, seed=1), champion=weak.report, champion_version="1")
    made = run(step, told, better)
    of = _promotions(name, step.store)
    assert (made.verdict, of.champion()) == ("promote", "2")
    assert of.registry.aliases("2") == (CHALLENGER, CHAMPION)
    assert [entry.action for entry in of.history.entries()] == ["first", "promote"]
    report = _report(step.store, made)
    assert report.registered is not None
    assert report.registered.aliases == (CHALLENGER, CHAMPION)

    # As after a cut between the champion's move and the step's end.
    assert run(step, told, better) == made
    assert len(_promotions(name, step.store).history.entries()) == 2

    of = _promotions(name, step.store)
    of.rollback(who="ann", check=lambda _: None)
    assert run(step, told, better).verdict == "promote"
    assert _promotions(name, step.store).champion() == "1"


def test_a_worse_or_equal_version_is_no_champion_by_verdict(step: Step, tmp_path: Path, name: str) -> None:
    told = settings(name, promote="by_verdict")
    first = evidence(step.store, tmp_path)
    run(step, told, first)
    for seed, right, verdict in ((1, 1.0, "undecided"), (2, 0.5, "hold")):
        given = evidence(step.store, tmp_path, seed=seed, right=right)
        assert run(step, told, replace(given, champion=first.report, champion_version="1")).verdict == verdict
    assert _promotions(name, step.store).champion() == "1"


def test_a_recipe_cannot_promote_by_verdict_and_wait_for_an_approval() -> None:
    with pytest.raises(ValueError, match="does not wait for the approval"):
        settings("x", approval="required", promote="by_verdict")


@pytest.mark.slow
@pytest.mark.parametrize("acted", [False, True], ids=["before-it-acts", "answer-lost"])
def test_mlflow_gone_at_any_request_and_back_again_leaves_one_version_promoted_once(
    mlflow_server: MlflowServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, acted: bool
) -> None:
    """A new model for each request that is cut; the same command, with the way mended, ends as it would have.

    Odd requests do not reach the server, of even ones the answer is lost.
    """
    step = _step(tmp_path, monkeypatch)
    given = evidence(step.store, tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told: list[str] = []
    with way_to(mlflow_server.uri) as (uri, way):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        for at in range(1 + acted, 200, 2):
            monkeypatch.setenv("MODELMILL_RUN", uuid.uuid4().hex)
            way.mend(at, acted=acted)
            try:
                run(step, settings(f"{name}-{at}"), given)
            except ModelmillError as error:
                told.append(str(error))
            if not way.cut:
                break
            way.mend(0, acted=acted)
            made = run(step, settings(f"{name}-{at}"), given)
            of = _promotions(f"{name}-{at}", step.store)
            assert (made.verdict, made.version) == ("promote", "1")
            assert [entry.to_version for entry in of.history.entries()] == ["1"]
            assert of.registry.aliases("1") == (CHALLENGER, CHAMPION)
            assert len(of.registry.client.search_model_versions(f"name = '{of.registry.name}'")) == 1
    assert len(told) > 10
    assert [said for said in told if "MLFLOW_TRACKING_URI" not in said] == []


def _tamper(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def test_verify_names_what_changed_and_what_is_gone(step: Step, tmp_path: Path, name: str) -> None:
    given = evidence(step.store, tmp_path)
    made = run(step, settings(name), given)
    registry = _promotions(name, step.store).registry

    def faults() -> dict[str, str]:
        walk = verify(registry, step.store, ["1"], tmp_path / "scratch")
        assert len(walk.seen) > 10
        return {fault.artifact: fault.what for fault in walk.faults}

    assert faults() == {}
    root = tmp_path / "store"
    dataset = step.store.get_addressed(given.labelled)
    shard = f"blobs/{dataset['splits']['train'][0]['sha256']}"
    weights = f"blobs/{step.store.get_addressed(given.model)['files']['model.safetensors']['sha256']}"
    page = f"blobs/{step.store.get_addressed(given.made_labelled)['report']['sha256']}"
    _tamper(root / shard)
    (root / weights).unlink()
    (root / page).unlink()
    _tamper(root / f"{made.report}.json")
    (tmp_path / "reviews.csv").write_text("text,label\nother,positive\n")
    served = fetch(f"models:/{name}/1", tmp_path / "served")
    _tamper(served / "model.safetensors")
    found = faults()
    version = f"models:/{name}/1"
    assert set(found) == {shard, weights, page, made.report, str(tmp_path / "reviews.csv"), version}
    assert "was changed: should be sha256" in found[shard]
    assert found[weights].startswith("is missing")
    assert "fingerprint was" in found[str(tmp_path / "reviews.csv")]
    assert "model.safetensors: was changed" in found[version]


def test_a_changed_file_of_a_served_model_is_named_with_the_store_and_noticed_without(
    step: Step, tmp_path: Path, name: str
) -> None:
    given = evidence(step.store, tmp_path)
    run(step, settings(name), given)
    folder = fetch(f"models:/{name}/1", tmp_path / "served")
    assert changed_files(step.store, folder, given.model) == []
    (folder / "more.bin").write_bytes(b"x")
    assert changed_files(step.store, folder, given.model) == ["more.bin: does not belong to the model"]
    (folder / "more.bin").unlink()
    facts = json.loads((folder / "modelmill.json").read_text())
    (folder / "modelmill.json").write_text(json.dumps({**facts, "labels": ["good", "bad"]}))
    assert changed_files(step.store, folder, given.model) == ["modelmill.json: was changed"]
    empty: Any = open_store(str(tmp_path / "other"))
    assert "no longer knows" in changed_files(empty, folder, given.model)[0]
