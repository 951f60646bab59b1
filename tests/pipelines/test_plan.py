"""`modelmill plan`: what it foretells is what the run then does, it writes nothing, and it refuses what cannot fit."""

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill.errors import ModelmillError
from modelmill.profile import NodeKind
from modelmill.training.estimate import estimate
from modelmill.training.outline import Estimate, Outline
from pipelines import cli
from pipelines.plan import make
from pipelines.plan.memory import Setting, least_shards, limit, memory, most_rows
from tests.commands import modelmill
from tests.pipelines.test_run import RECIPES, cached, run, small_recipe

PROFILE = Path(__file__).resolve().parents[2] / "pipelines" / "profiles" / "cluster.yaml"
LARGE = """\
name: large
task: causal-lm
ingest: {corpus: [{uri: corpus.txt, format: text}]}
preprocess: {max_tokens: 1024, tokenizer: {kind: bpe, vocabulary: 32000}}
pretrain:
  objective: causal-lm
  model: {family: llama, layers: 7, width: 4096, heads: 32}
  steps: 10000
  batch_rows: 64
register: {name: large}
resources: {pretrain: gpu}
"""


@cache
def sketched(outline: str) -> Estimate | str:
    try:
        return estimate(Outline.model_validate_json(outline))
    except ModelmillError as error:
        return str(error)


def asked(recipe: Path, *arguments: str, cwd: Path) -> tuple[int, str, str]:
    """Run the command in this process, which loads torch once and sketches what it has sketched before no more."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr("sys.argv", ["modelmill", "plan", str(recipe), *arguments])
        patch.setattr(make, "estimates", lambda outlines: [sketched(one.model_dump_json()) for one in outlines])
        with pytest.raises(SystemExit) as end:
            cli.main()
    return int(str(end.value.code)), out.getvalue(), err.getvalue()


def plan(recipe: Path, *arguments: str, cwd: Path, code: int = 0) -> dict[str, Any]:
    found, out, err = asked(recipe, "--json", *arguments, cwd=cwd)
    assert found == code, f"{out}\n{err}"
    answer: dict[str, Any] = json.loads(out)
    return answer


def states(answer: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in answer["steps"]}


def content(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything under a folder, with sizes and times."""
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in sorted(folder.rglob("*"))}


