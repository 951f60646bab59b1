"""Two trades of a model's own: time at the start for faster steps, and time in every step for memory."""

import logging
import os
import shutil

import torch

from modelmill.errors import UserError
from modelmill.training.objectives import Objective

log = logging.getLogger(__name__)


def compiled(objective: Objective, device: torch.device) -> Objective:
    """Return an objective translated for all shapes of batches; as it is, with a warning, where nothing translates."""
    compiler = os.environ.get("CXX", "g++")
    # On a GPU triton translates, which torch brings, but with a C compiler's help.
    if shutil.which(compiler) is None:
        log.warning("compile: no compiler %r on this %s; install g++ (goes on without)", compiler, device.type)
        return objective
    # Once more as `modelmill.training.device` has it, for the compiler, which chooses among its own kernels.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    translated: Objective = torch.compile(objective, dynamic=True)
    return translated


def recompute(model: torch.nn.Module) -> None:
    """Let a model keep no activations inside its layers.

    Raises:
        UserError: it has no switch for that.
    """
    switch = getattr(model, "activation_checkpointing_enable", None)
    if switch is None or not getattr(model, "supports_gradient_checkpointing", False):
        raise UserError(f"recompute: the layers of a {type(model).__name__} cannot be computed again; leave it out")
    switch(activation_checkpointing_kwargs={"use_reentrant": False})
