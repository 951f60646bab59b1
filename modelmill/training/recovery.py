"""What is done about a step that would harm the weights: training stops, leaves it out, or goes back."""

import logging
import math
from dataclasses import dataclass, field

import torch

from modelmill.step import Step
from modelmill.training.gradients import Total
from modelmill.training.trainee import Trainee
from modelmill.training.writer import Writer

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Recovery:
    """Gets a training past a spike, as its settings want."""

    step: Step
    trainee: Trainee
    writer: Writer
    _buffers: list[torch.Tensor] = field(default_factory=list, init=False)
    """Those of the model as they were before the step, where it may be left out."""

    def before_step(self) -> None:
        """Keep what computing a step's gradients changes."""
        if self.trainee.settings.training.on_spike == "skip":
            self._buffers = [buffer.clone() for buffer in self._floating_buffers()]

    def pass_over(self, fault: str, total: Total) -> bool:
        """Leave a step out, or go back to a checkpoint; return whether the step counts as done.

        Raises:
            ModelmillError: the settings want to stop, or this happened too often.
        """
        trainee = self.trainee
        training, state, progress = trainee.settings.training, trainee.state, trainee.progress
        state.watch.spikes += 1
        if training.on_spike == "stop":
            raise trainee.diverged(fault, state.step + 1)
        if state.watch.spikes > training.max_spikes:
            raise trainee.diverged(f"{fault}, after max_spikes ({training.max_spikes}) others", state.step + 1)
        progress.optimizer.zero_grad(set_to_none=True)
        if progress.scaler.is_enabled():
            progress.scaler.update()
        at, done = state.step + 1, "skipped the update"
        if training.on_spike == "skip":
            for kept, buffer in zip(self._buffers, self._floating_buffers(), strict=True):
                buffer.copy_(kept)
        else:
            done = self._roll_back()
        loss = total.mean_loss()
        log.warning("%s: step %d: %s; %s", trainee.job.what, at, fault, done)
        self.step.events.emit("spike", at=at, loss=loss if math.isfinite(loss) else str(loss), reason=fault, done=done)
        return training.on_spike == "skip"

    def _roll_back(self) -> str:
        """Go back to the last checkpoint of fixed steps, and pass over the batches that were read since."""
        trainee, job = self.trainee, self.trainee.job
        training, state = trainee.settings.training, trainee.state
        every = training.checkpoint_steps or 1
        target = state.step // every * every
        self.writer.wait()
        if job.world.writes:
            # Those saved in between lead to the spike.
            job.checkpoints.drop_after(target)
        job.world.wait()
        trainee.go_back(target)
        read = (state.step - target + 1) * training.accumulate
        trainee.state.passed = state.passed + read
        trainee.state.watch.spikes = state.watch.spikes
        return f"rolled back to step {target} and passes over {read} batches"

    def _floating_buffers(self) -> list[torch.Tensor]:
        return [buffer for buffer in self.trainee.model.buffers() if buffer.is_floating_point()]
