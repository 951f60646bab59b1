"""Submitting, against a stand-in for KFP's API server (tests/kfp_standin.py) and a real S3."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from modelmill.digest import sha256_hex
from modelmill.errors import ModelmillError, UserError
from modelmill.sources import fingerprint
from modelmill.store import open_store
from pipelines.cluster.connection import check_health
from pipelines.cluster.facts import Facts, plan_digest
from pipelines.cluster.follow import Reader, follow
from pipelines.cluster.pods import Pods
from pipelines.cluster.state import ClusterRun
from pipelines.cluster.submit import check_plan, submit
from pipelines.cluster.uploads import carried, local_uris
from tests.kfp_standin import Fault, KfpStandIn, kfp_server
from tests.kubernetes_standin import Cluster, kubernetes
from tests.pipelines.cluster import alone, connection, modelmill, profile, profile_file, recipe, stepwise

__all__ = ["alone"]
RUNS = "^POST /apis/v2beta1/runs$"


@pytest.fixture
def kfp() -> Iterator[KfpStandIn]:
    with kfp_server() as server:
        yield server


def objects(uri: str) -> dict[str, bytes]:
    """Return all that a bucket holds."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    client = boto3.client("s3")
    keys = [one["Key"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", ())]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def test_what_only_this_machine_has_is_copied_and_named_by_its_content(
    kfp: KfpStandIn, s3_uri: str, tmp_path: Path, alone: None
) -> None:
    asked = recipe(tmp_path)
    submitted = submit(connection(profile(kfp.host, s3_uri)), asked, "register")
    at = f"store/sources/{fingerprint(str(tmp_path / 'shop.csv'))}/shop.csv"
    assert objects(s3_uri)[at] == (tmp_path / "shop.csv").read_bytes()
    (version,) = kfp.versions.values()
    said = json.dumps(version.pipeline_spec)
    assert f"{s3_uri}/{at.removeprefix('store/')}" in said
    assert str(tmp_path) not in said
    run = kfp.runs[submitted.run]
    facts = Facts.read(run.description)
    assert facts is not None
    assert (run.service_account, facts.recipe, facts.recipe_digest) == ("modelmill", "shop", asked.digest)
    assert facts.nodes["finetune"] == "gpu"
    assert facts.nodes["ingest"] == "small"
    uploaded = next(one.text for one in kfp.asked if "upload_version" in one.path)
    content = uploaded.partition("\r\n\r\n")[2].rpartition("\r\n--")[0]
    assert version.name == sha256_hex(content.encode()) == submitted.version.name
    assert next(iter(yaml.safe_load_all(content)))["pipelineInfo"]["name"] == "shop"


def test_an_unchanged_pipeline_is_not_uploaded_again(kfp: KfpStandIn, s3_uri: str, tmp_path: Path, alone: None) -> None:
    way = connection(profile(kfp.host, s3_uri))
    first = submit(way, recipe(tmp_path), "register")
    second = submit(way, recipe(tmp_path), "register")
    third = submit(way, recipe(tmp_path, "finetune.lr=1e-3"), "register")
    assert [first.version.reused, second.version.reused, third.version.reused] == [False, True, False]
    assert len(kfp.pipelines) == 1
    assert len(kfp.versions) == 2
    assert len({first.run, second.run, third.run}) == 3
    assert len([key for key in objects(s3_uri) if "sources/" in key]) == 1


def test_of_two_that_submit_at_once_the_second_takes_what_the_first_made(
    kfp: KfpStandIn, s3_uri: str, tmp_path: Path, alone: None
) -> None:
    asked = recipe(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(submit, connection(profile(kfp.host, s3_uri)), asked, "register") for _ in range(4)]
        runs = [one.result() for one in made]
    assert len({one.run for one in runs}) == 4
    assert (len(kfp.pipelines), len(kfp.versions), len(kfp.experiments), len(kfp.runs)) == (1, 1, 1, 4)


@pytest.mark.parametrize("acts", [True, False], ids=["it had acted", "it had not acted"])
@pytest.mark.parametrize("what", ["/pipelines$", "/upload_version$", "/experiments$", "/runs$"])
@pytest.mark.parametrize("status", [0, 504], ids=["cut off", "gateway"])
def test_an_answer_that_is_lost_makes_nothing_twice(
    kfp: KfpStandIn, tmp_path: Path, alone: None, what: str, acts: bool, status: int
) -> None:
    kfp.faults.append(Fault(f"^POST .*{what}", 1, status=status, acts=acts))
    submit(connection(profile(kfp.host)), remote(tmp_path), "register")
    assert kfp.faults[0].times == 0
    assert (len(kfp.pipelines), len(kfp.versions), len(kfp.experiments), len(kfp.runs)) == (1, 1, 1, 1)


def remote(folder: Path) -> Any:
    """Return a recipe that names nothing of this machine."""
    return recipe(folder, "ingest.labelled.0.uri=s3://bucket/shop.csv")


def test_a_server_that_is_away_for_long_is_given_up_with_one_sentence(
    kfp: KfpStandIn, tmp_path: Path, alone: None
) -> None:
    kfp.faults.append(Fault(RUNS, 99))
    with pytest.raises(ModelmillError, match=r"run shop-[0-9a-f]{8} could not be made: .* cannot be reached"):
        submit(connection(profile(kfp.host), patience=0.2), remote(tmp_path), "register")
    assert kfp.runs == {}


def test_a_run_is_followed_through_a_minute_without_a_server(kfp: KfpStandIn, tmp_path: Path, alone: None) -> None:
    way = connection(profile(kfp.host))
    submitted = submit(way, remote(tmp_path), "register")
    told: list[str] = []
    way.on_away = told.append
    done = {"resolve": "SUCCEEDED", "ingest": "CACHED", "preprocess": "CACHED", "pretrain": "SUCCEEDED"}
    way.sleep = stepwise(
        lambda: kfp.tell(submitted.run, {"resolve": "DRIVER"}),
        lambda: kfp.tell(submitted.run, {"resolve": "SUCCEEDED", "ingest": "CACHED", "preprocess": "RUNNING"}),
        lambda: kfp.faults.append(Fault("^GET .*/runs/", 5)),
        *[lambda: None] * 4,
        lambda: kfp.tell(submitted.run, {**done, "finetune": "PENDING"}),
        lambda: kfp.tell(submitted.run, {**done, "finetune": "SUCCEEDED"}, "SUCCEEDED"),
    )
    seen: list[dict[str, str]] = []

    def watch(run: ClusterRun, _: list[str]) -> None:
        seen.append({step.name: step.state for step in run.steps if step.state != "waiting"})

    ended = follow(Reader(connection=way, run=submitted.run, pods=Pods("modelmill")), watch, every=0)
    assert ended.state == "done"
    assert len(kfp.runs) == 1
    assert {"resolve": "starting"} in seen
    assert {"resolve": "done", "ingest": "cached", "preprocess": "running"} in seen
    assert any(one.get("finetune") == "pending" for one in seen)
    assert ["cannot be reached" in one for one in told] == [True, False]
    # 10 s of a kind for 3.60 an hour, and twice 10 s of one for 0.36.
    assert ended.cost == pytest.approx(0.01 + 2 * 0.001)


def test_the_steps_are_those_of_the_pipeline_that_was_uploaded(kfp: KfpStandIn, tmp_path: Path, alone: None) -> None:
    way = connection(profile(kfp.host))
    submitted = submit(way, remote_with_comparison(tmp_path), "register")
    # The tasks' keys, and not their names, are what the server calls its nodes.
    kfp.tell(submitted.run, {"resolve": "SUCCEEDED", "finetune-2": "RUNNING"})
    run = Reader(connection=way, run=submitted.run, pods=Pods("modelmill")).read()
    assert [step.name for step in run.steps] == [
        "resolve", "ingest", "preprocess", "pretrain", "finetune", "finetune-from-scratch", "evaluate",
        "evaluate-from-scratch", "evaluate-champion", "register", "notify",
    ]  # fmt: skip
    assert {step.name for step in run.steps if step.state == "running"} == {"finetune-from-scratch"}


def remote_with_comparison(folder: Path) -> Any:
    return recipe(folder, "ingest.labelled.0.uri=s3://bucket/shop.csv", "evaluate.compare=[from_scratch]")


def test_why_a_step_waits_is_told(
    kfp: KfpStandIn, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = connection(profile(kfp.host))
    submitted = submit(way, remote(tmp_path), "register")
    kfp.tell(submitted.run, {"resolve": "SUCCEEDED", "ingest": "CACHED", "preprocess": "CACHED", "pretrain": "RUNNING"})
    with kubernetes() as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path)))
        reader = Reader(connection=way, run=submitted.run, pods=Pods("modelmill"))
        for why, wanted in WAITS:
            cluster.put("pods", pod(submitted.run, "pretrain", why))
            step = next(step for step in reader.read().steps if step.name == "pretrain")
            assert (step.state, step.cause) == ("pending", wanted)
        cluster.put("pods", pod(submitted.run, "pretrain", {"phase": "Running"}))
        says(cluster, "\x1b[2Jstep 1, loss 0.5", "s3://user:secret@host/x \x07done")
        run = reader.read()
        assert reader.lines(run) == ["step 1, loss 0.5", "s3://host/x done"]
        cluster.away = True
        assert reader.lines(run) == []
        assert reader.read().state == "running"


