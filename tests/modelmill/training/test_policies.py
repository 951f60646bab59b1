import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelmill.errors import Interrupted, ModelmillError, UserError
from modelmill.step import Step
from modelmill.training import validation
from modelmill.training.average import Average
from modelmill.training.checkpoint import model_tensors
from modelmill.training.data import Batch
from modelmill.training.loop import train
from modelmill.training.objectives import Scored
from modelmill.training.settings import Training
from modelmill.training.spikes import Watch
from tests.modelmill.training.bench import (
    At,
    Bench,
    Numbers,
    batch_of,
    classify,
    equal,
    settings_of,
    spoiled,
    validated_at,
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@dataclass
class Bad:
    """Batches of which some have no number in them."""

    at: tuple[int, ...]

    def batch(self, step: int) -> Batch:
        return spoiled(batch_of(step)) if step in self.at else batch_of(step)


@dataclass
class Without:
    """The good batches alone."""

    left_out: tuple[int, ...]

    def batch(self, step: int) -> Batch:
        good = [number for number in range(100) if number not in self.left_out]
        return batch_of(good[step])


def spikes(bench: Bench) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in (bench.folder / "step.jsonl").read_text().splitlines()]
    return [event for event in events if event["kind"] == "spike"]


def test_a_batch_without_a_number_is_left_out_where_the_recipe_says_so(bench: Bench) -> None:
    job = bench.job(batches=Bad((2, 7)))
    figures = train(bench.step(), settings_of(on_spike="skip"), job)
    assert figures["spikes"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in model_tensors(job.model).values())
    assert [(event["at"], event["loss"], event["done"]) for event in spikes(bench)] == [
        (3, "nan", "skipped the update"),
        (8, "nan", "skipped the update"),
    ]
    assert spikes(bench)[0]["reason"] == "the loss is nan"


def test_rolled_back_weights_are_those_of_a_training_that_never_saw_the_batches_since_the_checkpoint(
    tmp_path: Path,
) -> None:
    bench, other = Bench(tmp_path / "bad"), Bench(tmp_path / "good")
    rolled = bench.job(batches=Bad((6,)))
    figures = train(bench.step(), settings_of(on_spike="roll_back", checkpoint_steps=4), rolled)
    assert (figures["spikes"], figures["steps"]) == (1, 12)
    (event,) = spikes(bench)
    assert event["done"] == "rolled back to step 4 and passes over 3 batches"
    assert event["at"] == 7
    good = other.job(batches=Without((4, 5, 6)))
    train(other.step(), settings_of(), good)
    assert equal(model_tensors(rolled.model), model_tensors(good.model))


def test_checkpoints_on_the_way_to_a_spike_are_forgotten(bench: Bench) -> None:
    settings = settings_of(on_spike="roll_back", checkpoint_steps=4, keep_best=None)
    # The first run saves the state after step 6, and the second one goes back to that after step 4.
    for calls, saved in ((6, [6, 4]), (1, [4])):
        step = bench.step()

        def stop(step: Step = step) -> None:
            step.stop_signal = 15

        with pytest.raises(Interrupted):
            train(step, settings, bench.job(At(calls, stop), batches=Bad((6,)), validation=[]))
        assert bench.job().checkpoints.steps() == saved


@pytest.mark.parametrize(("policy", "told"), [("skip", {}), ("roll_back", {"checkpoint_steps": 2})])
def test_training_fails_after_so_many_spikes(policy: str, told: dict[str, Any], bench: Bench) -> None:
    settings = settings_of(on_spike=policy, max_spikes=3, **told)
    with pytest.raises(ModelmillError, match=r"the loss is nan, after max_spikes \(3\) others at step"):
        train(bench.step(), settings, bench.job(batches=Bad(tuple(range(5, 100)))))
    assert len(spikes(bench)) == 3


def test_a_leap_of_the_loss_stops_training_where_the_recipe_says_how_far(bench: Bench) -> None:
    @dataclass
    class Leap:
        def batch(self, step: int) -> Batch:
            batch = batch_of(step, flipped=step == 30)
            return replace(batch, tensors={**batch.tensors, "x": batch.tensors["x"] * (50 if step == 30 else 1)})

    told: dict[str, Any] = {"steps": 40, "keep_best": None, "spike": 3.0}
    with pytest.raises(ModelmillError, match=r"the loss is \S+, \S+ times its running mean of \S+ at step 31 of 40"):
        train(bench.step(), settings_of(**told), bench.job(batches=Leap(), validation=[]))
    figures = train(bench.step(), settings_of(**told, on_spike="skip"), bench.job(batches=Leap(), validation=[]))
    assert figures["spikes"] == 1


def test_a_gradient_that_is_no_number_is_found_though_the_loss_is_one(bench: Bench) -> None:
    def steep(model: Any, batch: Batch) -> Scored:
        scored = classify(model, batch)
        # The root of 0 has an endless slope.
        return replace(scored, loss=scored.loss + (scored.loss * 0).sqrt())

    with pytest.raises(ModelmillError, match="the gradient's length is nan"):
        train(bench.step(), settings_of(on_spike="skip", max_spikes=1), bench.job(steep))


