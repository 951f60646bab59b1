from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from modelmill.errors import Interrupted, ModelmillError
from modelmill.training.checkpoint import model_tensors, random_state
from modelmill.training.data import Batch
from modelmill.training.device import prepare
from modelmill.training.loop import train
from modelmill.training.objectives import Scored
from modelmill.training.prefetch import Prefetched
from modelmill.training.trainee import Trainee
from tests import samples
from tests.modelmill.training.bench import (
    SETTINGS,
    At,
    Bench,
    batch_of,
    classify,
    equal,
    settings_of,
    spoiled,
    steady,
    validated_at,
)


@dataclass
class Steep:
    """Batches whose gradients are unlike in length, most of them longer than 1."""

    def batch(self, step: int) -> Batch:
        x_BD = torch.randn((4, 3), generator=torch.Generator().manual_seed(step)) * 5.0**step
        return Batch(tensors={"x": x_BD, "labels": torch.tensor([0, 1, 0, 1])}, rows=4, tokens=12)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_model_learns_and_says_how_it_goes(bench: Bench) -> None:
    _, figures = bench.unbroken()
    assert figures["validation_accuracy"] > 0.85
    assert (figures["steps"], figures["precision"]) == (12, "fp32")
    assert figures["tokens_per_second"] == pytest.approx(3 * figures["samples_per_second"], rel=0.01)
    assert 0 < figures["flop_utilisation"] < 1
    told = samples.figures(bench.folder / "step.jsonl")
    curve = [event for event in told if "loss" in event["values"]]
    assert [event["at"] for event in curve] == list(range(1, 13))
    assert curve[-1]["values"]["loss"] < curve[0]["values"]["loss"]
    assert max(event["values"]["lr"] for event in curve) <= 0.05
    assert validated_at(bench) == [4, 8, 12]


