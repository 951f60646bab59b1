"""The one training loop, for every objective: it learns, validates, saves its state, and goes on where it stopped."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from modelmill.errors import ModelmillError
from modelmill.step import Step
from modelmill.training import checkpoint, optimizer, precision, utilisation
from modelmill.training.checkpoint import Checkpoints, Tensors
from modelmill.training.data import Batch, Batches
from modelmill.training.objectives import Objective, Scored

log = logging.getLogger(__name__)

# BERT's own (appendix A.2, arXiv:1810.04805): longer gradients are cut to this length.
_CLIP = 1.0
LOWER_IS_BETTER = frozenset({"loss", "mse"})
"""Validation figures of which the lower is the better."""
# Points that a curve of a figure over the steps has.
_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long and how fast to learn."""

    steps: int
    lr: float
    """Highest learning rate, reached after the warm-up."""
    warmup: float
    """Share of the steps in which the rate rises, from 0 to 1."""
    weight_decay: float
    precision: Literal["auto", "fp32", "bf16"]
    checkpoint_seconds: float
    """Time between two checkpoints."""
    validate_every: int
    """Steps between two looks at the validation rows; the last step is always followed by one."""
    keep_best: str | None
    """The validation figure by which the best weights are chosen and returned; without one the last ones are."""


@dataclass(kw_only=True)
class Job:
    """What to train: the loop knows no model and no objective."""

    what: str
    """Name on the progress bar."""
    model: torch.nn.Module
    objective: Objective
    batches: Batches
    validation: Sequence[Batch]
    checkpoints: Checkpoints
    device: torch.device


@dataclass(kw_only=True)
class _State:
    """What a checkpoint holds beside tensors; no clock in it, so that one step has one state."""

    precision: precision.Precision
    step: int = 0
    """Steps done."""
    validated: int = 0
    """The last step that was followed by validation."""
    validations: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None


@dataclass(kw_only=True)
class _Window:
    """What is summed up between two points of the curves."""

    loss: torch.Tensor | float = 0.0
    count: int = 0
    rows: int = 0
    tokens: int = 0
    waited: float = 0.0
    """Seconds spent on getting batches."""
    began: float = field(default_factory=time.perf_counter)

    def add(self, scored: Scored, batch: Batch, waited: float) -> None:
        # Stays on the device: to read it there is to wait for it.
        self.loss = self.loss + scored.loss.detach()
        self.count += scored.count
        self.rows += batch.rows
        self.tokens += batch.tokens
        self.waited += waited

    def figures(self) -> dict[str, float]:
        seconds = time.perf_counter() - self.began
        return {
            "loss": float(self.loss) / self.count,
            "samples_per_second": self.rows / seconds,
            "tokens_per_second": self.tokens / seconds,
            "data_wait_share": self.waited / seconds,
        }


def train(step: Step, settings: LoopSettings, job: Job) -> dict[str, Any]:
    """Train the job's model in place, from the newest checkpoint if there is one; return the main figures.

    Raises:
        Interrupted: the step was asked to stop; the state is saved, and the same call goes on from it.
        ModelmillError: the loss is not finite.
        UserError: the wanted precision does not run here.
    """
    loop = _Loop(step=step, settings=settings, job=job)
    loop.resume_or_start()
    loop.run()
    return loop.finish()


