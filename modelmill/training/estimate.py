"""What a training will take, found by running one of its steps on tensors without numbers.

`python -m modelmill.training.estimate` reads `Outline`s as JSON, a line each, and prints what each comes to. The step
is the loop's own: forward, backward, cut gradients, the optimiser's update and the running mean of the weights, under
torch's fake tensors (shapes and types, nothing in them), so nothing is allocated and a model may be as large as it
likes. Operations are counted by `modelmill.training.utilisation`, bytes, as tensors come and go, by
`modelmill.training.peak`.
"""

import json
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from modelmill.errors import ModelmillError
from modelmill.training import distill, optimizer, precision, speed, utilisation
from modelmill.training.average import Average
from modelmill.training.distributed import ALONE
from modelmill.training.gradients import Gradients
from modelmill.training.objectives import Objective
from modelmill.training.outline import Estimate, Outline
from modelmill.training.peak import Peak
from modelmill.training.sketch import Sketch, sketch, teacher


def estimate(outline: Outline) -> Estimate:
    """Return what a training comes to.

    Raises:
        UserError: the outline's base or strategy does not fit, or its layers cannot be computed again (`recompute`).
    """
    with FakeTensorMode(allow_non_fake_inputs=True), Peak() as peak:
        trial = _Trial.of(outline)
        # The optimiser's state is made in the first step, so the later ones are measured; who counts operations keeps
        # what would be computed again.
        with utilisation.counter() as counter:
            trial.step(outline.rows[0])
        working = tuple((rows, trial.working(rows, peak)) for rows in outline.rows)
        return trial.told(float(counter.get_total_flops()) / outline.rows[0], working)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A training that is tried on tensors without numbers."""

    made: Sketch
    teacher: torch.nn.Module | None
    optimizer: torch.optim.Optimizer
    average: Average | None
    gradients: Gradients
    clip: float | None

    @classmethod
    def of(cls, outline: Outline) -> Self:
        training = outline.training
        made = sketch(outline)
        model, objective = made.model.train(), made.objective
        if training.recompute:
            speed.recompute(model)
        taught = None
        if outline.teacher and made.parts is not None:
            taught = teacher(outline)
            objective = distill.distilled(made.parts, taught, temperature=2.0, weight=0.5)
        return cls(
            made=made,
            teacher=taught,
            optimizer=optimizer.make(optimizer.one_group(model), training),
            average=None if training.ema is None else Average(model, training.ema),
            gradients=_gradients(outline, model, objective),
            clip=training.clip,
        )

    def step(self, rows: int) -> None:
        """Do as the loop does for a batch of so many rows."""
        self.gradients.compute([self.made.batch(rows)])
        self.gradients.clipped(self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.follow(1)

    def working(self, rows: int, peak: Peak) -> int:
        """Return the most bytes that a step of so many rows makes, beside what stays from step to step."""
        before = peak.begin()
        self.step(rows)
        return peak.most - before

    def told(self, operations: float, working: tuple[tuple[int, int], ...]) -> Estimate:
        model = self.made.model
        learns = [weight for weight in model.parameters() if weight.requires_grad]
        taught = self.teacher
        return Estimate(
            parameters=sum(weight.numel() for weight in model.parameters()),
            learning=sum(weight.numel() for weight in learns),
            weights=_bytes(chain(model.parameters(), model.buffers())),
            gradients=_bytes(learns),
            optimizer=_bytes(optimizer.state_tensors(self.optimizer).values()),
            average=0 if self.average is None else _bytes(self.average.tensors.values()),
            teacher=0 if taught is None else _bytes(chain(taught.parameters(), taught.buffers())),
            largest_layer=_largest_layer(model),
            flops_per_row=operations,
            working=working,
        )


def _gradients(outline: Outline, model: torch.nn.Module, objective: Objective) -> Gradients:
    device = torch.device("cpu")
    # fp16 holds as much as bf16, and no processor computes in it.
    half: precision.Precision = "fp32" if outline.precision == "fp32" else "bf16"
    return Gradients(
        what=outline.learned,
        model=model,
        objective=objective,
        device=device,
        precision=half,
        scaler=precision.scaler(device, half),
        micro_rows=None,
        world=ALONE,
    )


def _largest_layer(model: torch.nn.Module) -> int:
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    layers = [layer for stack in stacks for layer in stack] or [model]
    return max(_bytes(layer.parameters()) for layer in layers)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def main() -> int:
    """Answer every outline, a line each, by a line: `{"estimate": …}`, or `{"error": …}`."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        try:
            found = estimate(Outline.model_validate_json(line))
        except ModelmillError as error:
            answer: dict[str, Any] = {"error": str(error)}
        else:
            answer = {"estimate": found.model_dump(mode="json")}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
