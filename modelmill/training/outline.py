"""A training by its sizes alone, and what they come to: parameters, arithmetic, memory. Needs no torch.

Whoever plans has no torch: it writes an `Outline` to `python -m modelmill.training.estimate` and reads an `Estimate`.
"""

from typing import Literal

from pydantic import Field

from modelmill.models.architecture import (
    Architecture,
    Decoder,
    EncoderDecoder,
    ImageNetwork,
    TableNetwork,
    WordTable,
)
from modelmill.pictures.shape import PixelShape
from modelmill.settings import Section
from modelmill.training.pretext_settings import PictureDecoder
from modelmill.training.settings import Strategy, Training, Whole

Learned = Literal[
    "masked-lm", "causal-lm", "skip-gram", "cbow", "masked-autoencoder", "simclr",
    "classes", "spans", "targets", "pictures", "rows",
]  # fmt: skip
"""What is learned: the objectives of pretraining, and of fine-tuning classes of texts, spans of answers, targets of
sequences, classes of pictures, and rows of tables."""
AnyShape = Architecture | Decoder | EncoderDecoder | ImageNetwork | TableNetwork | WordTable


class Outline(Section):
    """A training by its sizes: what is learned, by what, on how many rows of what length at once."""

    learned: Learned
    training: Training
    precision: Literal["fp32", "bf16", "fp16"]
    """In which it will run."""
    rows: tuple[int, ...] = Field(min_length=1)
    """Numbers of rows computed at once, for each of which the memory is told."""
    shape: AnyShape | None = None
    """Of a model from random weights."""
    base: str = ""
    """Else the folder that holds the base model's config.json; nothing else of it is read."""
    teacher: str = ""
    """The same of the teacher; '' for none."""
    strategy: Strategy = Whole(name="full")
    vocabulary: int = 8000
    tokens: int = 128
    """Of a row."""
    target_tokens: int = 128
    classes: int = 2
    """Outputs of the last layer; 1 for a number."""
    pixels: PixelShape | None = None
    features: int = 1
    """Numbers of a table's row."""
    hidden_share: float = 0.15
    """Of the tokens or patches that are guessed."""
    window: int = 5
    negatives: int = 5
    decoder: PictureDecoder = PictureDecoder()
    projection: int = 128


class Estimate(Section):
    """What a training comes to, in bytes of one process's device and operations of a row."""

    parameters: int
    """Of the model, the teacher's not counted."""
    learning: int
    """Of them, those that get a gradient."""
    weights: int
    """Bytes of all weights and buffers."""
    gradients: int
    """Bytes; alive together at the end of a backward pass."""
    optimizer: int
    """Bytes of the optimiser's state."""
    average: int
    """Bytes of the running mean of the weights (`ema`)."""
    teacher: int
    """Bytes of the teacher's weights."""
    largest_layer: int
    """Bytes of the weights of the largest layer, which a divided model gathers to compute."""
    flops_per_row: float
    """Floating-point operations of a row, forward and backward."""
    working: tuple[tuple[int, int], ...]
    """By rows at once: the most bytes that a step holds beside weights, optimiser's state, mean and teacher, which are
    gradients, activations and what is computed in between."""

    @property
    def kept(self) -> int:
        """Bytes that stay from step to step, gradients not counted."""
        return self.weights + self.optimizer + self.average + self.teacher
