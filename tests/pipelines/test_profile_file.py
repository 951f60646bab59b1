"""Profile files: every error with its file, its line, its key and the nearest right word, and the commands on them."""

import json
from pathlib import Path

import pytest
import yaml

from modelmill.errors import UserError
from pipelines.profile_file import check_resources, load
from pipelines.recipe_file import load as load_recipe
from tests.commands import modelmill

ROOT = Path(__file__).resolve().parents[2] / "pipelines"
RIGHT = """\
name: lab
store: s3://bucket/store
mlflow: http://mlflow:5000
kfp: {host: http://kfp:8888, namespace: lab}
registry: registry.example.com/ml
image_pull_secrets: [registry]
environment:
  AWS_DEFAULT_REGION: us-east-1
secrets:
  - name: keys
    keys: {AWS_ACCESS_KEY_ID: access_key}
config_maps: [{name: settings, keys: {HTTP_TIMEOUT: timeout}}]
nodes:
  standard: {cpu: "4", memory: 16Gi}
  gpu:
    device: nvidia.com/gpu
    memory: 32Gi
    shared_memory: 8Gi
    selector: {pool: gpu}
    tolerations: [{key: gpu, effect: NoSchedule}]
    time_limit: 12h
default_node: standard
"""
DIGEST = "sha256:" + "a" * 64


