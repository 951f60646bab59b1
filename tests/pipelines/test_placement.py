"""Every recipe on every profile: what the compiled pipeline asks of the cluster, and what it does not give away."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modelmill.images import ImageKind, image
from modelmill.profile import NodeKind, Profile, bytes_of
from pipelines.compiling import compiled as compiled_pipeline
from pipelines.recipe import Recipe
from pipelines.recipe_file import load as load_recipe
from pipelines.steps import Stage, stage_of, step_names
from tests.pipelines.profiles import PROFILES, profile

ROOT = Path(__file__).resolve().parents[2] / "pipelines"
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
NEVER_CACHED = {"resolve", "register", "notify"}
MODEL_STAGES = {"pretrain", "finetune", "evaluate"}
# What a person who submits may have in the environment, and what no compiled pipeline may hold.
MARKERS = {
    "AWS_SECRET_ACCESS_KEY": "marker-secret-key-0",
    "AWS_ACCESS_KEY_ID": "marker-access-key-1",
    "MODELMILL_NOTIFY": "https://hooks.example.org/marker-hook-2",
    "MLFLOW_TRACKING_PASSWORD": "marker-password-3",
    "KFP_TOKEN": "marker-token-4",
    "HF_TOKEN": "marker-token-5",
}


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A compiled pipeline, by the names of its steps."""

    sources: str
    """The text of profile and recipe."""
    text: str
    recipe: Recipe
    profile: Profile
    tasks: dict[str, Any]
    """Each step's task as kfp has it."""
    containers: dict[str, Any]
    pods: dict[str, Any]
    """What kfp.kubernetes says of each step's pod."""

    def environment(self, step: str) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self.containers[step]["env"]}


@pytest.fixture(scope="module", autouse=True)
def _marked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in MARKERS.items():
            patch.setenv(name, value)
        yield


