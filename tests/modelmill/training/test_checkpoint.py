import json
from pathlib import Path

import pytest
import torch

from modelmill.errors import ModelmillError
from modelmill.models import text
from modelmill.store import Store, open_store
from modelmill.training.checkpoint import (
    Checkpoints,
    load_model_tensors,
    model_tensors,
    random_state,
    set_random_state,
)
from tests import samples

KEY = "a" * 64
TENSORS = {"model": {"w": torch.arange(6.0).reshape(2, 3)}, "random": {"cpu": torch.arange(9, dtype=torch.uint8)}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def checkpoints(store: Store, tmp_path: Path) -> Checkpoints:
    return Checkpoints(store=store, run_key=KEY, scratch=tmp_path)


def test_what_was_saved_comes_back(checkpoints: Checkpoints) -> None:
    assert checkpoints.newest() is None
    checkpoints.save(7, {"precision": "fp32", "best": {"loss": 0.1}}, {**TENSORS, "best": {}})
    found = checkpoints.newest()
    assert found is not None
    assert (found.step, found.state) == (7, {"precision": "fp32", "best": {"loss": 0.1}})
    assert found.tensors.keys() == {"model", "random"}
    for part, named in TENSORS.items():
        for name, tensor in named.items():
            assert torch.equal(found.tensors[part][name], tensor)
            assert found.tensors[part][name].dtype == tensor.dtype
    assert not list(checkpoints.scratch.glob("*.safetensors"))


def test_the_newest_is_the_one_with_the_most_steps(checkpoints: Checkpoints) -> None:
    for step in (9, 100, 20):
        checkpoints.save(step, {"at": step}, TENSORS)
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 100


def test_another_training_is_not_gone_on_with(store: Store, tmp_path: Path, checkpoints: Checkpoints) -> None:
    checkpoints.save(9, {}, TENSORS)
    assert Checkpoints(store=store, run_key="b" * 64, scratch=tmp_path).newest() is None


def test_a_step_that_is_saved_already_stays_as_it_is(checkpoints: Checkpoints) -> None:
    checkpoints.save(9, {"precision": "fp32"}, TENSORS)
    checkpoints.save(9, {"precision": "bf16"}, TENSORS)
    found = checkpoints.newest()
    assert found is not None
    assert found.state == {"precision": "fp32"}


def test_files_without_their_manifest_do_not_count(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(5, {"at": 5}, TENSORS)
    checkpoints.save(6, {"at": 6}, {"model": {"w": torch.ones(3)}})
    (tmp_path / "store" / "checkpoints" / KEY / "step-00000006.json").unlink()
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 5


@pytest.mark.parametrize("harm", ["blob", "state", "not json", "other keys"])
def test_a_damaged_checkpoint_is_named_and_an_older_one_taken(
    harm: str, checkpoints: Checkpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.save(5, {"at": 5}, TENSORS)
    checkpoints.save(6, {"at": 6}, {"model": {"w": torch.ones(3)}})
    path = tmp_path / "store" / "checkpoints" / KEY / "step-00000006.json"
    manifest = json.loads(path.read_text())
    path.chmod(0o644)
    if harm == "blob":
        blob = tmp_path / "store" / "blobs" / manifest["files"]["model"]["sha256"]
        blob.chmod(0o644)
        blob.write_bytes(blob.read_bytes()[:-1] + b"\1")
    elif harm == "state":
        path.write_text(json.dumps({**manifest, "state": {"at": 7}}))
    else:
        path.write_text("{" if harm == "not json" else "{}")
    found = checkpoints.newest()
    assert found is not None
    assert found.state == {"at": 5}
    assert "step-00000006.json: cannot be resumed from" in caplog.text


def test_a_models_tensors_are_put_back_in_place_with_tied_ones_once() -> None:
    torch.manual_seed(0)
    model = text.masked_lm(samples.tiny_config())
    kept = {name: tensor.clone() for name, tensor in model_tensors(model).items()}
    assert "cls.predictions.decoder.weight" not in kept
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    load_model_tensors(model, kept)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model_tensors(model).items())
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_tensors_of_another_model_are_refused() -> None:
    model = text.masked_lm(samples.tiny_config())
    kept = model_tensors(model)
    del kept["cls.predictions.bias"]
    with pytest.raises(ModelmillError, match=r"1 weights .* do not pair up, as 'cls\.predictions\.bias'"):
        load_model_tensors(model, kept)


def test_tensors_of_another_shape_or_type_are_refused_before_any_is_put_back() -> None:
    model = torch.nn.Linear(2, 2)
    before = model.weight.detach().clone()
    for bias, message in (
        (torch.zeros(1), r"'bias' is \(1,\) torch.float32 in the checkpoint and \(2,\) torch.float32 in the model"),
        (torch.zeros(2, dtype=torch.float64), r"'bias' is \(2,\) torch.float64 in the checkpoint"),
    ):
        with pytest.raises(ModelmillError, match=message):
            load_model_tensors(model, {"weight": torch.zeros(2, 2), "bias": bias})
    assert torch.equal(model.weight.detach(), before)


def test_the_newest_checkpoints_are_kept_and_those_of_a_way_not_taken_dropped(checkpoints: Checkpoints) -> None:
    for step in (3, 6, 9, 12):
        checkpoints.save(step, {"at": step}, {"model": {"w": torch.full((2,), float(step))}})
    checkpoints.keep(2, also=3)
    assert checkpoints.steps() == [12, 9, 3]
    checkpoints.drop_after(9)
    assert checkpoints.steps() == [9, 3]
    assert len(list(checkpoints.store.keys("blobs/"))) == 2
    assert checkpoints.load(9).state == {"at": 9}


def test_a_part_written_under_a_number_is_written_again_when_its_checkpoint_was_dropped(
    checkpoints: Checkpoints,
) -> None:
    best = {"best": {"w": torch.ones(2)}}
    checkpoints.save(1, {}, best, {"best": 1})
    checkpoints.drop_after(0)
    checkpoints.save(1, {}, best, {"best": 1})
    assert checkpoints.load(1).tensors["best"]["w"].tolist() == [1.0, 1.0]


def test_chance_goes_on_where_it_was() -> None:
    kept = random_state()
    first = torch.rand(3)
    set_random_state(kept)
    assert torch.equal(torch.rand(3), first)
