"""What `finetune` is told."""

from typing import Literal

from pydantic import Field

from modelmill.models.architecture import Shape
from modelmill.models.decoding import Decoding
from modelmill.settings import Section, Task
from modelmill.training.augment_settings import Augment
from modelmill.training.question_settings import Questions
from modelmill.training.settings import Strategy, Training, Whole


class Teacher(Section):
    """A classifier of the same labels that is asked about the same batches (distillation, arXiv:1503.02531)."""

    base: str
    """The model; from where a base may be. For texts the data get its tokenizer."""
    temperature: float = Field(default=2.0, gt=0, le=100)
    """Both models' logits are divided by it: the higher, the more the unlikely classes count."""
    weight: float = Field(default=0.5, gt=0, le=1)
    """Share of the loss that is by the teacher's answers; the rest is by the labels."""


class Finetune(Training):
    """The recipe's section `finetune`: learning the task from labelled rows."""

    strategy: Strategy = Whole(name="full")
    """What learns: `full` all weights; `head` what is behind the layers; {name: last, layers: 2} the last layers too;
    {name: layers, weights: [...]} those whose names match; `lora` thin matrices beside the dense layers."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """A layer's share of the learning rate of the layer above it (arXiv:1801.06146, section 3.2)."""
    gradual: bool = False
    """In the first epoch only what is behind the layers learns, and with each epoch one layer more, from the last one
    down (arXiv:1801.06146, section 3.3)."""
    base: str | None = None
    """A model to start from, where there is no pretraining: a folder, `package://…`, `hf://owner/name`, `s3://…/`, a
    model of the store (`models/<digest>`), or MLflow's (`models:/name@alias`, `models:/name/version`, `runs:/…`)."""
    teacher: Teacher | None = None
    """A model to learn from beside the labels. For texts and pictures."""
    epochs: int = Field(default=3, ge=1)
    """Times that every row is read; the weights after the epoch with the best validation accuracy are kept."""
    lr: float = Field(default=8e-5, gt=0, le=1)
    """Highest learning rate; it rises to it during the warm-up, and then follows the schedule."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the certainty that goes to all classes alike while learning (arXiv:1512.00567, section 7)."""
    folds: int | None = Field(default=None, ge=2, le=20)
    """Of a table: the training is repeated so many times on parts of the training and the validation rows, each time
    measured on the part that it has not seen; the report tells mean and deviation. The test rows stay out of it."""
    model: Shape | None = None
    """The shape of a start from random weights, where there is neither pretraining nor a base."""
    augment: Augment = Augment()
    """How pictures are changed at random while learning. For pictures."""
    questions: Questions = Questions()
    """How a context is cut into rows, and an answer is chosen. For question answering."""

    decoding: Decoding = Decoding()
    """How a model for sequence-to-sequence is asked for its answers, which it keeps. With another the weights stay, and
    training goes on from its last checkpoint."""

    @property
    def plain(self) -> bool:
        """Whether all weights learn at all times at one rate."""
        return self.strategy == Whole(name="full") and self.layer_decay == 1 and not self.gradual


class FinetuneSettings(Finetune):
    """What the step `finetune` is told: its section, with the shape that pretraining has, and the task."""

    task: Task
    max_tokens: int = Field(default=128, ge=8, le=8192)
    """Length that a row of tokens is cut to: `preprocess.max_tokens`."""
    max_target_tokens: int = Field(default=128, ge=8, le=8192)
    """Length that a target's row of tokens is cut to: `preprocess.max_target_tokens`."""
    start: Literal["weights", "random"] = "weights"
    """`random`: the comparison, which takes nothing but the shape from the model that the others start from."""
