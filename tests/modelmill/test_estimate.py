"""What a training will take: counted without numbers, and held against torch's own counts of real steps."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from modelmill.models.architecture import (
    Architecture,
    Decoder,
    EncoderDecoder,
    ImageNetwork,
    TableNetwork,
    WordTable,
)
from modelmill.pictures.shape import PixelShape
from modelmill.training import estimate as estimating
from modelmill.training import optimizer, utilisation
from modelmill.training.estimate import estimate
from modelmill.training.outline import Outline
from modelmill.training.settings import LoRA, Training

PIXELS = PixelShape(size=32, channels=3, resize="crop", gray=False)
BERT = Architecture(layers=3, width=64, heads=4)
OUTLINES: dict[str, dict[str, Any]] = {
    "bert, masked": {"learned": "masked-lm", "shape": BERT},
    "modernbert, masked": {"learned": "masked-lm", "shape": Architecture(family="modernbert", layers=2, width=64)},
    "gpt2": {"learned": "causal-lm", "shape": Decoder(family="gpt2", layers=2, width=64)},
    "llama": {"learned": "causal-lm", "shape": Decoder(family="llama", layers=2, width=64)},
    "skip-gram": {"learned": "skip-gram", "shape": WordTable(family="word2vec")},
    "cbow": {"learned": "cbow", "shape": WordTable(family="word2vec")},
    "bert, classes": {"learned": "classes", "shape": BERT},
    "modernbert, classes": {"learned": "classes", "shape": Architecture(family="modernbert", layers=2, width=64)},
    "bert, spans": {"learned": "spans", "shape": BERT},
    "transformer": {"learned": "targets", "shape": EncoderDecoder(family="transformer", layers=2, width=64)},
    "t5": {"learned": "targets", "shape": EncoderDecoder(family="t5", layers=2, width=64)},
    "bart": {"learned": "targets", "shape": EncoderDecoder(family="bart", layers=2, width=64)},
    "lenet": {"learned": "pictures", "shape": ImageNetwork(family="lenet"), "pixels": PIXELS},
    "convnet": {"learned": "pictures", "shape": ImageNetwork(family="convnet"), "pixels": PIXELS},
    "resnet18": {"learned": "pictures", "shape": ImageNetwork(family="resnet18"), "pixels": PIXELS},
    "convnext": {"learned": "pictures", "shape": ImageNetwork(family="convnext_tiny"), "pixels": PIXELS},
    "vit": {"learned": "pictures", "shape": ImageNetwork(family="vit"), "pixels": PIXELS},
    "masked pictures": {
        "learned": "masked-autoencoder", "shape": ImageNetwork(family="vit"), "pixels": PIXELS, "hidden_share": 0.75
    },
    "simclr": {"learned": "simclr", "shape": ImageNetwork(family="resnet18"), "pixels": PIXELS},
    "mlp": {"learned": "rows", "shape": TableNetwork(family="mlp"), "features": 10},
}  # fmt: skip


def outline(name: str, **changes: Any) -> Outline:
    told = {"training": Training(), "precision": "fp32", "rows": (16, 4), "tokens": 64, "target_tokens": 64}
    return Outline(**{**told, **OUTLINES[name], **changes})


def real_step(one: Outline, rows: int) -> Iterator[Any]:
    """Yield a trial on real tensors, then what torch's profiler saw of one step of it."""
    trial = estimating._Trial.of(one)
    trial.step(rows)
    yield trial
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        trial.step(rows)
    results = seen.profiler.kineto_results
    events = sorted((event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]")
    yield max(itertools.accumulate(size for _, size in events))


@pytest.mark.parametrize("name", OUTLINES)
def test_every_kind_of_training_is_sketched_in_both_precisions(name: str) -> None:
    for precision in ("fp32", "bf16"):
        found = estimate(outline(name, precision=precision))
        (most, high), (least, low) = found.working
        assert (most, least) == (16, 4)
        assert high > low >= found.gradients * 0.9
        # A table of sines, for the places of a Transformer of 2017, does not learn.
        assert 0.95 * found.parameters < found.learning <= found.parameters
        assert found.weights >= 4 * found.parameters
        # AdamW keeps two numbers of each weight, and counts its steps.
        assert 0 <= found.optimizer - 8 * found.learning < 10_000
        assert name in ("skip-gram", "cbow") or found.flops_per_row > 2 * found.parameters / 50


# Of what torch allocates, some is no tensor (workspaces of matrix products), and some is freed a moment earlier.
@pytest.mark.parametrize("name", ["bert, masked", "llama", "bert, classes", "t5", "resnet18", "vit", "mlp"])
def test_memory_is_what_torch_allocates_in_a_real_step(name: str) -> None:
    one = outline(name, rows=(16,))
    steps = real_step(one, 16)
    trial = next(steps)
    found, peak = estimate(one), next(steps)
    assert found.parameters == sum(weight.numel() for weight in trial.made.model.parameters())
    assert found.optimizer == sum(tensor.nbytes for tensor in optimizer.state_tensors(trial.optimizer).values())
    assert found.working[0][1] == pytest.approx(peak, rel=0.15)


@pytest.mark.parametrize("name", ["bert, masked", "llama", "bart", "resnet18"])
def test_operations_are_those_that_are_counted_in_a_real_step(name: str) -> None:
    one = outline(name, rows=(8,))
    trial = estimating._Trial.of(one)
    with utilisation.counter() as counter:
        trial.gradients.compute([trial.made.batch(8)])
    assert estimate(one).flops_per_row == pytest.approx(counter.get_total_flops() / 8)


def test_a_transformer_takes_six_operations_a_weight_and_token_beside_its_attention() -> None:
    # 6 N a token, and 12 x layers x width x tokens of attention (PaLM, appendix B, arXiv:2204.02311), half of which a
    # causal mask may leave out; the table of tokens is looked up, and multiplied by at the end.
    tokens, width, layers = 256, 256, 4
    shape = Decoder(family="gpt2", layers=layers, width=width, heads=4)
    found = estimate(outline("gpt2", shape=shape, tokens=tokens, rows=(2,)))
    weights = found.parameters - tokens * width
    expected = tokens * (6 * weights + 12 * layers * width * tokens)
    assert found.flops_per_row == pytest.approx(expected, rel=0.12)


def test_layers_that_are_computed_again_are_not_kept() -> None:
    shape = Architecture(layers=6, width=64)
    kept = estimate(outline("bert, classes", shape=shape))
    again = estimate(outline("bert, classes", shape=shape, training=Training(recompute=True)))
    assert again.working[0][1] < 0.6 * kept.working[0][1]
    assert again.flops_per_row > 1.2 * kept.flops_per_row


def test_what_does_not_learn_has_no_gradient_and_no_state() -> None:
    whole = estimate(outline("bert, classes"))
    thin = estimate(outline("bert, classes", strategy=LoRA(name="lora", rank=2)))
    assert thin.learning < 0.2 * whole.learning
    assert thin.gradients < 0.2 * whole.gradients
    assert thin.optimizer < 0.2 * whole.optimizer


def test_a_running_mean_and_other_optimisers_take_what_they_keep() -> None:
    told = {"sgd": 4, "rmsprop": 4, "adadelta": 8, "adam": 8}
    for name, bytes_of_a_weight in told.items():
        training = Training.model_validate({"optimizer": name, "ema": 0.99})
        found = estimate(outline("bert, classes", training=training))
        assert found.average == 4 * found.parameters
        assert found.optimizer == pytest.approx(bytes_of_a_weight * found.parameters, rel=0.01)
    factored = estimate(outline("bert, classes", training=Training.model_validate({"optimizer": "adafactor"})))
    assert factored.optimizer < factored.parameters


def test_a_model_that_no_machine_holds_is_sketched() -> None:
    shape = Decoder(family="llama", layers=12, width=16384, heads=128, key_value_heads=8)
    found = estimate(outline("llama", shape=shape, vocabulary=128_000, tokens=128, rows=(1,)))
    assert found.parameters > 30e9
    assert found.kept > 350e9
    assert torch.zeros(1).numel() == 1
