"""The one training loop, for every objective: it learns, validates, saves its state, and goes on where it stopped."""

import logging
import math
import signal
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from modelmill.step import Step
from modelmill.training import lease, tensorboard, validation
from modelmill.training.figures import Meter, Window
from modelmill.training.prefetch import Prefetched
from modelmill.training.recovery import Recovery
from modelmill.training.state import Job, LoopSettings, State
from modelmill.training.trainee import Trainee
from modelmill.training.writer import Writer

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
        try:
            with tensorboard.drawn(step) if job.world.writes else nullcontext():
                loop = _started(step, Trainee.of(job, settings, batches), held, writer)
                loop.run()
            writer.wait()
        finally:
            batches.close()
            writer.close()
        return loop.finish()


def _started(step: Step, trainee: Trainee, held: lease.Lease | None, writer: Writer) -> "_Loop":
    figures = trainee.resume_or_start()
    if figures:
        step.figures(figures)
    # No one saves before all have taken up the same checkpoint.
    trainee.job.world.wait()
    recovery = Recovery(step=step, trainee=trainee, writer=writer)
    return _Loop(step=step, trainee=trainee, recovery=recovery, lease=held, writer=writer)


@dataclass(kw_only=True)
class _Loop:
    """When there is a step, a validation, a checkpoint, and an end."""

    step: Step
    trainee: Trainee
    recovery: Recovery
    lease: lease.Lease | None
    """Of the process that writes."""
    writer: Writer
    meter: Meter = field(default_factory=Meter, init=False)
    saved: float = field(default_factory=time.monotonic, init=False)
    """When the state was saved last."""
    due: float = field(default=0.0, init=False)
    """Whether it is to be saved now."""
    job: Job = field(init=False)
    settings: LoopSettings = field(init=False)
    began: float = field(init=False)
    """When this process began, less the seconds that those before it took."""

    def __post_init__(self) -> None:
        self.job, self.settings = self.trainee.job, self.trainee.settings
        self.began = time.monotonic() - self.state.seconds

    @property
    def state(self) -> State:
        return self.trainee.state

    def run(self) -> None:
        """Alternate steps and validation until all steps are done; every turn begins where a checkpoint may be."""
        self.trainee.model.train()
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
        self.trainee.progress.put_kept(self.job.model)
        return figures

    def _learn(self) -> None:
        trainee, state = self.trainee, self.state
        began = time.perf_counter()
        batches = trainee.next_batches()
        waited = time.perf_counter() - began
        lr = trainee.begin_step()
        self.recovery.before_step()
        total = trainee.compute(batches)
        self.meter.flops_per_token = state.flops_per_token
        fault = trainee.fault(total)
        if fault and not self.recovery.pass_over(fault, total):
            # What was counted since the last point is learned anew.
            self.meter.window = Window()
            return
        if not fault:
            trainee.update()
        state.step += 1
        self.meter.seconds += time.perf_counter() - began
        if not fault:
            self.meter.add(total, waited)
        if state.step % max(1, self.settings.steps // _POINTS) == 0 or state.step == self.settings.steps:
            self._tell(lr)

    def _tell(self, lr: float) -> None:
        self._check_finite()
        if self.meter.window.count:
            self.step.figures({**self.meter.point(), "lr": lr}, at=self.state.step)

    def _check_finite(self) -> None:
        loss = self.meter.window.mean_loss()
        if not math.isfinite(loss):
            raise self.trainee.diverged(f"the loss is {loss}", self.state.step)

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
        state, job, progress = self.state, self.job, self.trainee.progress
        with nullcontext() if progress.average is None else progress.average.shown():
            gradients, micro_rows = self.trainee.gradients, state.micro_rows
            found = validation.score(gradients, job.validation, micro_rows, lambda: self.step.stopping)
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
                progress.keep_as_best()
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
            tensors = self.trainee.progress.tensors()
        if self.lease is None:
            return
        self.lease.check()
        number = int(self.state.best["step"]) if self.state.best is not None else 0
        self.writer.save(self.state.step, asdict(self.state), tensors, best=number)
        self.saved = time.monotonic()
