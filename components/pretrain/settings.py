"""What `pretrain` is told."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from modelmill.models.architecture import Architecture, Decoder, ImageNetwork, PretrainShape, WordTable
from modelmill.settings import Section
from modelmill.training.augment_settings import Augment
from modelmill.training.pretext_settings import PictureDecoder, Views
from modelmill.training.settings import Training

PICTURE_OBJECTIVES = ("masked-autoencoder", "simclr")
"""What is learned from pictures."""
WORDS = ("skip-gram", "cbow")
"""The objectives of the task word-embeddings."""
_SHAPES: Mapping[str, tuple[type[Section], str]] = {
    "masked-lm": (Architecture, "bert or modernbert"),
    "causal-lm": (Decoder, "gpt2 or llama"),
    **dict.fromkeys(WORDS, (WordTable, "word2vec")),
    "masked-autoencoder": (ImageNetwork, "vit"),
    "simclr": (ImageNetwork, "resnet18"),
}
"""By objective: the kind of shape that learns it, and its families."""


class Pretrain(Training):
    """The recipe's section `pretrain`: learning from texts or pictures without labels."""

    objective: Literal["masked-lm", "causal-lm", "skip-gram", "cbow", "masked-autoencoder", "simclr"] = "masked-lm"
    """What is learned. Of texts: `masked-lm` guesses hidden tokens from those around them, `causal-lm` the next token
    from those before it. Of word embeddings: `skip-gram` tells the words around a word from noise, `cbow` a word by the
    mean of those around it (arXiv:1310.4546). Of pictures: `masked-autoencoder` fills in hidden patches
    (arXiv:2111.06377), `simclr` finds the other view of the same picture among the views of a process's part of a batch
    (arXiv:2002.05709)."""
    base: str | None = None
    """A model to go on from: a folder, `package://…`, `hf://owner/name`, `s3://…/`, a
    model of the store (`models/<digest>`), or MLflow's (`models:/name@alias`, `models:/name/version`, `runs:/…`)."""
    model: PretrainShape | None = None
    """The shape of a model that starts from random weights; instead of a base."""
    steps: int = Field(default=1000, ge=1)
    """Updates of the weights."""
    mask_rate: float | None = Field(default=None, gt=0, lt=1)
    """Share of the tokens that are to be guessed in `masked-lm`, of the patches that are to be filled in by a
    `masked-autoencoder`; left out, 0.15 (BERT, section 3.1, arXiv:1810.04805) and 0.75 (arXiv:2111.06377, section
    4.1)."""
    window: int = Field(default=5, ge=1, le=50)
    """Words to each side that count as near in `skip-gram` and `cbow`; for each word as many as this, or fewer, drawn
    evenly, so that nearer ones count more."""
    negatives: int = Field(default=5, ge=1, le=64)
    """Words of noise that each true one counts against in `skip-gram` and `cbow`."""
    # arXiv:1310.4546 has 1e-5 for a billion words; word2vec's own default is for what is smaller.
    subsample: float = Field(default=1e-3, ge=0, le=1)
    """Share of all words above which `skip-gram` and `cbow` leave a word out at random, the more the more frequent it
    is; 0 leaves none out."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of each dense map's outputs that is set to 0 while learning; a corpus read about once needs none."""
    decoder: PictureDecoder = PictureDecoder()
    """What fills in the patches of a `masked-autoencoder`."""
    normalise_patches: bool = True
    """Whether a `masked-autoencoder` guesses the numbers of each patch with mean 0 and deviation 1."""
    augment: Augment = Augment()
    """How pictures are moved and mirrored at random for a `masked-autoencoder`."""
    views: Views = Views()
    """How `simclr` makes two views of a picture."""
    # SimCLR, appendix B.9 (arXiv:2002.05709), for CIFAR-10.
    temperature: float = Field(default=0.5, gt=0, le=10)
    """By which `simclr` divides how alike two views are, from -1 to 1: a low one minds the most alike others."""
    # SimCLR, section 4.2: from 32 to 2048 made no difference.
    projection: int = Field(default=128, ge=2, le=8192)
    """Width of the vectors that `simclr` compares; what makes them is thrown away afterwards."""

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.base is None) == (self.model is None):
            said = "neither is there" if self.base is None else "both are there"
            raise ValueError(f"give either base (weights to go on from) or model (a new one's shape); {said}")
        wanted, families = _SHAPES[self.objective]
        if self.objective in WORDS and self.base is not None:
            raise ValueError(f"base: {self.objective} starts from new vectors; give model: {{family: word2vec}}")
        if self.model is not None and not isinstance(self.model, wanted):
            raise ValueError(f"model.family: {self.model.family} cannot learn {self.objective}; use {families}")
        return self

    @model_validator(mode="after")
    def _learns_from_what_is_said(self) -> Self:
        if self.objective == "masked-autoencoder" and self.model is not None and self.model.family != "vit":
            raise ValueError(f"model.family: {self.model.family} cannot leave patches out; use vit, or simclr")
        if self.augment.mixup or self.augment.cutmix:
            raise ValueError("augment: mixup and cutmix mix labels, and there are none; leave them out")
        if self.objective == "simclr":
            if self.batch_rows < 2:
                raise ValueError(
                    f"batch_rows: {self.batch_rows}, and simclr compares the pictures of a batch with each other: at "
                    "least 2, better 128 or more"
                )
            if self.micro_rows is not None and self.micro_rows < self.batch_rows:
                raise ValueError(
                    f"micro_rows: {self.micro_rows} of {self.batch_rows} rows at once, and simclr compares all of a "
                    "batch with each other; lower batch_rows instead"
                )
        return self

    @property
    def hidden_share(self) -> float:
        """Share of tokens or patches that are hidden."""
        return self.mask_rate or (0.75 if self.objective == "masked-autoencoder" else 0.15)


class PretrainSettings(Pretrain):
    """What the step `pretrain` is told: its section, and how rows are made of the corpus."""

    max_tokens: int = Field(default=128, ge=8, le=8192)
    """Length of a row in tokens: `preprocess.max_tokens`."""
    packing: Literal["concatenate", "best-fit"] = "concatenate"
    """How documents fill rows: `preprocess.packing`."""

    @model_validator(mode="after")
    def _apart_only_from_left_to_right(self) -> Self:
        if self.packing == "best-fit" and self.objective != "causal-lm":
            raise ValueError(f"packing best-fit is for causal-lm, and the objective is {self.objective}")
        return self
