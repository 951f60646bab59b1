"""A classifier of pictures: a network, from weights or from random ones, that ends in a dense layer."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from components.finetune.learner import Learner, Start
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import Dataset
from modelmill.errors import ModelmillError, UserError
from modelmill.models import image
from modelmill.models.architecture import ImageNetwork
from modelmill.models.image_config import ImageConfig
from modelmill.models.image_networks import layers_of
from modelmill.pictures.shape import PixelShape
from modelmill.training import lora, strategy
from modelmill.training.augment_settings import Augment
from modelmill.training.distill import Parts
from modelmill.training.pixels import (
    PixelBatches,
    picture_classification,
    picture_logits,
    picture_scored,
    pixel_array,
)

# Rows that are copied from a shard at a time.
_COPIED = 1024


def prepare(settings: FinetuneSettings, dataset: Dataset, start: Start) -> Learner:
    """Return how a class is learned for rows of pixels.

    Raises:
        UserError: there are no training or validation rows, or the model does not fit the data.
        ModelmillError: a label is out of range.
    """
    labels = tuple(dataset.meta["labels"])
    shape = PixelShape.model_validate({name: dataset.meta[name] for name in PixelShape.model_fields})
    model = _model(settings, dataset, start.folder, shape, labels)
    batches = _batches(settings, dataset, "train", shape, settings.augment)
    return Learner(
        model=model,
        objective=picture_classification(settings.label_smoothing),
        parts=Parts(logits=picture_logits, scored=partial(picture_scored, label_smoothing=settings.label_smoothing)),
        batches=batches,
        steps_per_epoch=batches.steps_per_epoch,
        validation=_batches(settings, dataset, "validation", shape, None).fixed(),
        best="accuracy",
        save=_saver(model),
        meta={"labels": list(labels)},
        plan=_plan(settings, model, batches.steps_per_epoch),
    )


def _plan(settings: FinetuneSettings, model: image.ImageModel, batches: int) -> strategy.Plan | None:
    if settings.plain:
        return None
    epoch = -(-batches // settings.accumulate)
    layers = [f"network.{name}" for name in layers_of(model.network, model.config.network.family)]
    thaw_steps = epoch if settings.gradual else None
    return strategy.plan(model, settings.strategy, settings.layer_decay, thaw_steps, layers)


def _saver(model: image.ImageModel) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        lora.merge(model)
        image.save(model, folder)

    return save


def _model(
    settings: FinetuneSettings, dataset: Dataset, folder: Path | None, shape: PixelShape, labels: tuple[str, ...]
) -> image.ImageModel:
    """Return a folder's model for these labels, or one with random weights."""
    if folder is not None and settings.start == "weights":
        return image.start(folder, shape, labels, settings.dropout)
    network = image.fitting_config(folder, shape).network if folder is not None else _network(settings)
    mean, deviation = (tuple(dataset.meta[name]) for name in ("mean", "deviation"))
    return image.ImageModel(
        ImageConfig(
            network=network, pixels=shape, mean=mean, deviation=deviation, labels=labels, dropout=settings.dropout
        )
    )


def _network(settings: FinetuneSettings) -> ImageNetwork:
    network = settings.model or ImageNetwork(family="convnet")
    if not isinstance(network, ImageNetwork):
        raise UserError(f"finetune.model: {network.family} does not look at pictures; use convnet or resnet18")
    return network


def _batches(
    settings: FinetuneSettings, dataset: Dataset, split: str, shape: PixelShape, augment: Augment | None
) -> PixelBatches:
    rows = dataset.rows(split)
    if not rows:
        raise UserError(
            f"{dataset.address}: 0 rows in the {split} split of {sum(map(dataset.rows, dataset.splits))}; raise "
            f"ingest.split.{split} or give more labelled pictures"
        )
    labels_N = dataset.table(split, ["label"])["label"].to_numpy().astype(np.int64)
    odd = np.flatnonzero((labels_N < 0) | (labels_N >= len(dataset.meta["labels"])))
    if len(odd):
        raise ModelmillError(
            f"{dataset.address}: row {odd[0]} of {rows} in the {split} split has label {labels_N[odd[0]]}, and there "
            f"are {len(dataset.meta['labels'])} labels, from 0; make the dataset again"
        )
    return PixelBatches(
        pixels_NHWC=pixel_array(
            dataset.batches(split, ["pixels"], rows=_COPIED), rows, (shape.size, shape.size, shape.channels)
        ),
        labels_N=labels_N,
        batch_rows=settings.batch_rows,
        seed=settings.seed,
        augment=augment,
    )
