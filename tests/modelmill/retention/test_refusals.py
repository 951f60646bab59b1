"""What stops retention before it removes anything, each as one sentence."""

from pathlib import Path
from typing import Any

import pytest

from modelmill import lease
from modelmill.errors import ModelmillError, UserError
from modelmill.retention.run import WORK, Collector, collect, retain
from modelmill.retention.settings import RetentionSettings
from tests.modelmill.retention.graphs import Grown, keys, registered, settings
from tests.servers import free_ports

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
RUN = "c" * 64


@pytest.mark.parametrize("kept", ["datasets", "reports", "models", "made", "accepted", "checkpoints"])
def test_a_manifest_that_stays_and_cannot_be_read_stops_all_and_is_named(client: Any, grown: Grown, kept: str) -> None:
    model = registered(client, grown)
    data = grown.dataset([grown.blob()])
    told = grown.model([], data)
    model.add(grown, told, grown.evaluation([], told, data))
    grown.store.put_manifest("accepted/a-recipe/000000.json", {"sources": "", "schema": "", "before": ""})
    grown.young.add(grown.checkpoint(RUN, 1, []))
    grown.blob("of nobody")
    damaged = next(iter(grown.store.keys(f"{kept}/")))
    (Path(grown.store.uri) / damaged).write_bytes(b'{"cut')
    grown.settle()
    before = grown.bytes()
    with pytest.raises(ModelmillError, match=rf"{damaged}: was changed.*\(nothing was removed\)"):
        collect(grown.store, client, settings())
    assert {key: data for key, data in grown.bytes().items() if not key.startswith("retention/")} == before


def test_a_history_that_was_changed_stops_all(client: Any, grown: Grown) -> None:
    model = registered(client, grown)
    for _ in range(2):
        model.of.promote(model.add(grown, grown.model([], grown.dataset([]))), who="ann", force=True, reason="to see")
    (Path(grown.store.uri) / f"promotions/{model.of.registry.name}/000000.json").unlink()
    grown.settle()
    with pytest.raises(ModelmillError, match=r"lost an entry.*\(nothing was removed\)"):
        collect(grown.store, client, settings())


def test_another_mlflow_than_the_stores_is_refused_unless_its_models_were_deleted_on_purpose(
    client: Any, grown: Grown
) -> None:
    model = registered(client, grown)
    name = model.of.registry.name
    model.of.promote(model.add(grown, grown.model([], grown.dataset([]))), who="ann", force=True, reason="to see")
    client.delete_registered_model(name)
    grown.settle()
    before = grown.bytes()
    with pytest.raises(
        UserError, match=rf"has no version of, as {name}: correct MLFLOW_TRACKING_URI.*--deleted {name}"
    ):
        collect(grown.store, client, settings())
    assert grown.bytes().items() >= before.items()
    assert collect(grown.store, client, settings(deleted=(name,)))["total"]["removed"] > 0


def test_golden_rows_tell_of_models_that_an_empty_mlflow_does_not_know(client: Any, grown: Grown) -> None:
    grown.manifest("golden", {}, [])
    grown.settle()
    with pytest.raises(UserError, match="holds golden rows of registered models, and MLflow"):
        collect(grown.store, client, settings())
    assert collect(grown.store, client, settings(deleted=("*",)))["total"]["removed"] == 1


def test_an_mlflow_that_is_gone_removes_nothing(grown: Grown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:hunter2@127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MODELMILL_STORE", grown.store.uri)
    grown.blob()
    grown.settle()
    before = grown.bytes()
    with pytest.raises(ModelmillError, match=r"gives no answer.*\(nothing was removed\)") as raised:
        retain({"apply": True, "min_age": "0s", "idle": True})
    assert raised.value.exit_code == 1
    assert "hunter2" not in str(raised.value)
    assert grown.bytes().items() >= before.items()


def test_a_second_one_is_refused_while_the_first_is_at_work(client: Any, grown: Grown) -> None:
    grown.blob()
    grown.settle()
    with (
        lease.held(grown.store, WORK, lambda: None),
        pytest.raises(ModelmillError, match=r"gc: process .* removes things from this very store; wait"),
    ):
        collect(grown.store, client, settings())
    assert collect(grown.store, client, settings())["total"]["removed"] == 1


def test_one_that_was_taken_for_dead_stops_before_it_removes_more(client: Any, grown: Grown) -> None:
    grown.blob()
    grown.settle()
    another = {"holder": "another", "pid": 7, "boot": "other", "started": "1", "machine": "node-9"}
    with lease.held(grown.store, WORK, lambda: None, beat=0.05) as held:
        while not grown.store.claim(f"retention/lease/{held.number + 1:08d}.json", another):
            pass
        assert held._thread is not None
        held._thread.join(60)
        with pytest.raises(ModelmillError, match="another gc took over while this one stood still"):
            Collector(grown.store, client, settings(), lambda _what, _count: None).remove(held)
    assert len(keys(grown.store)) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"min_age": "soon"}, "--min-age: write a number and a unit of s, m, h or d"),
        ({"min_age": "12h"}, "min_age is 12h, and a step that runs now may read what is up to 1d old"),
        ({"keep_versions": 0}, "--keep-versions: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_one_sentence(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        retain(asked)


def test_a_store_that_is_not_there_and_a_bucket_without_a_registry_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MODELMILL_STORE", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="there is no such store; correct MODELMILL_STORE"):
        retain({})
    monkeypatch.setenv("MODELMILL_STORE", "s3://bucket/store")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI is not set, and only the registry says"):
        retain({})


def test_ages_are_by_the_stores_clock_and_leave_room_for_clocks_that_differ() -> None:
    assert RetentionSettings(min_age="7d").min_age_on_any_clock == 7 * 86400 + 900
    assert RetentionSettings(min_age="0s", idle=True).min_age_on_any_clock == 0
