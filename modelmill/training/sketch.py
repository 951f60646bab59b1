"""A model and a batch of an outline, as the stages would make them, for tensors that hold nothing."""

# B rows of a batch, T tokens, K hidden ones of a row, U tokens of a target, W words around one

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

from modelmill.errors import UserError
from modelmill.models import causal, image, sequence, table, text, word_vectors
from modelmill.models.architecture import (
    Architecture,
    Decoder,
    EncoderDecoder,
    ImageNetwork,
    TableNetwork,
    WordTable,
)
from modelmill.models.image_config import ImageConfig, read_config
from modelmill.models.image_networks import layers_of
from modelmill.models.questions import Decoder as AnswerDecoder
from modelmill.pictures.shape import PixelShape
from modelmill.training import (
    contrastive,
    distill,
    masked_pictures,
    objectives,
    pixels,
    strategy,
    text_objectives,
    word_objectives,
)
from modelmill.training.data import Batch
from modelmill.training.objectives import Objective
from modelmill.training.outline import Outline
from modelmill.training.question_settings import Questions
from modelmill.training.settings import Whole
from modelmill.training.spans import Spans

_SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
_PATCH = 4  # of a `vit` that says nothing


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """What is needed for one step."""

    model: torch.nn.Module
    objective: Objective
    batch: Callable[[int], Batch]
    """A batch of so many rows."""
    parts: distill.Parts | None = None
    """The objective in two, where a teacher may stand beside."""
    layers: tuple[str, ...] | None = None
    """Names of the layers of a network that is no list of them."""


def sketch(outline: Outline) -> Sketch:
    """Return model, objective and batches of an outline; what learns is decided by its strategy.

    Raises:
        UserError: the base's configuration is of another kind of model, or the strategy does not fit the model.
    """
    made = _MAKERS[outline.learned](outline)
    if outline.strategy != Whole(name="full"):
        layers = None if made.layers is None else list(made.layers)
        strategy.plan(made.model, outline.strategy, layers=layers)
    return made


