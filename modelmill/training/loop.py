"""The one training loop, for every objective: it learns, validates, saves its state, and goes on where it stopped."""

import logging
import math
import signal
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from modelmill.errors import ModelmillError
from modelmill.step import Step
from modelmill.training import lease, optimizer, sharded, speed, spikes, tensorboard, validation
from modelmill.training.average import Average
from modelmill.training.data import Batch
from modelmill.training.figures import Meter, Window
from modelmill.training.gradients import Gradients, Total
from modelmill.training.objectives import Objective
from modelmill.training.prefetch import Prefetched
from modelmill.training.progress import Progress
from modelmill.training.rehearsal import Rehearsal
from modelmill.training.schedule import Rates
from modelmill.training.state import Job, LoopSettings, State
from modelmill.training.validation import LOWER_IS_BETTER
from modelmill.training.writer import Writer

__all__ = ["LOWER_IS_BETTER", "Job", "LoopSettings", "train"]

log = logging.getLogger(__name__)

# Batches that are made ahead of the next step.
_AHEAD = 1
# Points that a curve of a figure over the steps has.
_POINTS = 100


def train(step: Step, settings: LoopSettings, job: Job) -> dict[str, Any]:
    """Train the job's model in place, from the newest checkpoint if there is one; return the main figures.

    Raises:
        Interrupted: the step was asked to stop; the state is saved, and the same call goes on from it.
        ModelmillError: training diverged, does not fit the memory, or another process is at it.
        UserError: what was wanted does not run here.
    """
    writer = Writer(
        checkpoints=job.checkpoints,
        newest=settings.training.keep_checkpoints,
        every=settings.training.checkpoint_steps,
    )
    if not job.world.writes:
        # The first process speaks for all.
        step.events.path, step.figures_to = None, None
    with lease.held(step, job.checkpoints.run_key, job.what) if job.world.writes else nullcontext() as held:
        job.world.wait()
        batches = Prefetched(
            batches=job.batches,
            ahead=_AHEAD + settings.training.accumulate,
            end=settings.batches or settings.steps * settings.training.accumulate,
            pin=job.device.type == "cuda",
        )
        loop = _Loop(step=step, settings=settings, job=job, batches=batches, lease=held, writer=writer)
        try:
            with tensorboard.drawn(step) if job.world.writes else nullcontext():
                loop.resume_or_start()
                loop.run()
            writer.wait()
        finally:
            batches.close()
            writer.close()
        return loop.finish()