def _refused(folder: Path, text: str) -> str:
    path = folder / "lab.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("  gpu:", "  GPU:", "lab.yaml:15: nodes.GPU: wants a name of lower-case letters, digits and '-', 63 at most"),
        ("    device: nvidia", "    devise: nvidia", "lab.yaml:16: nodes.gpu.devise: unknown key; did you mean 'devi"),
        ("nvidia.com/gpu\n", "gpu\n", "lab.yaml:16: nodes.gpu.device: wants a resource of Kubernetes, such as nvidia."),
        ("memory: 32Gi", "memory: 32 GB", "lab.yaml:17: nodes.gpu.memory: wants bytes as Kubernetes writes them, such"),
        ("memory: 32Gi", "memory: 32", "lab.yaml:17: nodes.gpu.memory: wants a text, got 32"),
        ("memory: 8Gi", "memory: 32Gi", "lab.yaml:18: nodes.gpu.shared_memory: 32Gi is a part of memory, which is 32G"),
        ("pool: gpu", "pool: true", "lab.yaml:19: nodes.gpu.selector.pool: wants a text, got true"),
        ("pool: gpu", "pool: a b", "lab.yaml:19: nodes.gpu.selector.pool: wants the value of a label: letters, dig"),
        ("NoSchedule", "NoShedule", "nodes.gpu.tolerations.0.effect: \"NoShedule\" is not one of NoSchedule, PreferNo"),
        ("NoSchedule", "NoShedule", "did you mean 'NoSchedule'?"),
        ("{key: gpu,", "{key: gpu, operator: Equal,", "nodes.gpu.tolerations.0: toleration of 'gpu': `value` goes wi"),
        ("12h", "half a day", "lab.yaml:21: nodes.gpu.time_limit: wants a time, such as 90s, 30m, 12h or 2d, got 'h"),
        ('"4"', "four", "lab.yaml:14: nodes.standard.cpu: wants cores as Kubernetes writes them, such as '4', '0.5"),
        ('"4"', '"4", count: 2', "lab.yaml:14: nodes.standard.count: there is no `device` that this is of, such as"),
        ('"4"', '"4", retries: 99', "lab.yaml:14: nodes.standard.retries: must be less than or equal to 20, got 99"),
        ("node: standard", "node: standart", "lab.yaml:22: default_node: there is no kind of node 'standart'; did you"),
        ("default_node: standard\n", "", "lab.yaml:1: default_node: missing; kind of the stages that a recipe says n"),
        ("  standard", "  standard: {nodes: 2}\n  other", "light_node: 'standard' is 2 nodes; name a kind of one"),
        ("node: standard", "node: standard\nlight_node: lite", "lab.yaml:23: light_node: there is no kind of node"),
        ("s3://bucket/store", "gs://bucket", "lab.yaml:2: store: wants an address s3://bucket/prefix, without creden"),
        ("s3://bucket", "s3://key:Hidden1@bucket", "lab.yaml:2: store: wants an address s3://bucket/prefix, without"),
        ("http://mlflow", "http://me:Hidden1@mlflow", "lab.yaml:3: mlflow: wants an address http(s)://host, without u"),
        ("http://kfp", "http://me:Hidden1@kfp", "lab.yaml:4: kfp.host: wants an address http(s)://host, without user"),
        ("host: http://kfp:8888", "hots: http://kfp", "lab.yaml:4: kfp.hots: unknown key; did you mean 'host'?"),
        ("namespace: lab", "namespace: Lab", "lab.yaml:4: kfp.namespace: wants a name of lower-case letters"),
        ("us-east-1", "eu\n  API_TOKEN: Hidden1", "lab.yaml:9: environment.API_TOKEN: a secret does not belong here;"),
        ("us-east-1", "eu\n  AT: http://a:Hidden1@b", "lab.yaml:9: environment.AT: holds a user or a password; name i"),
        ("us-east-1", "'{{workflow.name}}'", "lab.yaml:8: environment.AWS_DEFAULT_REGION: wants a text without '{{'"),
        ("us-east-1", "eu\n  MODELMILL_STORE: s3://x", "lab.yaml:9: environment.MODELMILL_STORE: leave it out; `store"),
        ("us-east-1", "eu\n  HTTP_TIMEOUT: '3'", "lab.yaml:9: environment.HTTP_TIMEOUT: set twice: here, and at c"),
        ("{HTTP_", "{AWS_ACCESS_KEY_ID: a, HTTP_", "lab.yaml:12: config_maps.0.keys.AWS_ACCESS_KEY_ID: set twice: "),
        ("{AWS_ACCESS_KEY_ID: access_key}", "{}", "lab.yaml:11: secrets.0.keys: "),
        ("{AWS_ACCESS_KEY_ID: access_key}", "{AWS-KEY: a}", "secrets.0.keys.AWS-KEY: wants the name of an environment"),
        ("name: keys", "name: My_Keys", "lab.yaml:10: secrets.0.name: wants a name of lower-case letters, digits, '-"),
        ("image_pull_secrets", "images: {data: a:1}\nimage_pull_secrets", "images.data: wants an image with its dige"),
        ("name: lab\n", "name: lab\nname: lab\n", "lab.yaml:2: name: said twice; it stands on line 1 already"),
        ("name: lab\n", "name: lab\nversion: 2\n", "lab.yaml:2: version: 2 is not one of 1"),
        ("name: lab\n", "name: [lab\n", "lab.yaml:"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_key_and_the_nearest_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, to: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RIGHT.count(change) == 1, change
    said = _refused(tmp_path, RIGHT.replace(change, to))
    assert message in said
    assert "Hidden1" not in said


@pytest.mark.parametrize("text", ["", "- 1\n", "just a text\n", "a: !!python/object:os.system {}\n", "\x00", "a: *b\n"])
def test_a_file_that_is_no_profile_is_one_sentence(tmp_path: Path, text: str) -> None:
    assert "lab.yaml" in _refused(tmp_path, text).splitlines()[0]


def test_a_profile_may_build_on_another(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(RIGHT)
    (tmp_path / "night.yaml").write_text("extends: lab.yaml\nname: night\nnodes: {gpu: {time_limit: 2d}}\n")
    made = load(tmp_path / "night.yaml")
    assert (made.name, made.nodes["gpu"].time_limit, made.nodes["gpu"].memory) == ("night", "2d", "32Gi")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    text = "extends: {base}\nname: mine\nresources:\n  pretrain: large-gpu\n  evaluate: large-gqu\n"
    path.write_text(text.format(base=ROOT / "recipes" / "dialogue_clm_tiny.yaml"))
    (tmp_path / "lab.yaml").write_text(RIGHT)
    return path


def test_a_kind_of_node_that_a_profile_has_not_is_told_with_the_recipes_line(recipe: Path) -> None:
    wrong = [
        f"{recipe}:5: resources.evaluate: profile cluster has no kind of node 'large-gqu'; did you mean 'large-gpu'?"
    ]
    with pytest.raises(UserError) as caught:
        check_resources(load_recipe(recipe), load(ROOT / "profiles" / "cluster.yaml"), (recipe, ()))
    assert str(caught.value).splitlines() == wrong


def test_compile_and_validate_check_the_recipe_against_the_profile(recipe: Path) -> None:
    folder = recipe.parent
    for command in (["validate", "mine.yaml"], ["compile", "mine.yaml", "-o", "x.yaml"]):
        done = modelmill(*command, "--profile", "lab.yaml", cwd=folder)
        assert done.returncode == 2
        assert "mine.yaml:4: resources.pretrain: profile lab has no kind of node 'large-gpu'" in done.stderr
        assert "mine.yaml:5: resources.evaluate: profile lab has no kind of node 'large-gqu'" in done.stderr
        assert not (folder / "x.yaml").exists()
    set_right = ["--set", "resources.pretrain=gpu", "--set", "resources.evaluate=gpu"]
    done = modelmill("validate", "mine.yaml", *set_right, "--profile", "lab.yaml", "--json", cwd=folder)
    assert (done.returncode, json.loads(done.stdout)["profile"]) == (0, "lab")
    done = modelmill("compile", "mine.yaml", *set_right, "--profile", "lab.yaml", "-o", "x.yaml", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(yaml.safe_load_all((folder / "x.yaml").read_text()))) == 2


def test_the_schema_of_profiles_is_printed_and_a_profile_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = modelmill("schema", "--profile", cwd=tmp_path)
    assert json.loads(done.stdout)["title"] == "modelmill profile"
    done = modelmill(
        "compile", str(ROOT / "recipes" / "wine.yaml"), "-o", "x.yaml", "--profile", "gone.yaml", cwd=tmp_path
    )
    assert (done.returncode, "gone.yaml: there is no such profile" in done.stderr) == (2, True)