def _ints(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


def _truths(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.bool)


def _batch(rows: int, tokens: int, **tensors: Tensor) -> Batch:
    return Batch(tensors=tensors, rows=rows, tokens=rows * tokens)


def _encoder(outline: Outline, folder: str = "") -> Any:
    """Return the configuration of an encoder: a folder's, the base's, or of a new shape."""
    if folder or outline.base:
        return text.read_config(Path(folder or outline.base))
    shape = outline.shape or Architecture()
    if not isinstance(shape, Architecture):
        raise UserError(f"model.family: {shape.family} is no encoder of texts; use bert or modernbert")
    return text.new_config(shape, outline.vocabulary, outline.tokens, _SPECIAL["pad"])


def _masked_lm(outline: Outline) -> Sketch:
    config = _encoder(outline)
    model = text.new_model(text.family(config).masked_lm, config)
    text.family(model).set_dropout(model, outline.training.dropout)
    hidden = max(1, round(outline.tokens * outline.hidden_share))

    def batch(rows: int) -> Batch:
        return _batch(
            rows, outline.tokens, ids=_ints(rows, outline.tokens), positions=_ints(rows, hidden),
            real=_truths(rows, hidden), targets=_ints(rows * hidden),
        )  # fmt: skip

    return Sketch(model=model, objective=text_objectives.masked_lm, batch=batch)


def _causal_lm(outline: Outline) -> Sketch:
    if outline.base:
        config = text.read_config(Path(outline.base), ("gpt2", "llama"))
    else:
        assert isinstance(outline.shape, Decoder)
        config = causal.new_config(outline.shape, outline.vocabulary, outline.tokens, _SPECIAL)
    model = text.new_model(causal.class_of(config), config)
    causal.set_dropout(model, outline.training.dropout)

    def batch(rows: int) -> Batch:
        shape = (rows, outline.tokens)
        return _batch(rows, outline.tokens, ids=_ints(*shape), targets=_ints(*shape))

    return Sketch(model=model, objective=text_objectives.causal_lm, batch=batch)


def _words(outline: Outline) -> Sketch:
    assert isinstance(outline.shape, WordTable)
    config = word_vectors.WordConfig(
        objective="cbow" if outline.learned == "cbow" else "skip-gram",
        vocabulary=outline.vocabulary,
        width=outline.shape.width,
        window=outline.window,
        negatives=outline.negatives,
        subsample=0.0,
    )

    def batch(rows: int) -> Batch:
        around = (rows, 2 * outline.window)
        return _batch(rows, 1, words=_ints(rows), contexts=_ints(*around), real=_truths(*around), noise=_ints(rows))

    objective = word_objectives.OBJECTIVES[outline.learned]
    return Sketch(model=word_vectors.WordVectors(config), objective=objective, batch=batch)


def _labelled(outline: Outline, **labels: tuple[int, ...]) -> Callable[[int], Batch]:
    def batch(rows: int) -> Batch:
        shape = (rows, outline.tokens)
        told = {name: _ints(rows, *rest) for name, rest in labels.items()}
        return _batch(rows, outline.tokens, ids=_ints(*shape), attention=_truths(*shape), **told)

    return batch


def _classes(outline: Outline, folder: str = "") -> Sketch:
    config = _encoder(outline, folder)
    config.num_labels = outline.classes
    model = text.new_model(text.family(config).classifier, config)
    text.family(model).set_dropout(model, outline.training.dropout)
    parts = distill.Parts(logits=text_objectives.class_logits, scored=objectives.classified)
    return Sketch(
        model=model, objective=text_objectives.classification, batch=_labelled(outline, labels=()), parts=parts
    )


def _spans(outline: Outline) -> Sketch:
    config = _encoder(outline)
    config.num_labels = 2
    model = text.new_model(text.family(config).spans, config)
    text.family(model).set_dropout(model, outline.training.dropout)
    objective = Spans(decoder=AnswerDecoder(questions=Questions(), unanswerable=False), validation=())
    return Sketch(model=model, objective=objective, batch=_labelled(outline, labels=(3,)))


def _targets(outline: Outline) -> Sketch:
    if outline.base:
        config = text.read_config(Path(outline.base), ("t5", "bart", "marian"))
    else:
        shape = outline.shape or EncoderDecoder(family="transformer")
        if not isinstance(shape, EncoderDecoder):
            raise UserError(f"model.family: {shape.family} writes no sequences; use transformer, t5 or bart")
        longest = max(outline.tokens, outline.target_tokens + 1)
        config = sequence.new_config(shape, outline.vocabulary, longest, _SPECIAL)
    model = text.new_model(sequence.class_of(config), config)
    sequence.set_dropout(model, outline.training.dropout)

    def batch(rows: int) -> Batch:
        source, target = (rows, outline.tokens), (rows, outline.target_tokens)
        return _batch(
            rows, outline.tokens + outline.target_tokens, ids=_ints(*source), attention=_truths(*source),
            inputs=_ints(*target), wanted=_truths(*target), targets=_ints(rows * outline.target_tokens),
        )  # fmt: skip

    return Sketch(model=model, objective=text_objectives.target_tokens, batch=batch)


def _network(outline: Outline, classes: int, folder: str = "") -> image.ImageModel:
    config = _image_config(outline, tuple(map(str, range(classes))), folder)
    # The order of memory of a fake tensor's weights cannot be changed: made without any memory, they have it at once.
    with unset_fake_temporarily(), torch.device("meta"):
        model = image.ImageModel(config)
    return model.to_empty(device="cpu")


def _image_config(outline: Outline, labels: tuple[str, ...], folder: str) -> ImageConfig:
    if folder or outline.base:
        return read_config(Path(folder or outline.base)).model_copy(update={"labels": labels})
    shape = outline.shape or ImageNetwork(family="convnet")
    if not isinstance(shape, ImageNetwork):
        raise UserError(f"model.family: {shape.family} does not look at pictures; use convnet or resnet18")
    looked = _looked_at(outline)
    flat = (0.5,) * looked.channels
    dropout = outline.training.dropout
    return ImageConfig(network=shape, pixels=looked, mean=flat, deviation=flat, labels=labels, dropout=dropout)


def _looked_at(outline: Outline) -> PixelShape:
    return outline.pixels or PixelShape(size=224, channels=3, resize="crop", gray=False)


def _pixels(model: image.ImageModel, rows: int) -> Tensor:
    shape = model.config.pixels
    return torch.zeros((rows, shape.size, shape.size, shape.channels), dtype=torch.uint8)


def _pictures(outline: Outline, folder: str = "") -> Sketch:
    model = _network(outline, max(outline.classes, 2), folder)

    def batch(rows: int) -> Batch:
        return _batch(rows, 1, pixels=_pixels(model, rows), labels=_ints(rows))

    return Sketch(
        model=model,
        objective=pixels.picture_classification(0.0),
        batch=batch,
        parts=distill.Parts(logits=pixels.picture_logits, scored=partial(pixels.picture_scored, label_smoothing=0.0)),
        layers=tuple(f"network.{name}" for name in layers_of(model.network, model.config.network.family)),
    )


def _masked_pictures(outline: Outline) -> Sketch:
    encoder = _network(outline, 0)
    patches = (encoder.config.pixels.size // (encoder.config.network.patch or _PATCH)) ** 2
    seen = patches - round(patches * outline.hidden_share)

    def batch(rows: int) -> Batch:
        return _batch(rows, 1, pixels=_pixels(encoder, rows), order=_ints(rows, patches))

    model = masked_pictures.MaskedAutoencoder(encoder, outline.decoder)
    return Sketch(model=model, objective=masked_pictures.filling_in(seen, normalise=True), batch=batch)


def _views(outline: Outline) -> Sketch:
    encoder = _network(outline, 0)

    def batch(rows: int) -> Batch:
        # Fewer than two cannot be compared.
        count = max(rows, 2)
        return _batch(count, 1, first=_pixels(encoder, count), second=_pixels(encoder, count))

    model = contrastive.Contrastive(encoder, outline.projection)
    return Sketch(model=model, objective=contrastive.telling_apart(0.5), batch=batch)


def _rows(outline: Outline) -> Sketch:
    shape = outline.shape or TableNetwork(family="mlp")
    if not isinstance(shape, TableNetwork):
        raise UserError(f"model.family: {shape.family} does not read a table's rows; use linear or mlp")
    config = table.TableConfig(shape=shape, inputs=outline.features, outputs=max(outline.classes, 2))
    model = table.TableModel(config, outline.training.dropout)

    def batch(rows: int) -> Batch:
        return _batch(rows, 1, features=torch.zeros(rows, outline.features), answers=_ints(rows))

    return Sketch(model=model, objective=objectives.row_classification, batch=batch)


_MAKERS: Mapping[str, Callable[[Outline], Sketch]] = {
    "masked-lm": _masked_lm,
    "causal-lm": _causal_lm,
    "skip-gram": _words,
    "cbow": _words,
    "masked-autoencoder": _masked_pictures,
    "simclr": _views,
    "classes": _classes,
    "spans": _spans,
    "targets": _targets,
    "pictures": _pictures,
    "rows": _rows,
}


def teacher(outline: Outline) -> torch.nn.Module:
    """Return the teacher of an outline."""
    made = _pictures(outline, outline.teacher) if outline.learned == "pictures" else _classes(outline, outline.teacher)
    return made.model.eval().requires_grad_(False)