@dataclass(kw_only=True)
class _Loop:
    step: Step
    settings: LoopSettings
    job: Job
    batches: Prefetched
    lease: lease.Lease | None
    """Of the process that writes."""
    writer: Writer
    model: torch.nn.Module = field(init=False)
    """What computes: the job's, or a copy that is divided over the processes."""
    progress: Progress = field(init=False)
    counted: Objective = field(init=False)
    """The objective whose work can be counted."""
    objective: Objective = field(init=False)
    """The same, translated where that is wanted."""
    rates: Rates = field(init=False)
    gradients: Gradients = field(init=False)
    rehearsal: Rehearsal = field(init=False)
    meter: Meter = field(default_factory=Meter, init=False)
    saved: float = field(default_factory=time.monotonic, init=False)
    """When the state was saved last."""
    due: float = field(default=0.0, init=False)
    """Whether it is to be saved now."""
    began: float = field(default_factory=time.monotonic, init=False)
    """When this process began, less the seconds that those before it took."""

    def resume_or_start(self) -> None:
        job, training = self.job, self.settings.training
        if training.recompute:
            speed.recompute(job.model)
        groups = optimizer.one_group(job.model) if job.plan is None else job.plan.groups
        if job.world.sharded:
            sharded.check(training, gradual=job.plan is not None and job.plan.thaw is not None)
            self.model, self.counted = sharded.divide(job.model, job.objective, job.device)
            groups = sharded.same_groups(groups, job.model, self.model)
        else:
            self.model, self.counted = job.model.to(job.device), job.objective
        self.objective = speed.compiled(self.counted, job.device) if training.compile else self.counted
        self.progress = Progress(
            model=self.model,
            device=job.device,
            optimizer=optimizer.make(groups, training),
            average=None if training.ema is None else Average(self.model, training.ema),
        )
        self.rates = Rates.of(training, self.settings.steps)
        if not self._resumed():
            self.progress.begin(State(precision="fp32", micro_rows=training.micro_rows))
            self._ready()
            chosen, figures = self.rehearsal.chosen_precision(training.precision)
            self.progress.begin(State(precision=chosen, micro_rows=self.gradients.micro_rows))
            if figures:
                self.step.figures(figures)
        self._ready()
        # No one saves before all have taken up the same checkpoint.
        job.world.wait()

    def _resumed(self) -> bool:
        """Take up the newest checkpoint that fits; return whether there is one."""
        for found in self.job.checkpoints.whole():
            try:
                self.progress.take(found)
            except (ModelmillError, KeyError, TypeError) as error:
                self.job.checkpoints.pass_over(found.step, error)
            else:
                log.info("%s: resumes after step %d of %d", self.job.what, found.step, self.settings.steps)
                return True
        return False

    @property
    def state(self) -> State:
        return self.progress.state

    def run(self) -> None:
        """Alternate steps and validation until all steps are done; every turn begins where a checkpoint may be."""
        self.model.train()
        self.meter = Meter()
        while True:
            state = self.state
            self.step.progress(self.job.what, state.step, self.settings.steps, "steps")
            stopping = self._agreed()
            if self._validation_is_due() and not stopping:
                self._validate()
                stopping = self._agreed()
            if stopping:
                self._save()
                self.writer.wait()
                self.step.check_stop()
            if self._is_last():
                self._check_finite()
                return
            if self.due:
                self._save()
            self._learn()

    def finish(self) -> dict[str, Any]:
        """Put the weights to keep into the model; return the figures of the whole training."""
        state = self.state
        figures: dict[str, Any] = {"steps": state.step, "precision": state.precision}
        if state.ended:
            figures["ended_by"] = state.ended
        if state.micro_rows is not None:
            figures["micro_rows"] = state.micro_rows
        if state.watch.spikes:
            figures["spikes"] = state.watch.spikes
        shown = state.validations[-1] if state.validations else {}
        if state.best is not None:
            shown = state.best
            figures["kept_step"] = int(shown["step"])
        figures |= {f"validation_{name}": value for name, value in shown.items() if name != "step"}
        figures |= self.meter.figures(self.job.device, state.precision, self.writer.seconds)
        self.progress.put_kept(self.job.model)
        return figures

    def _learn(self) -> None:
        training, state = self.settings.training, self.state
        began = time.perf_counter()
        batches = self._batches()
        waited = time.perf_counter() - began
        lr = training.lr * self.rates.factor(state.step)
        optimizer.set_rate(self.progress.optimizer, lr)
        if self.job.plan is not None and self.job.plan.thaw is not None:
            self.job.plan.thaw(state.step)
        if self.job.world.size > 1:
            # Each draws numbers of its own, whoever saved the state.
            torch.manual_seed(self.job.world.seed(training.seed, state.step))
        before = self._floating_buffers() if training.on_spike == "skip" else []
        total = self._counted(batches)
        state.micro_rows = self.gradients.micro_rows
        fault = self._fault(total)
        if fault and not self._pass_over(fault, total, before):
            return
        if not fault:
            self._update()
        state.step += 1
        self.meter.seconds += time.perf_counter() - began
        if not fault:
            self.meter.add(total, waited)
        if state.step % max(1, self.settings.steps // _POINTS) == 0 or state.step == self.settings.steps:
            self._tell(lr)

    def _counted(self, batches: list[Batch]) -> Total:
        """Compute the gradients of batches, and once how much work a token is: it is as much in one as in another.

        Once in a whole training, however often it goes on: under the counter some layers (gates, for one) add up their
        gradients in another order, and the bits of a training that was stopped must be those of one that was not.
        """
        state = self.state
        if state.flops_per_token:
            total = self.gradients.compute(batches)
        else:
            total, state.flops_per_token = self.rehearsal.counted(batches, state.step, self.counted)
        self.meter.flops_per_token = state.flops_per_token
        return total

    def _batches(self) -> list[Batch]:
        """Return the batches of the next step."""
        accumulate, end = self.settings.training.accumulate, self.settings.batches
        first = self.state.step * accumulate
        last = first + accumulate if end is None else min(first + accumulate, end)
        return [self.batches.batch(number + self.state.passed) for number in range(first, last)]

    def _fault(self, total: Total) -> str:
        """Return what is wrong with a step's gradients, after they were cut; '' for nothing, or unread."""
        training = self.settings.training
        self.progress.scaler.unscale_(self.progress.optimizer)
        if training.l1 or training.l2:
            optimizer.penalise(self.progress.optimizer, training.l1, training.l2)
        watched = spikes.reads_every_step(training)
        if training.clip is None and not watched:
            return ""
        norm = self.gradients.clipped(training.clip)
        if not watched:
            return ""
        # In fp16 gradients overflow now and then, and the scaler leaves those updates out.
        length = None if self.progress.scaler.is_enabled() else float(norm)
        return self.state.watch.fault(float(total.loss) / max(total.count, 1), length, training)

    def _update(self) -> None:
        self.progress.scaler.step(self.progress.optimizer)
        self.progress.scaler.update()
        self.progress.optimizer.zero_grad(set_to_none=True)
        if self.progress.average is not None:
            self.progress.average.follow(self.state.step)

    def _pass_over(self, fault: str, total: Total, buffers: list[torch.Tensor]) -> bool:
        """Leave a step out, or go back to a checkpoint; return whether the step counts as done.

        Raises:
            ModelmillError: the settings want to stop, or this happened too often.
        """
        training, state = self.settings.training, self.state
        state.watch.spikes += 1
        if training.on_spike == "stop":
            raise self._diverged(fault, state.step + 1)
        if state.watch.spikes > training.max_spikes:
            raise self._diverged(f"{fault}, after max_spikes ({training.max_spikes}) others", state.step + 1)
        self.progress.optimizer.zero_grad(set_to_none=True)
        if self.progress.scaler.is_enabled():
            self.progress.scaler.update()
        at, done = state.step + 1, "skipped the update"
        if training.on_spike == "skip":
            for kept, buffer in zip(buffers, self._floating_buffers(copied=False), strict=True):
                buffer.copy_(kept)
        else:
            done = self._roll_back()
        loss = float(total.loss) / max(total.count, 1)
        log.warning("%s: step %d: %s; %s", self.job.what, at, fault, done)
        self.step.events.emit("spike", at=at, loss=loss if math.isfinite(loss) else str(loss), reason=fault, done=done)
        return training.on_spike == "skip"

    def _roll_back(self) -> str:
        """Go back to the last checkpoint of fixed steps, and pass over the batches that were read since."""
        training, state = self.settings.training, self.state
        every, began = training.checkpoint_steps or 1, self.began
        target = state.step // every * every
        self.writer.wait()
        if self.job.world.writes:
            # Those saved in between lead to the spike.
            self.job.checkpoints.drop_after(target)
        self.job.world.wait()
        self.progress.take(self.job.checkpoints.load(target))
        self._ready()
        read = (state.step - target + 1) * training.accumulate
        self.state.passed = state.passed + read
        self.state.watch.spikes = state.watch.spikes
        self.began = began
        self.meter.window = Window()
        return f"rolled back to step {target} and passes over {read} batches"

    def _tell(self, lr: float) -> None:
        self._check_finite()
        if self.meter.window.count:
            self.step.figures({**self.meter.point(), "lr": lr}, at=self.state.step)

    def _check_finite(self) -> None:
        loss = self.meter.window.mean_loss()
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss}", self.state.step)

    def _diverged(self, fault: str, at: int) -> ModelmillError:
        return ModelmillError(
            f"{self.job.what}: {fault} at step {at} of {self.settings.steps}; lower lr "
            f"({self.settings.training.lr:g}), or fix precision: fp32 (it was {self.state.precision})"
        )

    def _agreed(self) -> bool:
        """Return whether any process was asked to stop; end training when the first one's time is up."""
        self.state.seconds = time.monotonic() - self.began
        limit = self.settings.training.max_seconds
        late = limit is not None and self.state.seconds >= limit and self.job.world.writes
        # Clocks differ, and what is divided is saved by all together: the first process decides.
        due = self.job.world.writes and self._save_is_due()
        stopping, ends, self.due = self.job.world.sums([self.step.stopping, late, due])
        if ends and not self._is_last():
            log.info("%s: ends after %.0f s of max_seconds (%g)", self.job.what, self.state.seconds, limit)
            self.state.ended = "max_seconds"
        if stopping and not self.step.stopping:
            self.step.stop_signal = signal.SIGTERM
        return bool(stopping)

    def _is_last(self) -> bool:
        return self.state.step == self.settings.steps or bool(self.state.ended)

    def _validation_is_due(self) -> bool:
        state = self.state
        due = state.step > 0 and (self._is_last() or state.step % self.settings.validate_every == 0)
        return bool(self.job.validation) and due and state.validated < state.step

    def _validate(self) -> None:
        """Score the validation rows; given up, and done again after a restart, when the step is asked to stop."""
        state, job = self.state, self.job
        with nullcontext() if self.progress.average is None else self.progress.average.shown():
            found = validation.score(self.gradients, job.validation, state.micro_rows, lambda: self.step.stopping)
            # Validation takes time that the next point of the curves must not be charged with.
            self.meter.resume_clock()
            if found is None:
                return
            state.validated = state.step
            self.step.figures({f"validation_{name}": value for name, value in found.items()}, at=state.step)
            state.validations.append({"step": state.step, **found})
            figure = self.settings.figure
            if figure is not None and validation.better(found, state.best, figure):
                state.best = state.validations[-1]
                self.progress.keep_as_best()
        patience = self.settings.training.patience
        if patience is not None and validation.in_vain(state.validations, figure or "loss") >= patience:
            log.info("%s: ends, as %d validations brought nothing better", job.what, patience)
            state.ended = state.ended or "patience"

    def _save_is_due(self) -> bool:
        training = self.settings.training
        if training.checkpoint_steps is not None and self.state.step % training.checkpoint_steps == 0:
            return True
        # A slow store gets fewer checkpoints; training does not wait for it.
        return time.monotonic() - self.saved >= training.checkpoint_seconds and not self.writer.busy

    def _save(self) -> None:
        self._check_finite()
        if self.lease is not None or self.job.world.sharded:
            tensors = self.progress.tensors()
        if self.lease is None:
            return
        self.lease.check()
        number = int(self.state.best["step"]) if self.state.best is not None else 0
        self.writer.save(self.state.step, asdict(self.state), tensors, best=number)
        self.saved = time.monotonic()

    def _ready(self) -> None:
        """Make what depends on the state's choices."""
        job = self.job
        self.began = time.monotonic() - self.state.seconds
        self.gradients = Gradients(
            what=job.what,
            model=self.model,
            objective=self.objective,
            device=job.device,
            precision=self.state.precision,
            scaler=self.progress.scaler,
            micro_rows=self.state.micro_rows,
            world=job.world,
        )
        self.rehearsal = Rehearsal(gradients=self.gradients, optimizer=self.progress.optimizer, batches=self.batches)

    def _floating_buffers(self, *, copied: bool = True) -> list[torch.Tensor]:
        found = [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]
        return [buffer.clone() for buffer in found] if copied else found