def agrees(foretold: dict[str, str], result: dict[str, Any]) -> None:
    """Check that a run did as was foretold; a step that may be cached may be either."""
    hits = cached(result)
    for step in result["steps"]:
        name = step["name"]
        assert foretold[name] == "perhaps" or (foretold[name] == "cached") == (name in hits), name


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the small recipe was run once, after it was planned."""
    folder = tmp_path_factory.mktemp("used")
    recipe = small_recipe(folder)
    before = content(folder)
    foretold = plan(recipe, cwd=folder)
    assert content(folder) == before
    assert set(states(foretold).values()) == {"runs"}
    agrees(states(foretold), run(recipe, cwd=folder))
    return folder


def test_a_second_run_is_foretold_exactly_and_nothing_is_written(used: Path) -> None:
    recipe, before = used / "small.yaml", content(used)
    done = modelmill("plan", str(recipe), "--json", cwd=used)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer == plan(recipe, cwd=used)
    assert content(used) == before
    foretold = states(answer)
    assert {name for name, state in foretold.items() if state == "cached"} == {
        "ingest", "preprocess", "pretrain", "finetune", "evaluate"
    }  # fmt: skip
    assert "perhaps" not in foretold.values()
    assert [one["cached"] for one in answer["trainings"]] == [True, True]
    agrees(foretold, run(recipe, cwd=used))


@pytest.mark.parametrize(
    ("setting", "runs", "perhaps"),
    [
        pytest.param("finetune.lr=1e-3", {"finetune"}, {"evaluate"}, marks=pytest.mark.slow),
        ("evaluate.must_beat=[tfidf]", {"evaluate"}, set()),
        pytest.param("preprocess.max_tokens=12", {"pretrain", "finetune"}, {"evaluate"}, marks=pytest.mark.slow),
    ],
)
def test_after_a_change_the_run_does_what_was_foretold(
    used: Path, setting: str, runs: set[str], perhaps: set[str]
) -> None:
    recipe = used / "small.yaml"
    answer = plan(recipe, "--set", setting, cwd=used)
    foretold = states(answer)
    assert {name for name, state in foretold.items() if state == "runs"} == {
        "resolve", "evaluate-champion", "register", *runs
    }  # fmt: skip
    assert {name for name, state in foretold.items() if state == "perhaps"} == perhaps
    key = setting.partition("=")[0].partition(".")[2]
    assert any(key in step["why"] for step in answer["steps"] if step["name"] in runs)
    agrees(foretold, run(recipe, "--set", setting, cwd=used))


def test_other_data_are_seen_and_named(used: Path) -> None:
    recipe = used / "small.yaml"
    corpus = used / "corpus.txt"
    kept, times = corpus.read_bytes(), corpus.stat()
    try:
        corpus.write_bytes(kept + b"one more film and its plot\n")
        answer = plan(recipe, "--until", "ingest", cwd=used)
    finally:
        corpus.write_bytes(kept)
        os.utime(corpus, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert states(answer) == {"resolve": "runs", "ingest": "runs"}
    assert "corpus.txt" in answer["steps"][1]["why"]


def test_an_answer_whose_file_is_gone_is_no_answer(used: Path) -> None:
    """As kfp.local has it: an output artifact that lies no more where it was put."""
    recipe = used / "small.yaml"
    artifacts = list((used / ".modelmill" / "kfp").glob("*/ingest/dataset"))
    moved = [(path, path.rename(path.with_name("elsewhere"))) for path in artifacts]
    try:
        assert states(plan(recipe, "--until", "ingest", cwd=used))["ingest"] == "runs"
    finally:
        for path, away in moved:
            away.rename(path)
    assert states(plan(recipe, "--until", "ingest", cwd=used))["ingest"] == "cached"


def test_rows_are_counted_in_the_cache_or_guessed_from_the_source(used: Path, tmp_path: Path) -> None:
    here = {one["step"]: one for one in plan(used / "small.yaml", "--set", "finetune.lr=2e-3", cwd=used)["trainings"]}
    assert here["finetune"]["rows_basis"] == "of the dataset in the cache"
    new = {one["step"]: one for one in plan(small_recipe(tmp_path), cwd=tmp_path)["trainings"]}
    assert new["finetune"]["rows_basis"] == "about, by the size of the sources"
    assert new["finetune"]["rows"] == pytest.approx(here["finetune"]["rows"], rel=0.15)
    assert new["pretrain"]["rows"] == here["pretrain"]["rows"] == 30 * 8
    assert here["finetune"]["hours"] is not None
    assert "as the last run here" in here["finetune"]["time_basis"]
    assert new["finetune"]["hours"] is None


def test_on_a_profile_hours_and_price_are_told_and_the_cache_is_not_guessed(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    recipe.write_text(recipe.read_text() + "resources: {pretrain: large-gpu, finetune: gpu}\n")
    answer = plan(recipe, "--profile", str(PROFILE), cwd=tmp_path)
    assert states(answer)["pretrain"] == "asks"
    pretrain, finetune = answer["trainings"]
    assert (pretrain["node"], pretrain["devices"], finetune["devices"]) == ("large-gpu", 8, 1)
    seconds = pretrain["flops"] / (8 * 989e12 * 0.4)
    assert pretrain["hours"] == pytest.approx(seconds / 3600)
    assert pretrain["price"] == pytest.approx(seconds / 3600 * 40)
    assert answer["price"] == pytest.approx(pretrain["price"] + finetune["price"])
    assert (answer["currency"], answer["fits"]) == ("USD", True)


def test_what_cannot_fit_is_refused_with_what_would(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("a film\n")
    recipe = tmp_path / "large.yaml"
    recipe.write_text(LARGE)
    answer = plan(recipe, "--profile", str(PROFILE), cwd=tmp_path, code=2)
    (training,) = answer["trainings"]
    # 1.6 billion weights, each with its gradient and two numbers of AdamW: 16 bytes a weight, and 24 GiB are there.
    assert training["parameters"] == pytest.approx(1.6e9, rel=0.05)
    held = sum(training["memory"][part] for part in ("weights", "gradients", "optimizer"))
    assert held == pytest.approx(16 * training["parameters"], rel=0.01)
    assert (training["fits"], answer["fits"]) == (False, False)
    assert "the node kind large-gpu" in training["would_fit"]
    assert any(way.startswith("shard: true over ") for way in training["would_fit"])
    ended, _, said = asked(recipe, "--profile", str(PROFILE), cwd=tmp_path)
    assert ended == 2
    assert "pretrain: needs " in said
    assert " too little; what would fit: " in said
    moved = plan(recipe, "--profile", str(PROFILE), "--set", "resources.pretrain=large-gpu", cwd=tmp_path)
    assert moved["fits"]


def test_a_batch_that_is_too_large_goes_on_in_pieces_and_one_that_may_not_is_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("a film\n")
    recipe = tmp_path / "large.yaml"
    recipe.write_text(LARGE)
    told = ["--profile", str(PROFILE), "--set", "resources.pretrain=large-gpu", "--set", "pretrain.batch_rows=4096"]
    (training,) = plan(recipe, *told, cwd=tmp_path)["trainings"]
    assert training["rows_at_once"] < 512
    assert "its gradients" in training["note"] or "gradients add up" in training["note"]
    (sharded,) = plan(recipe, *told, "--set", "pretrain.shard=true", cwd=tmp_path, code=2)["trainings"]
    assert any(way.startswith("micro_rows: ") for way in sharded["would_fit"])
    way = next(way for way in sharded["would_fit"] if way.startswith("micro_rows: "))
    lower = ["--set", "pretrain.shard=true", "--set", f"pretrain.{way.replace(': ', '=')}"]
    assert plan(recipe, *told, *lower, cwd=tmp_path)["fits"]


def test_the_digest_changes_with_recipe_and_profile_and_with_nothing_else(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    first = plan(recipe, cwd=tmp_path)["digest"]
    (tmp_path / "corpus.txt").write_text("other text\n")
    assert plan(recipe, cwd=tmp_path)["digest"] == first
    assert plan(recipe, "--set", "finetune.lr=1e-5", cwd=tmp_path)["digest"] != first
    assert plan(recipe, "--profile", str(PROFILE), cwd=tmp_path)["digest"] != first


def test_a_base_is_told_by_its_configuration(tmp_path: Path) -> None:
    answer = plan(RECIPES / "reviews_tiny.yaml", cwd=tmp_path)
    pretrain, finetune = answer["trainings"]
    # MiniLM has 22.7 million; masked-lm puts a transform and a bias on it.
    assert pretrain["parameters"] == pytest.approx(22.7e6, rel=0.02)
    assert finetune["parameters"] == pytest.approx(22.7e6, rel=0.01)
    assert not (tmp_path / ".modelmill").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.yaml"], "nothing.yaml: there is no such recipe"),
        (["small.yaml", "--profile", "nothing.yaml"], "nothing.yaml: there is no such profile"),
        (["small.yaml", "--until", "finetun"], "did you mean 'finetune'?"),
        (
            ["small.yaml", "--profile", str(PROFILE), "--set", "resources.pretrain=large-gp"],
            "did you mean 'large-gpu'?",
        ),
    ],
)
def test_wrong_input_is_one_clear_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    small_recipe(tmp_path)
    ended, _, said = asked(Path(arguments[0]), *arguments[1:], cwd=tmp_path)
    assert (ended, message in said) == (2, True), said


sizes = st.integers(min_value=1, max_value=2**36)


@given(weights=sizes, working=sizes, more=sizes, rows=st.integers(2, 512), world=st.integers(1, 64), has=sizes)
def test_fewer_rows_and_more_shards_never_take_more(
    weights: int, working: int, more: int, rows: int, world: int, has: int
) -> None:
    found = Estimate(
        parameters=1, learning=1, weights=weights, gradients=weights, optimizer=2 * weights, average=0, teacher=0,
        largest_layer=weights // 10, flops_per_row=1.0,
        working=((rows, weights + working + more), (1, weights + working)),
    )  # fmt: skip
    setting = Setting(rows=rows, world=world, shard=False, device=True)
    fits = most_rows(found, setting, has)
    for count in {1, fits, rows} - {0}:
        at = Setting(rows=count, world=world, shard=False, device=True)
        assert (memory(found, at).total <= has) == (count <= fits)
    divided = [
        memory(found, Setting(rows=1, world=count, shard=True, device=True)).total for count in (world, 2 * world)
    ]
    assert divided[1] <= divided[0]
    shards = least_shards(found, setting, has, batch_rows=rows)
    if shards is not None:
        at = Setting(rows=max(1, min(rows, -(-rows // shards))), world=shards, shard=True, device=True)
        assert memory(found, at).total <= has


def test_the_limit_is_a_devices_memory_or_the_nodes() -> None:
    assert limit(NodeKind(memory="8Gi")) == 8 * 2**30
    assert limit(NodeKind(device="nvidia.com/gpu", device_memory="24Gi")) == 24 * 2**30
    assert limit(NodeKind(device="nvidia.com/gpu")) is None