def says(cluster: Cluster, *lines: str) -> None:
    cluster.say("shop-pretrain", *lines)


def pod(run: str, step: str, status: dict[str, Any]) -> dict[str, Any]:
    labels = {"pipeline/runid": run, "modelmill/step": step}
    spec = {"containers": [{"name": "main", "image": "registry/image:1"}]}
    return {
        "metadata": {"name": f"shop-{step}", "labels": labels},
        "spec": spec,
        "status": {"phase": "Pending", **status},
    }


def not_scheduled(message: str) -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}


def waits_for(reason: str, message: str) -> dict[str, Any]:
    waiting = {"waiting": {"reason": reason, "message": message}}
    one = {
        "name": "main",
        "image": "registry/image:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": waiting,
    }
    return {"containerStatuses": [one]}


WAITS = [
    (
        not_scheduled(
            "0/3 nodes are available: 1 node(s) had untolerated taint {a: b}, 2 Insufficient nvidia.com/gpu."
        ),
        "unschedulable: not enough nvidia.com/gpu; nodes have a taint that its kind does not tolerate (0/3 nodes fit)",
    ),
    (
        not_scheduled("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
        "unschedulable: no node has the labels of its kind (0/3 nodes fit)",
    ),
    (
        waits_for("ImagePullBackOff", 'Back-off pulling image "registry/image:1"'),
        'image registry/image:1 cannot be pulled (Back-off pulling image "registry/image:1")',
    ),
    (
        waits_for("CreateContainerConfigError", 'secret "modelmill-s3" not found'),
        'CreateContainerConfigError: secret "modelmill-s3" not found',
    ),
]


def test_time_is_the_servers_whatever_this_machines_clock_says(kfp: KfpStandIn, tmp_path: Path, alone: None) -> None:
    kfp.skew = timedelta(hours=3)
    way = connection(profile(kfp.host))
    submitted = submit(way, remote(tmp_path), "register")
    kfp.tell(submitted.run, {"resolve": "RUNNING"})
    kfp.skew += timedelta(minutes=2)
    run = Reader(connection=way, run=submitted.run, pods=Pods("modelmill")).read()
    assert 120 <= run.seconds < 150


def test_a_recipe_that_changed_since_it_was_planned_is_not_submitted(tmp_path: Path) -> None:
    planned, made = recipe(tmp_path), profile("http://127.0.0.1:9")
    wanted = plan_digest(planned, made, "register")
    check_plan(planned, made, "register", wanted[:12])
    with pytest.raises(UserError, match="is another one by now"):
        check_plan(recipe(tmp_path, "finetune.lr=1e-3"), made, "register", wanted)
    with pytest.raises(UserError, match="wants the digest"):
        check_plan(planned, made, "register", wanted[:7])
    with pytest.raises(UserError, match="is another one by now"):
        check_plan(planned, profile("http://127.0.0.1:8"), "register", wanted)


def test_a_server_that_refuses_is_understood(kfp: KfpStandIn, alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    kfp.token = "right"
    with pytest.raises(UserError, match=r"not signed in .*KFP_TOKEN: it is not set"):
        check_health(connection(profile(kfp.host)))
    monkeypatch.setenv("KFP_TOKEN", "wrong")
    with pytest.raises(UserError, match="KFP_TOKEN: the one in it was refused") as refused:
        check_health(connection(profile(kfp.host)))
    assert "wrong" not in str(refused.value)
    monkeypatch.setenv("KFP_TOKEN", "right")
    assert check_health(connection(profile(kfp.host))).version == (2, 17, 0)
    kfp.version = "2.14.4"
    with pytest.raises(UserError, match=r"Kubeflow Pipelines 2.14.4 is too old; 2.15 or later"):
        check_health(connection(profile(kfp.host)))
    kfp.faults.append(Fault("healthz", 1, status=302))
    with pytest.raises(UserError, match=r"not signed in \(302\)"):
        check_health(connection(profile(kfp.host)))


def test_a_namespace_without_rights_is_named(kfp: KfpStandIn, tmp_path: Path, alone: None) -> None:
    kfp.namespaces = ("another",)
    with pytest.raises(UserError, match="no rights in namespace modelmill"):
        submit(connection(profile(kfp.host)), remote(tmp_path), "register")


def test_a_kind_of_node_that_the_profile_lacks_is_found_before_anything_is_sent(
    kfp: KfpStandIn, tmp_path: Path, alone: None
) -> None:
    with pytest.raises(UserError, match="has no kind of node 'gpus'; did you mean 'gpu'"):
        submit(connection(profile(kfp.host)), recipe(tmp_path, "resources.finetune=gpus"), "register")
    assert kfp.asked == []


def test_folders_packages_and_models_are_copied_whole(s3_uri: str, tmp_path: Path) -> None:
    data, model = tmp_path / "data", tmp_path / "model"
    for path, text in (
        (data / "a.csv", "review,label\nx,y\n"),
        (data / "more" / "b.csv", "review,label\nz,y\n"),
        (model / "config.json", "{}"),
        (model / "model.safetensors", "weights"),
        (model / "pytorch_model.bin", "never read"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    asked = recipe(tmp_path, f"ingest.labelled.0.uri={data}", "pretrain=null", f"finetune.base={model}")
    asked = asked.model_copy(update={"ingest": asked.ingest.model_copy(update={"corpus": []})})
    assert sorted(local_uris(asked)) == sorted([str(data), str(model)])
    store = open_store(s3_uri)
    made = carried(asked, store)
    assert local_uris(made) == []
    base, source = made.finetune.base or "", made.ingest.labelled[0].uri
    assert fingerprint(source) == fingerprint(source)
    assert [key.rpartition("/")[2] for key in store.keys(base.removeprefix(f"{s3_uri}/").rstrip("/"))] == [
        "config.json",
        "model.safetensors",
    ]
    assert sorted(key.partition("/")[2].partition("/")[2] for key in store.keys("sources") if "csv" in key) == [
        "a.csv",
        "more/b.csv",
    ]
    assert carried(asked, store, put=False) == made


def test_a_file_whose_name_no_object_can_have_is_refused(s3_uri: str, tmp_path: Path) -> None:
    (tmp_path / "übung.csv").write_text("review,label\nx,y\n")
    with pytest.raises(UserError, match="cannot be the name of an object"):
        carried(recipe(tmp_path, f"ingest.labelled.0.uri={tmp_path / 'übung.csv'}"), open_store(s3_uri))


MARKS = {
    "KFP_TOKEN": "marker-token-7f3a",
    "MODELMILL_NOTIFY": "https://hooks.example/marker-notify-7f3a",
    "HF_TOKEN": "marker-hub-7f3a",
    "MLFLOW_TRACKING_PASSWORD": "marker-mlflow-7f3a",
}


def test_no_credential_is_in_what_is_sent_kept_or_shown(
    s3_uri: str,
    tmp_path: Path,
    alone: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    s3: Any,
) -> None:
    for name, value in MARKS.items():
        monkeypatch.setenv(name, value)
    recipe(tmp_path)
    with kfp_server(token=MARKS["KFP_TOKEN"]) as kfp:
        path = profile_file(tmp_path, profile(kfp.host, s3_uri))
        code, out, err = modelmill(
            monkeypatch, capsys, ["submit", tmp_path / "shop.yaml", "--profile", path, "--detach", "--json"]
        )
        assert code == 0, err
        assert json.loads(out)["run"] in kfp.runs
        kfp.faults.append(Fault("healthz", 1, status=401))
        failed, out_failed, err_failed = modelmill(
            monkeypatch, capsys, ["submit", tmp_path / "shop.yaml", "--profile", path, "--detach"]
        )
        assert failed == 2
        sent = "".join(one.text + json.dumps(dict(one.query)) + one.path for one in kfp.asked)
        kept = b"".join(objects(s3_uri).values()).decode(errors="replace")
        for secret in [*MARKS.values(), s3.secret_key]:
            for text in (sent, kfp.stored(), kept, out + err, out_failed + err_failed):
                assert secret not in text


def test_a_submitted_run_is_followed_to_its_end_and_its_end_is_the_exit_code(
    tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kfp: KfpStandIn
) -> None:
    remote(tmp_path)
    path = profile_file(tmp_path, profile(kfp.host))
    kfp.on_start = lambda run: kfp.tell(run, {"resolve": "SUCCEEDED", "ingest": "FAILED"}, "FAILED")
    arguments = ["submit", tmp_path / "shop.yaml", "--set", "ingest.labelled.0.uri=s3://bucket/shop.csv"]
    code, out, err = modelmill(monkeypatch, capsys, [*arguments, "--profile", path, "--skip-plan", "--json"])
    told = json.loads(out)
    assert (code, told["state"]) == (1, "failed")
    assert told["error"].startswith("ingest: ")
    assert "modelmill runs resume" in err


def test_what_is_not_there_is_said_in_one_sentence(
    tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe(tmp_path)
    path = profile_file(tmp_path, profile("http://127.0.0.1:9"))
    code, _, err = modelmill(monkeypatch, capsys, ["submit", tmp_path / "shop.yaml", "--profile", path])
    assert code == 1
    assert "http://127.0.0.1:9: its health: the server cannot be reached" in err
    assert len(err.strip().splitlines()) == 1