@dataclass(kw_only=True)
class _Loop:
    step: Step
    settings: LoopSettings
    job: Job
    state: _State = field(init=False)
    optimizer: torch.optim.AdamW = field(init=False)
    best: Tensors = field(default_factory=dict, init=False)
    window: _Window = field(default_factory=_Window, init=False)
    whole: _Window = field(default_factory=_Window, init=False)
    trained: float = field(default=0.0, init=False)
    """Seconds of training alone in this process."""
    flops_per_token: float = field(default=0.0, init=False)
    saved: float = field(default_factory=time.monotonic, init=False)

    def resume_or_start(self) -> None:
        self.job.model.to(self.job.device)
        self.optimizer = optimizer.adamw(self.job.model, self.settings.weight_decay)
        found = self.job.checkpoints.newest()
        if found is None:
            chosen, figures = precision.choose(self.settings.precision, self.job.device, self._rehearse)
            self.state = _State(precision=chosen)
            if figures:
                self.step.figures(figures)
            return
        checkpoint.load_model_tensors(self.job.model, found.tensors["model"])
        optimizer.load_state_tensors(self.optimizer, found.tensors.get("optimizer", {}))
        checkpoint.set_random_state(found.tensors["random"])
        self.best = found.tensors.get("best", {})
        self.state = _State(**found.state)
        log.info("%s: resumes after step %d of %d", self.job.what, self.state.step, self.settings.steps)

    def run(self) -> None:
        """Alternate steps and validation until all steps are done; every turn begins where a checkpoint may be."""
        state, steps = self.state, self.settings.steps
        self.job.model.train()
        self.window, self.whole = _Window(), _Window()
        while True:
            self.step.progress(self.job.what, state.step, steps, "steps")
            if self._validation_is_due():
                self._validate()
            if self.step.stopping:
                self._save()
                self.step.check_stop()
            if state.step == steps:
                return
            if time.monotonic() - self.saved >= self.settings.checkpoint_seconds:
                self._save()
            self._learn()

    def finish(self) -> dict[str, Any]:
        """Put the weights to keep into the model; return the figures of the whole training."""
        figures: dict[str, Any] = {"steps": self.settings.steps, "precision": self.state.precision}
        validation = self.state.validations[-1] if self.state.validations else {}
        if self.state.best is not None:
            checkpoint.load_model_tensors(self.job.model, self.best)
            validation = self.state.best
            figures["kept_step"] = int(validation["step"])
        figures |= {f"validation_{name}": value for name, value in validation.items() if name != "step"}
        if self.trained:
            figures["tokens_per_second"] = round(self.whole.tokens / self.trained, 1)
            figures["samples_per_second"] = round(self.whole.rows / self.trained, 2)
            figures["data_wait_share"] = round(self.whole.waited / self.trained, 4)
            done = self.flops_per_token * self.whole.tokens / self.trained
            figures["flop_utilisation"] = round(done / utilisation.peak(self.job.device, self.state.precision), 6)
        self.job.model.eval()
        return figures

    def _learn(self) -> None:
        if not self.flops_per_token:
            self._count_flops()
        began = time.perf_counter()
        batch = self.job.batches.batch(self.state.step).to(self.job.device)
        waited = time.perf_counter() - began
        factor = optimizer.rate(self.state.step, self.settings.steps, self.settings.warmup)
        optimizer.set_rate(self.optimizer, self.settings.lr * factor)
        scored = self._backward(batch, self.state.precision)
        torch.nn.utils.clip_grad_norm_(self.job.model.parameters(), _CLIP, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        self.trained += time.perf_counter() - began
        for window in (self.window, self.whole):
            window.add(scored, batch, waited)
        if self.state.step % max(1, self.settings.steps // _POINTS) == 0 or self.state.step == self.settings.steps:
            self._tell(self.settings.lr * factor)

    def _count_flops(self) -> None:
        """Count the work of a step, once: a token is as much of it in one batch as in another.

        In a rehearsal: under the counter some layers (gates, for one) add up their gradients in another order, and a
        training that was stopped would not end with the bits of one that was not.
        """
        with utilisation.counter() as counter:
            self._rehearse(self.state.precision, self.state.step)
        self.flops_per_token = counter.get_total_flops() / self.job.batches.batch(self.state.step).tokens

    def _backward(self, batch: Batch, in_precision: precision.Precision) -> Scored:
        with precision.autocast(self.job.device, in_precision):
            scored = self.job.objective(self.job.model, batch)
        (scored.loss / scored.count).backward()  # type: ignore[no-untyped-call]
        return scored

    def _tell(self, lr: float) -> None:
        figures = self.window.figures()
        if not math.isfinite(figures["loss"]):
            raise ModelmillError(
                f"{self.job.what}: the loss is {figures['loss']} at step {self.state.step} of {self.settings.steps}; "
                f"lower lr ({self.settings.lr:g}), or fix precision: fp32 (it was {self.state.precision})"
            )
        self.step.figures({**figures, "lr": lr}, at=self.state.step)
        self.window = _Window()

    def _validation_is_due(self) -> bool:
        state = self.state
        last = state.step == self.settings.steps
        due = state.step > 0 and (last or state.step % self.settings.validate_every == 0)
        return bool(self.job.validation) and due and state.validated < state.step

    def _validate(self) -> None:
        """Score the validation rows; given up, and done again after a restart, when the step is asked to stop."""
        count = 0
        sums: defaultdict[str, float] = defaultdict(float)
        self.job.model.eval()
        with torch.no_grad(), precision.autocast(self.job.device, self.state.precision):
            for batch in self.job.validation:
                if self.step.stopping:
                    break
                scored = self.job.objective(self.job.model, batch.to(self.job.device))
                count += scored.count
                for name, value in {"loss": scored.loss, **scored.sums}.items():
                    sums[name] += float(value)
        self.job.model.train()
        # Validation takes time that the next point of the curves must not be charged with.
        self.window.began = time.perf_counter() if not self.window.count else self.window.began
        if self.step.stopping:
            return
        self.state.validated = self.state.step
        found = {name: value / count for name, value in sums.items()}
        self.step.figures({f"validation_{name}": value for name, value in found.items()}, at=self.state.step)
        self.state.validations.append({"step": self.state.step, **found})
        if self.settings.keep_best is not None and _better(found, self.state.best, self.settings.keep_best):
            self.state.best = {"step": self.state.step, **found}
            tensors = checkpoint.model_tensors(self.job.model)
            self.best = {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}

    def _save(self) -> None:
        tensors = {
            "model": checkpoint.model_tensors(self.job.model),
            "optimizer": optimizer.state_tensors(self.optimizer),
            "random": checkpoint.random_state(),
            "best": self.best,
        }
        self.job.checkpoints.save(self.state.step, asdict(self.state), tensors)
        self.saved = time.monotonic()

    def _rehearse(self, in_precision: precision.Precision, number: int) -> None:
        """Do the work of a step and leave no trace of it: no weight changes, and chance goes on as if nothing was."""
        random = checkpoint.random_state()
        buffers = {name: buffer.clone() for name, buffer in self.job.model.named_buffers()}
        self.job.model.train()
        self._backward(self.job.batches.batch(number).to(self.job.device), in_precision)
        self.optimizer.zero_grad(set_to_none=True)
        for name, buffer in self.job.model.named_buffers():
            buffer.copy_(buffers[name])
        checkpoint.set_random_state(random)


def _better(found: dict[str, float], best: dict[str, float] | None, figure: str) -> bool:
    """The better figure; of equal ones the lower loss; of equals of both the earlier."""
    if best is None:
        return True
    sign = -1 if figure in LOWER_IS_BETTER else 1
    return (sign * found[figure], -found["loss"]) > (sign * best[figure], -best["loss"])