@cache
def compiled(recipe: Path, where: str, *overrides: str) -> Compiled:
    of, on = load_recipe(recipe, overrides), profile(where)
    text = compiled_pipeline(of, profile=on)
    pipeline, platform = _documents(text)
    inner = pipeline["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    outer = {name: task for name, task in pipeline["root"]["dag"]["tasks"].items() if name != "exit-handler-1"}
    tasks = {task["taskInfo"]["name"]: task for task in (*inner.values(), *outer.values())}
    labels = {
        step: pipeline["components"][task["componentRef"]["name"]]["executorLabel"] for step, task in tasks.items()
    }
    executors = pipeline["deploymentSpec"]["executors"]
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return Compiled(
        sources=PROFILES[where] + recipe.read_text(),
        text=text,
        recipe=of,
        profile=on,
        tasks=tasks,
        containers={step: executors[label]["container"] for step, label in labels.items()},
        pods={step: pods[label] for step, label in labels.items()},
    )


def _documents(text: str) -> list[Any]:
    # libyaml's loader, where PyYAML has it, is ten times as fast.
    return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def wanted(made: Compiled, step: str) -> NodeKind:
    """The kind of node that a step is to have, by the words of the recipe and the profile."""
    on, stage = made.profile, stage_of(step)
    if stage in {"resolve", "register", "notify"}:
        return on.nodes[on.light_node or on.default_node]
    return on.nodes[getattr(made.recipe.resources, stage) or on.default_node]


every = pytest.mark.parametrize("where", PROFILES)


def _runs_its_steps_in_order_and_tells_of_them_last(made: Compiled) -> None:
    names = step_names(made.recipe)
    assert set(made.tasks) == {*names, "notify"}
    place = {made.tasks[name]["componentRef"]["name"].removeprefix("comp-"): names.index(name) for name in names}
    for name in names:
        before = made.tasks[name].get("dependentTasks", [])
        assert all(place[other] < names.index(name) for other in before), name
        assert before or name == "resolve"
        assert made.tasks[name]["cachingOptions"].get("enableCache", False) == (name not in NEVER_CACHED), name
    last = made.tasks["notify"]
    assert last["dependentTasks"] == ["exit-handler-1"]
    assert last["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert last["inputs"]["parameters"]["status"] == {"taskFinalStatus": {"producerTask": "exit-handler-1"}}


def _gives_every_step_its_image_command_and_resources(made: Compiled) -> None:
    for step, container in made.containers.items():
        stage, kind = stage_of(step), wanted(made, step)
        assert container["command"] == ["python3", "-m", f"components.{stage}"]
        flavour: ImageKind = "train" if stage in MODEL_STAGES else "data"
        pinned = made.profile.images.train if flavour == "train" else made.profile.images.data
        assert container["image"] == (pinned or image(flavour, made.profile.registry))
        resources = container["resources"]
        assert resources["resourceCpuRequest"] == resources["resourceCpuLimit"] == kind.cpu
        assert bytes_of(resources["resourceMemoryLimit"]) == bytes_of(kind.memory)
        assert resources["resourceMemoryRequest"] == resources["resourceMemoryLimit"]
        devices = {"resourceType": kind.device, "resourceCount": str(kind.count)} if kind.device else {}
        found = resources.get("accelerator", {})
        assert {key: found[key] for key in devices} == devices
        assert bool(found) == bool(devices)


def _places_every_pod_as_its_kind_of_node_says(made: Compiled) -> None:
    for step, pod in made.pods.items():
        kind = wanted(made, step)
        assert pod.get("nodeSelector", {}).get("labels", {}) == dict(kind.selector)
        assert pod.get("tolerations", []) == [one.model_dump(exclude_none=True) for one in kind.tolerations]
        mounts = {one["mountPath"]: one for one in pod.get("emptyDirMounts", [])}
        assert mounts.get("/dev/shm", {}).get("sizeLimit") == kind.shared_memory
        assert mounts.get("/dev/shm", {"medium": "Memory"})["medium"] == "Memory"
        assert mounts.get("/scratch", {}).get("sizeLimit") == kind.scratch
        assert made.environment(step).get("TMPDIR") == ("/scratch" if kind.scratch else None)
        assert int(pod.get("activeDeadlineSeconds", 0)) == (kind.time_limit_seconds or 0)
        labels = {"app.kubernetes.io/part-of": "modelmill", "modelmill/pipeline": made.recipe.name}
        queue = {"kueue.x-k8s.io/queue-name": kind.queue} if kind.queue else {}
        assert pod["podMetadata"]["labels"] == {**labels, "modelmill/step": step, **queue}
        pulled = [one["secretName"] for one in pod.get("imagePullSecret", [])]
        assert pulled == list(made.profile.image_pull_secrets)
        retry = made.tasks[step].get("retryPolicy", {})
        assert retry.get("maxRetryCount", 0) == kind.retries
        # Argo Workflows counts it from the first start on, work included.
        longest = (kind.retries + 1) * (kind.time_limit_seconds or 86_400)
        assert not retry or int(retry["backoffMaxDuration"].removesuffix("s")) >= longest


def _tells_every_step_its_place_and_secrets_by_name_alone(made: Compiled) -> None:
    on = made.profile
    for step, pod in made.pods.items():
        kind = wanted(made, step)
        environment = made.environment(step)
        assert NodeKind.model_validate_json(environment.pop("MODELMILL_NODE")) == kind
        environment.pop("TMPDIR", None)
        assert environment == {
            **on.environment,
            **kind.environment,
            "MODELMILL_STORE": on.store,
            "MLFLOW_TRACKING_URI": on.mlflow,
            "MLFLOW_EXPERIMENT_NAME": on.experiment,
            "MODELMILL_PROFILE": on.name,
            "MODELMILL_PIPELINE": made.recipe.name,
        }
        assert {one["name"]: one["fieldPath"] for one in pod["fieldPathAsEnv"]} == {
            "MODELMILL_RUN": "metadata.labels['pipeline/runid']",
            "MODELMILL_POD": "metadata.name",
            "MODELMILL_NAMESPACE": "metadata.namespace",
        }
        secrets = {
            (one["secretName"], pair["envVar"], pair["secretKey"], one.get("optional", False))
            for one in pod.get("secretAsEnv", [])
            for pair in one["keyToEnv"]
        }
        assert secrets == {(one.name, *pair, one.optional) for one in on.secrets for pair in one.keys.items()}
        maps = {
            (one["configMapName"], pair["envVar"], pair["configMapKey"], one.get("optional", False))
            for one in pod.get("configMapAsEnv", [])
            for pair in one["keyToEnv"]
        }
        assert maps == {(one.name, *pair, one.optional) for one in on.config_maps for pair in one.keys.items()}


def _holds_no_credential_and_no_host_that_the_profile_does_not_name(made: Compiled) -> None:
    assert not [marker for marker in MARKERS.values() if marker in made.text]
    assert "marker-" not in made.text
    hosts = re.findall(r"https?://[^/\s\"'\\]+", made.text)
    said = made.sources
    assert not [host for host in hosts if host not in said]
    assert not re.search(r"://[^/\s\"']*@", made.text)
    assert not re.search(r"(?i)readwritemany|pvcmount|persistentvolume", made.text)


@every
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_on_every_profile_what_both_say(recipe: Path, where: str) -> None:
    made = compiled(recipe, where)
    _runs_its_steps_in_order_and_tells_of_them_last(made)
    _gives_every_step_its_image_command_and_resources(made)
    _places_every_pod_as_its_kind_of_node_says(made)
    _tells_every_step_its_place_and_secrets_by_name_alone(made)
    _holds_no_credential_and_no_host_that_the_profile_does_not_name(made)


@every
def test_the_same_recipe_and_profile_compile_to_the_same_bytes(where: str) -> None:
    path = ROOT / "recipes" / "reviews_scratch.yaml"
    assert compiled(path, where).text == compiled.__wrapped__(path, where).text


def test_a_profile_with_pinned_images_leaves_no_other_name() -> None:
    made = compiled(ROOT / "recipes" / "reviews_scratch.yaml", "full")
    names = {container["image"] for container in made.containers.values()}
    assert names == {
        f"registry.example.com/ml/modelmill-{kind}" for kind in (f"data@sha256:{'d' * 64}", f"train@sha256:{'e' * 64}")
    }
    assert not re.search(r"modelmill-(data|train):", made.text)


def test_a_step_on_several_nodes_only_watches_and_its_trainjob_is_told_the_kind() -> None:
    made = compiled(ROOT / "recipes" / "reviews_scratch.yaml", "full", "resources.pretrain=cluster")
    container, pod = made.containers["pretrain"], made.pods["pretrain"]
    assert container["resources"]["resourceCpuLimit"] == "500m"
    assert "accelerator" not in container["resources"]
    assert pod["nodeSelector"]["labels"] == {"pool": "cheap"}
    assert pod["podMetadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "cheap"
    assert int(pod["activeDeadlineSeconds"]) == 2 * 86_400
    told = NodeKind.model_validate_json(made.environment("pretrain")["MODELMILL_NODE"])
    assert (told.nodes, told.devices, told.queue) == (4, 32, "gpus")
    assert made.containers["finetune"]["resources"]["resourceCpuLimit"] == "0.5"


def test_the_notification_knows_what_every_step_costs_an_hour_on_all_its_nodes() -> None:
    made = compiled(ROOT / "recipes" / "reviews_scratch.yaml", "full", "resources.pretrain=cluster")
    given_ = made.tasks["notify"]["inputs"]["parameters"]
    told = json.loads(given_["settings"]["runtimeValue"]["constant"])
    assert told["steps"] == step_names(made.recipe)
    assert told["hourly"] == {"resolve": 0.1, "register": 0.1, "pretrain": 160.0}
    assert (told["currency"], told["page"]) == ("USD", "https://kfp.example.org/pipeline")
    assert given_["began"] == {"runtimeValue": {"constant": "{{$.pipeline_job_create_time_utc}}"}}


@pytest.mark.parametrize("until", get_args(Stage))
def test_a_part_of_a_recipe_is_placed_like_the_whole(until: Stage) -> None:
    recipe = load_recipe(ROOT / "recipes" / "wine.yaml")
    text = compiled_pipeline(recipe, until, profile("cluster"))
    tasks = _documents(text)[0]["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert {task["taskInfo"]["name"] for task in tasks.values()} == set(step_names(recipe, until))


def test_without_a_profile_nothing_is_placed_and_every_output_is_one_of_the_pipelines() -> None:
    text = compiled_pipeline(load_recipe(ROOT / "recipes" / "wine.yaml"))
    (pipeline,) = _documents(text)
    outputs = pipeline["root"]["outputDefinitions"]["parameters"]
    assert {"register__verdict", "register__version", "resolve__where"} <= set(outputs)
    assert "notify" not in text


@given(st.integers(1, 10**6), st.sampled_from(["", ".5"]), st.sampled_from(["", "k", "M", "G", "T", "Ki", "Mi", "Gi"]))
def test_kfp_is_told_the_same_bytes_in_a_form_that_it_takes(whole: int, part: str, unit: str) -> None:
    from pipelines.placement import _for_kfp

    told = _for_kfp(f"{whole}{part}{unit}")
    # kfp's own check, of PipelineTask.set_memory_limit
    assert re.match(r"^[0-9]+(E|Ei|P|Pi|T|Ti|G|Gi|M|Mi|K|Ki){0,1}$", told)
    assert bytes_of(told) == bytes_of(f"{whole}{part}{unit}")