def test_the_weights_are_those_of_a_plain_loop_written_out(bench: Bench) -> None:
    prepare(0)
    model = torch.nn.Linear(3, 2)
    plain = torch.nn.Linear(3, 2)
    plain.load_state_dict(model.state_dict())
    job = bench.job(model=model, batches=Steep(), validation=[])
    train(bench.step(), settings_of(steps=4, warmup=0.5), job)

    weights = [{"params": [plain.weight], "weight_decay": 0.01}, {"params": [plain.bias], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(weights, lr=0.05, eps=1e-6)
    # Up to 0.05 over half of the four steps, then down to 0.
    for step, factor in enumerate([1 / 3, 2 / 3, 1.0, 0.5]):
        for group in adamw.param_groups:
            group["lr"] = 0.05 * factor
        batch = Steep().batch(step)
        torch.nn.functional.cross_entropy(plain(batch.tensors["x"]), batch.tensors["labels"]).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad()
    torch.testing.assert_close(model.weight, plain.weight)
    torch.testing.assert_close(model.bias, plain.bias)


def test_a_training_that_ends_in_time_uploads_no_checkpoint(bench: Bench) -> None:
    bench.unbroken()
    assert not bench.job().checkpoints.steps()


def test_two_trainings_give_the_same_bits(tmp_path: Path) -> None:
    (one, first), (other, second) = (Bench(tmp_path / name).unbroken() for name in ("one", "two"))
    assert equal(one, other)
    assert steady(first) == steady(second)


# Calls of the objective: steps 1 to 4, validation batches 5 and 6, steps 5 to 8 as calls 7 to 10, and so on.
@pytest.mark.parametrize("call", [1, 3, 4, 5, 6, 7, 12, 16, 17, 18])
def test_a_stopped_training_goes_on_to_the_same_bits(call: int, tmp_path: Path) -> None:
    expected, figures = Bench(tmp_path / "unbroken").unbroken()
    bench = Bench(tmp_path / "stopped")
    step = bench.step()

    def stop() -> None:
        step.stop_signal = 15

    with pytest.raises(Interrupted, match="stopped by SIGTERM; run again to go on"):
        train(step, SETTINGS, bench.job(At(call, stop)))
    assert len(bench.job().checkpoints.steps()) == 1
    resumed = bench.job()
    torch.manual_seed(77)
    found = train(bench.step(), SETTINGS, resumed)
    assert equal(model_tensors(resumed.model), expected)
    assert steady(found) == steady(figures)


def test_the_best_weights_so_far_survive_a_stop(tmp_path: Path) -> None:
    worse_and_worse = [batch_of(100, flipped=True)]
    whole, bench = Bench(tmp_path / "unbroken"), Bench(tmp_path / "stopped")
    expected = whole.job(validation=worse_and_worse)
    figures = train(whole.step(), SETTINGS, expected)
    step = bench.step()

    def stop() -> None:
        step.stop_signal = 15

    with pytest.raises(Interrupted):
        train(step, SETTINGS, bench.job(At(12, stop), validation=worse_and_worse))
    resumed = bench.job(validation=worse_and_worse)
    found = train(bench.step(), SETTINGS, resumed)
    assert steady(found) == steady(figures)
    assert found["kept_step"] == 4
    assert equal(model_tensors(resumed.model), model_tensors(expected.model))
    assert validated_at(bench) == [4, 8, 12]


@pytest.mark.parametrize("call", [2, 5, 7, 9, 18])
def test_a_killed_training_goes_on_from_its_last_checkpoint_to_the_same_bits(call: int, tmp_path: Path) -> None:
    settings = settings_of(checkpoint_steps=1)
    expected, _ = Bench(tmp_path / "unbroken").unbroken(settings)
    bench = Bench(tmp_path / "killed")

    def die() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        train(bench.step(), settings, bench.job(At(call, die)))
    counted = At(1000, die)
    resumed = bench.job(counted)
    train(bench.step(), settings, resumed)
    assert equal(model_tensors(resumed.model), expected)
    assert counted.calls < 18
    assert validated_at(bench) == [4, 8, 12]


def test_a_training_stopped_before_its_first_step_begins_anew(bench: Bench) -> None:
    step = bench.step()
    step.stop_signal = 2
    with pytest.raises(Interrupted, match="SIGINT"):
        train(step, SETTINGS, bench.job())
    expected, _ = Bench(bench.folder / "unbroken").unbroken()
    assert equal(bench.unbroken()[0], expected)


@pytest.mark.parametrize("keep_best", ["accuracy", None])
def test_the_weights_with_the_best_validation_are_kept_where_they_are_wanted(
    keep_best: str | None, bench: Bench
) -> None:
    job = bench.job(validation=[batch_of(100, flipped=True)])
    figures = train(bench.step(), settings_of(keep_best=keep_best), job)
    accuracies = {
        event["at"]: event["values"]["validation_accuracy"]
        for event in samples.figures(bench.folder / "step.jsonl")
        if "validation_accuracy" in event["values"]
    }
    kept = max(accuracies, key=lambda at: accuracies[at]) if keep_best else 12
    assert accuracies[4] > accuracies[12]
    assert figures["validation_accuracy"] == accuracies[kept]
    assert figures.get("kept_step") == (kept if keep_best else None)
    scored = classify(job.model, batch_of(100, flipped=True))
    assert float(scored.loss.detach()) / 16 == pytest.approx(figures["validation_loss"], rel=1e-5)


def test_a_loss_that_is_no_number_fails_with_the_step_and_the_way_out(bench: Bench) -> None:
    def diverge(model: Any, batch: Batch) -> Scored:
        scored = classify(model, batch)
        return replace(scored, loss=scored.loss * float("nan"))

    with pytest.raises(ModelmillError, match=r"train: the loss is nan at step 1 of 12; lower lr \(0.05\)"):
        train(bench.step(), SETTINGS, bench.job(diverge))


def test_a_training_without_validation_rows_ends_with_its_last_weights(bench: Bench) -> None:
    figures = train(bench.step(), SETTINGS, bench.job(validation=[]))
    assert not [name for name in figures if name.startswith("validation")]


def test_measuring_the_precision_leaves_no_trace(bench: Bench) -> None:
    job = bench.job()
    batches = Prefetched(batches=job.batches, ahead=0, end=0, pin=False)
    trainee = Trainee.of(job, SETTINGS, batches)
    trainee.resume_or_start()
    before = {name: tensor.clone() for name, tensor in model_tensors(job.model).items()}
    chance = random_state()["cpu"]
    trainee.rehearsal.run("fp32", 0)
    batches.close()
    assert equal(model_tensors(job.model), before)
    assert torch.equal(random_state()["cpu"], chance)
    assert all(weight.grad is None for weight in job.model.parameters())
    assert not trainee.progress.optimizer.state


def test_a_resumed_training_keeps_the_precision_that_was_chosen(bench: Bench) -> None:
    step = bench.step()

    def stop() -> None:
        step.stop_signal = 15

    settings = settings_of(precision="auto")
    with pytest.raises(Interrupted):
        train(step, settings, bench.job(At(9, stop)))
    found = bench.job().checkpoints.newest()
    assert found is not None
    again = bench.job()
    figures = train(bench.step(), settings, again)
    assert figures["precision"] == found.state["precision"]


SWITCHES = st.fixed_dictionaries(
    {
        "optimizer": st.sampled_from(
            ["adamw", "sgd", {"name": "sgd", "nesterov": True}, "rmsprop", "adadelta", "adafactor"]
        ),
        "schedule": st.sampled_from(["linear", "constant", "cosine", "warmup-stable-decay", "one-cycle"]),
        "accumulate": st.sampled_from([1, 2]),
        "micro_rows": st.sampled_from([None, 5]),
        "clip": st.sampled_from([None, 0.5]),
        "l1": st.sampled_from([0.0, 0.01]),
        "l2": st.sampled_from([0.0, 0.01]),
        "ema": st.sampled_from([None, 0.8]),
        "patience": st.sampled_from([None, 1]),
        "best": st.sampled_from([None, "last", "loss"]),
        "on_spike": st.sampled_from(["stop", "skip", "roll_back"]),
        "checkpoint_steps": st.sampled_from([2, 5]),
    }
)


@hypothesis_settings(max_examples=12, deadline=None)
@given(switches=SWITCHES, bad=st.integers(1, 40), call=st.integers(1, 40), killed=st.booleans())
def test_whatever_is_switched_on_a_broken_training_ends_with_the_same_bits(
    switches: dict[str, Any], bad: int, call: int, killed: bool
) -> None:
    told = settings_of(**switches)

    @dataclass
    class Batches:
        """One batch has no number in it, where that does not end the training."""

        def batch(self, step: int) -> Batch:
            made = batch_of(step)
            return spoiled(made) if step == bad and switches["on_spike"] != "stop" else made

    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        whole, bench = Bench(Path(one)), Bench(Path(other))
        expected = whole.job(batches=Batches())
        figures = train(whole.step(), told, expected)
        step = bench.step()

        def end() -> None:
            if killed:
                raise MemoryError
            step.stop_signal = 15

        breaking = At(call, end)
        with suppress(MemoryError, Interrupted):
            train(step, told, bench.job(breaking, batches=Batches()))
        torch.manual_seed(77)
        resumed = bench.job(batches=Batches())
        found = train(bench.step(), told, resumed)
        assert equal(model_tensors(resumed.model), model_tensors(expected.model))
        assert steady(found) == steady(figures)
