"""The model that learns, with all that a step needs: its gradients, its update, and the choices that were measured."""

import logging
from dataclasses import dataclass, field
from typing import Self

import torch

from modelmill.errors import ModelmillError
from modelmill.training import optimizer, sharded, speed, spikes
from modelmill.training.average import Average
from modelmill.training.data import Batch
from modelmill.training.gradients import Gradients, Total
from modelmill.training.objectives import Objective
from modelmill.training.prefetch import Prefetched
from modelmill.training.progress import Progress
from modelmill.training.rehearsal import Rehearsal
from modelmill.training.schedule import Rates
from modelmill.training.state import Job, LoopSettings, State

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Trainee:
    """A job's model as far as it has learned, and how it learns on."""

    job: Job
    settings: LoopSettings
    batches: Prefetched
    progress: Progress
    counted: Objective
    """The objective whose work can be counted."""
    objective: Objective
    """The same, translated where that is wanted."""
    rates: Rates
    gradients: Gradients = field(init=False)
    rehearsal: Rehearsal = field(init=False)

    @classmethod
    def of(cls, job: Job, settings: LoopSettings, batches: Prefetched) -> Self:
        """Return a job's model ready to begin, or to take up a state.

        Raises:
            UserError: what the settings want does not go with the model, or with the processes.
        """
        training = settings.training
        if training.recompute:
            speed.recompute(job.model)
        groups = optimizer.one_group(job.model) if job.plan is None else job.plan.groups
        if job.world.sharded:
            sharded.check(training, gradual=job.plan is not None and job.plan.thaw is not None)
            model, counted = sharded.divide(job.model, job.objective, job.device)
            groups = sharded.same_groups(groups, job.model, model)
        else:
            model, counted = job.model.to(job.device), job.objective
        objective = speed.compiled(counted, job.device) if training.compile else counted
        progress = Progress(
            model=model,
            device=job.device,
            optimizer=optimizer.make(groups, training),
            average=None if training.ema is None else Average(model, training.ema),
        )
        return cls(
            job=job,
            settings=settings,
            batches=batches,
            progress=progress,
            counted=counted,
            objective=objective,
            rates=Rates.of(training, settings.steps),
        )

    @property
    def model(self) -> torch.nn.Module:
        """What computes: the job's model, or a copy that is divided over the processes."""
        return self.progress.model

    @property
    def state(self) -> State:
        """How far it is."""
        return self.progress.state

    def resume_or_start(self) -> dict[str, float]:
        """Take up the newest checkpoint that fits, or begin; return what the precision was chosen by, if it was now."""
        figures: dict[str, float] = {}
        if not self._resumed():
            training = self.settings.training
            self.progress.begin(State(precision="fp32", micro_rows=training.micro_rows))
            self._ready()
            chosen, figures = self.rehearsal.chosen_precision(training.precision)
            self.progress.begin(State(precision=chosen, micro_rows=self.gradients.micro_rows))
        self._ready()
        return figures

    def go_back(self, step: int) -> None:
        """Take up the checkpoint of a step, as if nothing had been learned since."""
        self.progress.take(self.job.checkpoints.load(step))
        self._ready()

    def begin_step(self) -> float:
        """Set the next step's rate, which weights learn in it, and its chance; return the rate."""
        training, state, job = self.settings.training, self.state, self.job
        lr = training.lr * self.rates.factor(state.step)
        optimizer.set_rate(self.progress.optimizer, lr)
        if job.plan is not None and job.plan.thaw is not None:
            job.plan.thaw(state.step)
        if job.world.size > 1:
            # Each draws numbers of its own, whoever saved the state.
            torch.manual_seed(job.world.seed(training.seed, state.step))
        return lr

    def next_batches(self) -> list[Batch]:
        """Return the batches of the next step."""
        accumulate, end = self.settings.training.accumulate, self.settings.batches
        first = self.state.step * accumulate
        last = first + accumulate if end is None else min(first + accumulate, end)
        return [self.batches.batch(number + self.state.passed) for number in range(first, last)]

    def compute(self, batches: list[Batch]) -> Total:
        """Compute the gradients of batches, and once how much work a token is: it is as much in one as in another.

        Once in a whole training, however often it goes on: under the counter some layers (gates, for one) add up their
        gradients in another order, and the bits of a training that was stopped must be those of one that was not.
        """
        state = self.state
        if state.flops_per_token:
            total = self.gradients.compute(batches)
        else:
            total, state.flops_per_token = self.rehearsal.counted(batches, state.step, self.counted)
        state.micro_rows = self.gradients.micro_rows
        return total

    def fault(self, total: Total) -> str:
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
        return self.state.watch.fault(total.mean_loss(), length, training)

    def update(self) -> None:
        """Change the weights by their gradients."""
        self.progress.scaler.step(self.progress.optimizer)
        self.progress.scaler.update()
        self.progress.optimizer.zero_grad(set_to_none=True)
        if self.progress.average is not None:
            self.progress.average.follow(self.state.step)

    def diverged(self, fault: str, at: int) -> ModelmillError:
        """Return the error of a step that nothing can be learned from."""
        return ModelmillError(
            f"{self.job.what}: {fault} at step {at} of {self.settings.steps}; lower lr "
            f"({self.settings.training.lr:g}), or fix precision: fp32 (it was {self.state.precision})"
        )

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

    def _ready(self) -> None:
        """Make what depends on the state's choices."""
        job = self.job
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
