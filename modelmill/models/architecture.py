"""The shapes of models that start from random weights, by family. Needs no torch."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from modelmill.settings import Section


class _Attention(Section):
    """What is the same in all transformers of tokens."""

    width: int = Field(default=256, ge=8, le=16_384)
    """Of a token's vector."""
    heads: int = Field(default=4, ge=1)
    """Attention heads of a layer; each sees width / heads."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class Architecture(_Attention):
    """A transformer encoder by its sizes."""

    family: Literal["bert", "modernbert"] = "bert"
    """How the layers are built; a small `modernbert` learns more in the same time."""
    layers: int = Field(default=4, ge=1, le=96)
    """Transformer layers."""
    feed_forward: int | None = Field(default=None, ge=8)
    """Inner width of a layer's dense maps; left out, 4 times the width, 2 times in a `modernbert` (it has gates)."""


class Decoder(_Attention):
    """A transformer decoder, which reads from left to right, by its sizes."""

    family: Literal["gpt2", "llama"]
    """How the layers are built: `llama` has rotated positions and gates, and learns more in the same time."""
    layers: int = Field(default=4, ge=1, le=96)
    """Transformer layers."""
    key_value_heads: int | None = Field(default=None, ge=1)
    """Of a `llama`: heads that keys and values have, each shared by several; left out, as many as heads."""
    feed_forward: int | None = Field(default=None, ge=8)
    """Inner width of a layer's dense maps; left out, 4 times the width, in a `llama` 8/3 of it (it has gates)."""

    @model_validator(mode="after")
    def _heads_fit_the_family(self) -> Self:
        if self.family == "llama" and self.width // self.heads % 2:
            raise ValueError(
                f"width ({self.width}) over heads ({self.heads}) must be even in a llama, which turns pairs of numbers"
            )
        if self.key_value_heads is not None and self.family != "llama":
            raise ValueError(f"key_value_heads is not for {self.family}; leave it out")
        if self.heads % (self.key_value_heads or self.heads):
            raise ValueError(f"heads ({self.heads}) must be a multiple of key_value_heads ({self.key_value_heads})")
        return self


class WordTable(Section):
    """A vector for each word."""

    family: Literal["word2vec"]
    """Two tables, of words and of what stands around them (arXiv:1310.4546)."""
    width: int = Field(default=100, ge=2, le=4096)
    """Numbers of a vector."""


class EncoderDecoder(_Attention):
    """A transformer that reads one sequence and writes another, by its sizes."""

    family: Literal["transformer", "t5", "bart"]
    """How the layers are built: `transformer` as in 2017 (arXiv:1706.03762: sinusoidal positions, normalised after
    each part; saved as transformers' Marian), `t5` (arXiv:1910.10683: relative positions, normalised before each part),
    `bart` (arXiv:1910.13461: learned positions, normalised after each part)."""
    layers: int = Field(default=3, ge=1, le=96)
    """Transformer layers of the encoder."""
    decoder_layers: int | None = Field(default=None, ge=1, le=96)
    """Transformer layers of the decoder; left out, as many as the encoder's. Fewer of them answer faster."""
    feed_forward: int | None = Field(default=None, ge=8)
    """Inner width of a layer's dense maps; left out, 4 times the width."""


class ImageNetwork(Section):
    """A network that looks at pictures."""

    family: Literal["lenet", "convnet", "resnet18", "resnet50", "convnext_tiny", "vit"]
    """`lenet` is LeCun's of 1998, `convnet` four small layers of convolution, the others are torchvision's."""
    layers: int | None = Field(default=None, ge=1, le=96)
    """Transformer layers of a `vit`; left out, 6. The other families have theirs."""
    width: int | None = Field(default=None, ge=8, le=16_384)
    """Of a patch's vector in a `vit`, 192 if left out, and of the first convolution of a `convnet`, 32 if left out."""
    heads: int | None = Field(default=None, ge=1)
    """Attention heads of a `vit`; left out, 3."""
    patch: int | None = Field(default=None, ge=1)
    """Side of a patch of a `vit`, in pixels; left out, 4."""
    pool: Literal["class", "mean"] | None = None
    """What the last layer of a `vit` reads: a token of its own (`class`, as if left out) or the patches' `mean`, which
    needs fewer labels after masked autoencoding (arXiv:2111.06377, appendix A.1)."""

    @model_validator(mode="after")
    def _fits_the_family(self) -> Self:
        of_vit = {"layers", "width", "heads", "patch", "pool"}
        known = {"vit": of_vit, "convnet": {"width"}}.get(self.family, set())
        for name in ("layers", "width", "heads", "patch", "pool"):
            if getattr(self, name) is not None and name not in known:
                raise ValueError(f"{name} is not for {self.family}, whose shape is fixed; leave it out")
        if self.family == "vit" and (self.width or 192) % (self.heads or 3):
            raise ValueError(f"width ({self.width or 192}) must be a multiple of heads ({self.heads or 3})")
        return self


class TableNetwork(Section):
    """A network over the features of a table's row."""

    family: Literal["linear", "mlp"]
    """`linear` is a weight for each feature, `mlp` has hidden layers between."""
    layers: int = Field(default=2, ge=1, le=32)
    """Hidden layers of an `mlp`."""
    width: int = Field(default=64, ge=1, le=16_384)
    """Of a hidden layer."""


def _family(value: Any) -> str:
    family = value.get("family", "bert") if isinstance(value, Mapping) else getattr(value, "family", "bert")
    # What no shape knows is told by the first, with the nearest word.
    return _KINDS.get(family, "encoder")


_KINDS = {
    **dict.fromkeys(get_args(ImageNetwork.model_fields["family"].annotation), "image"),
    **dict.fromkeys(get_args(TableNetwork.model_fields["family"].annotation), "table"),
    **dict.fromkeys(get_args(EncoderDecoder.model_fields["family"].annotation), "sequence"),
}


def _language_family(value: Any) -> str:
    family = value.get("family", "bert") if isinstance(value, Mapping) else getattr(value, "family", "bert")
    if family == "word2vec":
        return "words"
    return "decoder" if family in get_args(Decoder.model_fields["family"].annotation) else "encoder"


Shape = Annotated[
    Annotated[Architecture, Tag("encoder")]
    | Annotated[ImageNetwork, Tag("image")]
    | Annotated[TableNetwork, Tag("table")]
    | Annotated[EncoderDecoder, Tag("sequence")],
    Discriminator(_family),
]
"""Any of the shapes, told apart by `family`."""


def _pretrained_family(value: Any) -> str:
    return "image" if _family(value) == "image" else _language_family(value)


PretrainShape = Annotated[
    Annotated[Architecture, Tag("encoder")]
    | Annotated[Decoder, Tag("decoder")]
    | Annotated[WordTable, Tag("words")]
    | Annotated[ImageNetwork, Tag("image")],
    Discriminator(_pretrained_family),
]
"""The shapes of what learns without labels, told apart by `family`."""
