"""What is found out about a model beside its figures: how robust it is, what moved its answers, what it costs."""

from typing import Literal

from pydantic import Field

from modelmill.evaluation.ladders import Change
from modelmill.settings import Section

# Nothing but the bytes of a PNG: neither another kind of content nor an address.
_PICTURE = r"^(data:image/png;base64,[A-Za-z0-9+/]+={0,2})?$"
_MOST_PICTURE = 1 << 20


class Measured(Section):
    """The main figure, and its 95 % interval."""

    value: float
    low: float
    high: float


class ChangedLevel(Section):
    """The main figure where inputs are changed so much."""

    strength: float
    word: str
    measured: Measured
    sample: str = ""
    """One input so changed; '' of pictures and of what is none."""
    picture: str = Field(default="", pattern=_PICTURE, max_length=_MOST_PICTURE)
    """The same of pictures, as a `data:` URI."""


class Changed(Section):
    """One way to change inputs."""

    change: Change
    said: str
    unit: str
    levels: tuple[ChangedLevel, ...]
    """Weakest first."""
    hindrance: str = ""
    """What of it does not apply to these rows."""


class Robustness(Section):
    """The main figure on the same rows, changed in many ways."""

    metric: str
    rows: int
    unchanged: Measured
    sample: str = ""
    picture: str = Field(default="", pattern=_PICTURE, max_length=_MOST_PICTURE)
    changes: tuple[Changed, ...]


class Moved(Section):
    """What a part of an input did to the answer."""

    part: str
    """A piece of a text with the white space after it, or the name of a column."""
    value: str = ""
    """Of a column."""
    by: float
    """In the unit of `Explanations.unit`, towards the answer where positive."""
    weight: float = Field(ge=-1, le=1)
    """`by`, in shares of the largest of them."""


class Case(Section):
    """One answer, and what moved it."""

    id: str
    right: bool
    """Of a number: whether it is among those that are nearest to the truth."""
    truth: str
    answer: str
    probability: float | None = None
    """Of the answer; None of a number."""
    moved: float
    """How far the answer is from that to the blank input, in the unit of `Explanations.unit`."""
    delta: float
    """What the parts' sum is more than that."""
    steps: int
    converged: bool
    """Whether `delta` is small beside `moved`; if not the parts are a rough guess."""
    parts: tuple[Moved, ...] = ()
    """Of a text in its order, and of a row's columns the strongest first."""
    picture: str = Field(default="", pattern=_PICTURE, max_length=_MOST_PICTURE)
    overlay: str = Field(default="", pattern=_PICTURE, max_length=_MOST_PICTURE)


class Explanations(Section):
    """Which parts of inputs moved answers, by integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365)."""

    kind: Literal["text", "picture", "table"]
    """Of the inputs."""
    unit: str
    blank: str
    """What every input is compared with."""
    cases: tuple[Case, ...]


class Speed(Section):
    """How long the model takes for so many rows at once."""

    batch: int
    calls: int
    """Timed, after those that warm up."""
    p50_ms: float
    p99_ms: float
    p99_interval: tuple[float, float]
    """95 %, from the order of the times; its upper end is the longest time where there are too few for another."""
    rows_per_second: float
    tokens_per_second: float | None = None
    """Written, by a model that answers with texts; read, by one that fills in masks; None of all others."""


class Cost(Section):
    """What answering takes, from raw input to answer, measured on the machine that evaluated: not content."""

    machine: str
    device: str
    threads: int
    warm_up: int
    """Calls before those that are timed."""
    speeds: tuple[Speed, ...]
    bytes: int
    """Of the model's files."""
    parameters: int
    peak_memory_mb: float
    """Of the process while it answered; with all that it had loaded."""
    peak_of: Literal["answering", "process"]
    """`process`: since it began, where a peak cannot be begun anew."""
    peak_device_mb: float | None = None
    """Of an accelerator's memory."""


class HarnessFigure(Section):
    """One figure of one task of lm-evaluation-harness."""

    task: str
    metric: str
    """As the harness calls it, with its filter where it has one."""
    value: float
    error: float | None = None
    """Standard error; None where the harness tells none."""
    higher_is_better: bool | None = None
    rows: int
    """Of the task that were asked."""


class HarnessResults(Section):
    """What the model makes of tasks of lm-evaluation-harness."""

    version: str
    """Of the harness."""
    limit: int | None = None
    """Rows of each task that were asked at most."""
    figures: tuple[HarnessFigure, ...]


class Probes(Section):
    """What a recipe asks for beside the figures."""

    robustness: Robustness | None = None
    explanations: Explanations | None = None
    cost: Cost | None = None
    harness: HarnessResults | None = None
