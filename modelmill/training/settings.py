"""The settings that every training step has."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from modelmill.settings import Section


class SGD(Section):
    """Gradient descent on batches."""

    name: Literal["sgd"]
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Share of the last update that the next one begins with; 0 is none."""
    nesterov: bool = False
    """Look ahead along the momentum (Sutskever et al. 2013, proceedings.mlr.press/v28/sutskever13)."""

    @model_validator(mode="after")
    def _looks_ahead_along_something(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the momentum, and momentum is 0; raise it or leave nesterov")
        return self


class Adam(Section):
    """Adam (arXiv:1412.6980); `adamw` is the same here, since `weight_decay` is apart from the gradient in both."""

    name: Literal["adam", "adamw"]
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Of the running mean of the gradients."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Of the running mean of their squares."""
    # BERT, appendix A.2 (arXiv:1810.04805).
    epsilon: float = Field(default=1e-6, gt=0, lt=1)
    """Added to the root of the mean square."""


class RMSprop(Section):
    """RMSprop (Hinton's lecture 6e of 2012)."""

    name: Literal["rmsprop"]
    alpha: float = Field(default=0.99, ge=0, lt=1)
    """Of the running mean of the squares."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Share of the last update that the next one begins with."""
    epsilon: float = Field(default=1e-8, gt=0, lt=1)
    """Added to the root of the mean square."""


class Adadelta(Section):
    """Adadelta (arXiv:1212.5701), whose own rate is 1."""

    name: Literal["adadelta"]
    rho: float = Field(default=0.9, ge=0, lt=1)
    """Of the running means of squares."""
    epsilon: float = Field(default=1e-6, gt=0, lt=1)
    """Added to the mean squares."""


class Adafactor(Section):
    """Adafactor (arXiv:1804.04235): of a matrix it keeps one row and one column of squares."""

    name: Literal["adafactor"]
    clip: float = Field(default=1.0, ge=1)
    """An update's root mean square is cut to this."""


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Optimizer = Annotated[SGD | Adam | RMSprop | Adadelta | Adafactor, Field(discriminator="name"), BeforeValidator(_named)]
"""A name, or a name with settings of its own."""


class Whole(Section):
    """All weights learn, or those behind the layers alone."""

    name: Literal["full", "head"]


class Last(Section):
    """The last layers learn, and what is behind them."""

    name: Literal["last"]
    layers: int = Field(ge=1)
    """How many."""


class Matching(Section):
    """Weights learn that are named."""

    name: Literal["layers"]
    weights: list[str] = Field(min_length=1)
    """Patterns of their names, as `bert.encoder.layer.3.*`."""


class LoRA(Section):
    """Thin matrices learn beside the dense layers (arXiv:2106.09685), and are merged into them in the end."""

    name: Literal["lora"]
    rank: int = Field(default=8, ge=1)
    """Width of the thin matrices."""
    alpha: float = Field(default=16.0, gt=0)
    """What they answer counts alpha / rank times."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of their inputs that is set to 0 while learning."""
    targets: list[str] = Field(default=["*"], min_length=1)
    """Patterns of names of dense layers within the stack of layers, as `*.query`."""


Strategy = Annotated[Whole | Last | Matching | LoRA, Field(discriminator="name"), BeforeValidator(_named)]
"""A name, or a name with settings of its own."""

Schedule = Literal["constant", "linear", "cosine", "warmup-stable-decay", "one-cycle"]


class Training(Section):
    """How the weights are learned."""

    batch_rows: int = Field(default=32, ge=1)
    """Rows that go into one step, for each batch that `accumulate` counts."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients make one step."""
    optimizer: Optimizer = Adam(name="adamw")
    """`sgd`, `adam`, `adamw`, `rmsprop`, `adadelta` or `adafactor`; its settings as {name: sgd, momentum: 0}."""
    lr: float = Field(default=1e-4, gt=0, le=1)
    """Highest learning rate; it rises to it during the warm-up, and then follows the schedule."""
    schedule: Schedule = "linear"
    """After the warm-up: `linear` falls in a straight line, `cosine` (arXiv:1608.03983) in half a wave, `constant`
    stays, `warmup-stable-decay` (arXiv:2404.06395) stays and falls at the end, `one-cycle` (arXiv:1708.07120) rises and
    falls in half waves."""
    lr_final: float = Field(default=0.0, ge=0, le=1)
    """Share of the highest rate that is left at the end; not for `constant`."""
    decay: float = Field(default=0.2, gt=0, le=1)
    """Share of the steps in which `warmup-stable-decay` falls."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    """Taken from the weights apart from the gradient (arXiv:1711.05101), a step and unit of learning rate; neither this
    nor `l1` and `l2` is for biases and normalisation."""
    l1: float = Field(default=0.0, ge=0)
    """Times the sum of the weights' sizes is added to the loss."""
    l2: float = Field(default=0.0, ge=0)
    """Times half the sum of the weights' squares is added to the loss."""
    # BERT's own (appendix A.2, arXiv:1810.04805).
    clip: float | None = Field(default=1.0, gt=0)
    """A longer gradient is cut to this length (arXiv:1211.5063); null cuts none."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a running mean of the weights (Polyak and Juditsky 1992), which is validated and kept instead of them;
    it is min(ema, (1 + n) / (10 + n)) after n steps, so that the first weights are soon forgotten."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of each dense map's outputs that is set to 0 while learning."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic; `auto` times fp32 and bf16 on a few batches and takes bf16 where it is at least 1.1 times as fast.
    `fp16` needs a GPU; its loss is scaled (arXiv:1710.03740)."""
    compile: bool = False
    """Translate the model with torch.compile, which takes up to a minute first and pays off in long trainings."""
    recompute: bool = False
    """Keep no activations inside the layers but compute them again going backward (arXiv:1604.06174)."""
    micro_rows: int | None = Field(default=None, ge=1)
    """Rows computed at once, whose gradients add up to the batch's; left out, all, halved when memory runs out."""
    processes: int | None = Field(default=None, ge=1, le=64)
    """That train together on this machine, each on its part of every batch; left out, one for each GPU, or one."""
    shard: bool = False
    """Divide weights, gradients and the optimiser's state over the processes, for a model that one device does not hold
    (fully sharded data parallel, arXiv:2304.11277)."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of new weights, of the rows' order, and of dropout."""
    best: str | None = None
    """The validation figure by which weights are kept, as `loss` or `accuracy`, or `last` for the last ones; left out,
    what suits the task."""
    patience: int | None = Field(default=None, ge=1)
    """Validations without a better figure after which training ends early."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Time for training and validation, over all resumed runs, after which training ends early."""
    on_spike: Literal["stop", "skip", "roll_back"] = "stop"
    """When a loss or a gradient is no number, or the loss is a `spike`: fail; or leave this update out; or go back to
    the last checkpoint of `checkpoint_steps` and pass over the batches since (PaLM, section 5.1, arXiv:2204.02311).
    The last two, and `spike`, read the loss at every step, for which a GPU is waited for."""
    spike: float | None = Field(default=None, gt=1)
    """A loss so many times its running mean over the last 50 good steps or so is a spike; left out, none is."""
    max_spikes: int = Field(default=10, ge=1)
    """Spikes skipped or rolled back from, after which training fails."""
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    """Time between two saves of the whole state, from which the step goes on when it is run again."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Steps between two saves more."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """The newest that stay in the store; each holds the best weights as well."""

    @model_validator(mode="after")
    def _goes_back_to_something(self) -> Self:
        if self.on_spike == "roll_back" and self.checkpoint_steps is None:
            raise ValueError("on_spike: roll_back goes back to a checkpoint of fixed steps; give checkpoint_steps")
        return self


TOGETHER = {"processes", "shard"}
"""Settings that change who computes and not what: a training goes on with others from the same checkpoint."""