@given(losses=st.lists(st.floats(0.5, 1.0), min_size=20, max_size=200))
def test_the_running_mean_stays_among_the_losses(losses: list[float]) -> None:
    watch, told = Watch(), Training(spike=3.0)
    for loss in losses:
        assert watch.fault(loss, 1.0, told) == ""
    assert min(losses) - 1e-9 <= watch.mean <= max(losses) + 1e-9
    assert watch.fault(3.1, 1.0, told)
    assert watch.fault(1.4, 1.0, told) == ""
    assert watch.fault(float("inf"), 1.0, told) == "the loss is inf"
    assert watch.seen == len(losses) + 1


def test_training_ends_when_validations_bring_nothing_better(bench: Bench) -> None:
    job = bench.job(validation=[batch_of(100, flipped=True)])
    figures = train(bench.step(), settings_of(steps=40, patience=2), job)
    assert validated_at(bench) == [4, 8, 12]
    assert (figures["steps"], figures["ended_by"], figures["kept_step"]) == (12, "patience", 4)


def test_the_figure_that_weights_are_kept_by_is_the_recipes(bench: Bench) -> None:
    figures = train(bench.step(), settings_of(best="loss"), bench.job())
    assert figures["kept_step"] in validated_at(bench)
    last = train(bench.step(), settings_of(best="last"), bench.job())
    assert "kept_step" not in last
    with pytest.raises(UserError, match="best: 'f1' is no figure of this task's validation; it has loss, accuracy"):
        train(bench.step(), settings_of(best="f1"), bench.job())


@given(
    found=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9),
    figure=st.sampled_from(["accuracy", "loss"]),
)
def test_validations_in_vain_are_those_since_the_best(found: list[tuple[int, int]], figure: str) -> None:
    figures = [{"accuracy": float(accuracy), "loss": float(loss)} for accuracy, loss in found]
    ranks = [(each["accuracy"], -each["loss"]) if figure == "accuracy" else (-each["loss"],) for each in figures]
    assert validation.in_vain(figures, figure) == len(ranks) - 1 - ranks.index(max(ranks))


def test_training_ends_when_its_time_is_up_counted_over_all_its_runs(bench: Bench) -> None:
    settings = settings_of(steps=10**6, max_seconds=1.5)
    step = bench.step()

    def stop() -> None:
        step.stop_signal = 15

    with pytest.raises(Interrupted):
        train(step, settings, bench.job(At(60, stop)))
    before = bench.job().checkpoints.newest()
    assert before is not None
    figures = train(bench.step(), settings, bench.job())
    assert figures["ended_by"] == "max_seconds"
    assert before.step < figures["steps"] < 10**6
    assert validated_at(bench)[-1] == figures["steps"]
    assert "validation_accuracy" in figures


def test_the_average_is_that_of_the_formula_and_is_what_is_validated_and_returned(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "ema")
    averaged = bench.job()
    told: dict[str, Any] = {"steps": 5, "keep_best": None}
    figures = train(bench.step(), settings_of(**told, ema=0.4), averaged)

    # The same training, stopped after every step.
    seen: list[dict[str, torch.Tensor]] = []

    def watched(model: Any, batch: Batch) -> Scored:
        if model.training:
            seen.append({name: weight.detach().clone() for name, weight in model.named_parameters()})
        return classify(model, batch)

    other = Bench(tmp_path / "plain")
    plain = other.job(watched)
    train(other.step(), settings_of(**told), plain)
    seen.append({name: weight.detach().clone() for name, weight in plain.model.named_parameters()})
    mean = seen[0]
    for step, weights in enumerate(seen[1:]):
        decay = min(0.4, (1 + step) / (10 + step))
        mean = {name: decay * mean[name] + (1 - decay) * weights[name] for name in mean}
    for name, weight in averaged.model.named_parameters():
        torch.testing.assert_close(weight.detach(), mean[name])
    scored = [classify(averaged.model.eval(), batch) for batch in averaged.validation]
    loss = sum(float(each.loss.detach()) for each in scored) / sum(each.count for each in scored)
    assert figures["validation_loss"] == pytest.approx(loss, rel=1e-5)


def test_the_average_is_shown_only_for_a_while() -> None:
    model = torch.nn.Linear(2, 2)
    average = Average(model, 0.5)
    with torch.no_grad():
        model.weight.add_(1.0)
    own = model.weight.detach().clone()
    with average.shown():
        torch.testing.assert_close(model.weight.detach(), own - 1)
    assert torch.equal(model.weight.detach(), own)


def test_accumulated_batches_are_each_read_once(bench: Bench) -> None:
    @dataclass
    class Counted(Numbers):
        read: list[int]

        def batch(self, step: int) -> Batch:
            self.read.append(step)
            return super().batch(step)

    counted = Counted([])
    figures = train(bench.step(), settings_of(steps=4, batches=10, accumulate=3), bench.job(batches=counted))
    assert counted.read == list(range(10))
    assert figures["steps"] == 4


def test_what_the_memory_held_is_kept_over_a_stop(bench: Bench) -> None:
    sizes: list[int] = []

    def small(model: Any, batch: Batch) -> Scored:
        sizes.append(batch.rows)
        if batch.rows > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return classify(model, batch)

    step = bench.step()

    def stop(model: Any, batch: Batch) -> Scored:
        if len(sizes) > 6:
            step.stop_signal = 15
        return small(model, batch)

    with pytest.raises(Interrupted):
        train(step, settings_of(), bench.job(stop))
    assert sizes[:3] == [16, 8, 8]
    sizes.clear()
    figures = train(bench.step(), settings_of(), bench.job(small))
    assert set(sizes) == {8}
    assert figures["micro_rows"] == 8
