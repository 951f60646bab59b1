from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from transformers import PreTrainedModel

from modelmill.errors import UserError
from modelmill.models import text
from modelmill.models.architecture import Architecture
from modelmill.training import lora, strategy, text_objectives
from modelmill.training.checkpoint import model_tensors
from modelmill.training.data import Batch
from modelmill.training.loop import train
from modelmill.training.settings import Strategy
from tests.modelmill.training.bench import Bench, settings_of

# 3 layers stand between the embeddings, at depth 0, and the head, at depth 4.
FAMILIES = {"bert": "bert.encoder.layer", "modernbert": "model.layers"}


def model(family: str = "bert") -> PreTrainedModel:
    torch.manual_seed(0)
    shape = Architecture.model_validate({"family": family, "layers": 3, "width": 32, "heads": 2})
    return text.classifier(text.new_config(shape, 40, 16, 0), ["no", "yes"])


def told(value: Any) -> Strategy:
    made: Strategy = TypeAdapter(Strategy).validate_python(value)
    return made


def batch_of(seed: int) -> Batch:
    ids_BT = torch.from_numpy(np.random.default_rng(seed).integers(5, 40, (8, 10)))
    attention_BT = torch.arange(10) < torch.tensor([10, 4, 6, 10, 9, 8, 7, 3])[:, None]
    labels_B = (ids_BT[:, 0] > 20).long()
    return Batch(
        tensors={"ids": ids_BT, "attention": attention_BT, "labels": labels_B},
        rows=8,
        tokens=int(attention_BT.sum()),
    )


@dataclass
class Texts:
    def batch(self, step: int) -> Batch:
        return batch_of(step)


def changed(value: Any, folder: Path, family: str = "bert", **plan: Any) -> set[str]:
    """The names of the weights that a training changed."""
    made = model(family)
    before = {name: tensor.clone() for name, tensor in model_tensors(made).items()}
    planned = strategy.plan(made, told(value), **plan)
    before |= {name: tensor.clone() for name, tensor in model_tensors(made).items() if name not in before}
    bench = Bench(folder)
    job = bench.job(text_objectives.classification, model=made, batches=Texts(), validation=[], plan=planned)
    train(bench.step(), settings_of(keep_best=None, lr=0.01, ema=0.5), job)
    return {name for name, tensor in model_tensors(made).items() if not torch.equal(tensor, before[name])}


def weights(family: str = "bert") -> set[str]:
    return {name for name, _ in model(family).named_parameters()}


def at(depth: int, family: str = "bert") -> set[str]:
    """The weights of a depth: layers are 1 to 3."""
    stack = FAMILIES[family]
    if depth == 0:
        return {name for name in weights(family) if "embeddings." in name}
    if depth == 4:
        return weights(family).difference(*(at(lower, family) for lower in range(4)))
    return {name for name in weights(family) if name.startswith(f"{stack}.{depth - 1}.")}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("value", "depths"),
    [("head", [4]), ({"name": "last", "layers": 1}, [4, 3]), ({"name": "last", "layers": 2}, [4, 3, 2])],
)
def test_what_is_frozen_stays_as_it_was_to_the_last_bit_and_the_rest_learns(
    value: Any, depths: list[int], family: str, tmp_path: Path
) -> None:
    assert changed(value, tmp_path, family) == set[str]().union(*(at(depth, family) for depth in depths))


def test_weights_learn_by_their_names(tmp_path: Path) -> None:
    found = changed({"name": "layers", "weights": ["bert.encoder.layer.1.*.bias", "classifier.*"]}, tmp_path)
    assert found == {name for name in at(2) if name.endswith(".bias")} | {"classifier.weight", "classifier.bias"}


def test_lora_changes_its_own_matrices_and_the_head(tmp_path: Path) -> None:
    found = changed({"name": "lora", "rank": 2, "targets": ["*.query", "*.value"]}, tmp_path)
    thin = {
        f"bert.encoder.layer.{layer}.attention.self.{part}.{side}"
        for layer in range(3)
        for part in ("query", "value")
        for side in ("down_RI", "up_OR")
    }
    assert found == thin | at(4)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_matrices_answer_as_those_that_were_learned_and_transformers_opens_them(
    family: str, tmp_path: Path
) -> None:
    made = model(family)
    names = list(model_tensors(made))
    first = text.family(made).class_logits(made.eval(), *_asked(1)).detach()
    planned = strategy.plan(made, told({"name": "lora", "rank": 4, "dropout": 0.1}))
    dense = sum(isinstance(module, lora.LowRank) for module in made.modules())
    assert dense == sum(
        isinstance(module, torch.nn.Linear) for module in model(family).get_submodule(FAMILIES[family]).modules()
    )
    torch.testing.assert_close(text.family(made).class_logits(made.eval(), *_asked(1)).detach(), first)
    bench = Bench(tmp_path)
    job = bench.job(text_objectives.classification, model=made, batches=Texts(), validation=[], plan=planned)
    train(bench.step(), settings_of(keep_best=None, lr=0.05), job)
    learned = text.family(made).class_logits(made, *_asked(1)).detach()
    assert not torch.allclose(learned, first, atol=1e-2)
    lora.merge(made)
    assert list(model_tensors(made)) == names
    torch.testing.assert_close(text.family(made).class_logits(made, *_asked(1)).detach(), learned, atol=1e-5, rtol=1e-4)
    text.save(made, tmp_path / "model")
    opened = text.load_classifier(tmp_path / "model")
    torch.testing.assert_close(
        text.family(opened).class_logits(opened.eval(), *_asked(1)).detach(), learned, atol=1e-5, rtol=1e-4
    )


def _asked(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    batch = batch_of(seed)
    return batch.tensors["ids"], batch.tensors["attention"]


def test_a_layer_learns_at_a_share_of_the_rate_of_the_one_above() -> None:
    made = model()
    planned = strategy.plan(made, told("full"), layer_decay=0.5)
    names = {id(weight): name for name, weight in made.named_parameters()}
    shares = {names[id(weight)]: group.share for group in planned.groups for weight in group.weights}
    assert shares == {name: 0.5 ** (4 - depth) for depth in range(5) for name in at(depth)}


def test_with_each_epoch_one_layer_more_begins_to_learn(tmp_path: Path) -> None:
    # Twelve steps of an epoch of five: the head from 0, the third layer from 5, the second from 10.
    assert changed("full", tmp_path, thaw_steps=5) == at(4) | at(3) | at(2)
    made = model()
    planned = strategy.plan(made, told({"name": "last", "layers": 1}), thaw_steps=5)
    assert planned.thaw is not None
    for step, depths in ((0, [4]), (4, [4]), (5, [4, 3]), (10, [4, 3]), (0, [4])):
        planned.thaw(step)
        learning = {name for name, weight in made.named_parameters() if weight.requires_grad}
        assert learning == set[str]().union(*map(at, depths))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "last", "layers": 4}, "4 of the 3 layers that the model has; write less, or strategy: full"),
        (
            {"name": "layers", "weights": ["classifier.*", "encoder.*"]},
            r"'encoder\.\*' is the name of none of \d+ weights",
        ),
        ({"name": "lora", "targets": ["*.q"]}, r"\*\.q is the name of no dense layer under bert\.encoder\.layer"),
    ],
)
def test_what_the_model_has_not_is_told_with_what_it_has(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        strategy.plan(model(), told(value))
    with pytest.raises(UserError, match="this model has no stack of layers"):
        strategy.plan(torch.nn.Linear(2, 2), told("head"))
