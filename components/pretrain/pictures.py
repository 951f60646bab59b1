"""What is learned from pictures without labels: a network whose last layer fine-tuning puts on."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from components.pretrain.made import Learner, pin
from components.pretrain.settings import Pretrain, PretrainSettings
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.models import image
from modelmill.models.architecture import ImageNetwork
from modelmill.models.base import base_folder
from modelmill.models.image_config import ImageConfig
from modelmill.pictures.shape import PixelShape
from modelmill.training import contrastive
from modelmill.training import masked_pictures as masked
from modelmill.training.data import Batch
from modelmill.training.pixels import pixel_array
from modelmill.training.unlabelled import Make, UnlabelledBatches

RECONSTRUCTIONS_FILE = "reconstructions.png"
# Rows that are copied from a shard at a time.
_COPIED = 1024
# The most batches that a look at the validation rows takes.
_VALIDATION_BATCHES = 64
# Pictures that are drawn.
_DRAWN = 8


def prepare(settings: PretrainSettings, dataset: Dataset, base: str) -> Learner:
    """Return how the objective is learned from the pixels of a corpus.

    Raises:
        UserError: there are too few pictures, or the network does not fit them.
        ModelmillError: the base model is not what it was.
    """
    for split in ("train", "validation"):
        if dataset.rows(split) < 2:
            raise UserError(
                f"ingest.corpus: {dataset.rows(split)} pictures in its {split} split of "
                f"{sum(map(dataset.rows, dataset.splits))}, and {settings.objective} needs 2: give more pictures"
            )
    encoder = _encoder(settings, dataset, base)
    learner = _masked if settings.objective == "masked-autoencoder" else _contrastive
    return learner(settings, dataset, encoder)


def _masked(settings: PretrainSettings, dataset: Dataset, encoder: image.ImageModel) -> Learner:
    network = encoder.config.network
    if network.family != "vit":
        raise UserError(
            f"pretrain.objective: masked-autoencoder leaves patches out, which a vit can, and the base is a "
            f"{network.family}; use simclr"
        )
    patches = (encoder.config.pixels.size // (network.patch or 4)) ** 2
    hidden = round(patches * settings.hidden_share)
    if not 0 < hidden < patches:
        raise UserError(
            f"pretrain.mask_rate: {settings.hidden_share:g} of {patches} patches hides {hidden} of them; at least one "
            "must be hidden and one seen: change it, or take smaller patches (model.patch)"
        )
    seen = patches - hidden
    model = masked.MaskedAutoencoder(encoder, settings.decoder)
    make = masked.masking(patches, settings.augment)
    validation = _batches(settings, dataset, "validation", masked.masking(patches, None)).fixed(_VALIDATION_BATCHES)

    def save(folder: Path) -> None:
        image.save(encoder, folder)
        drawn = validation[0].rows_between(0, min(_DRAWN, validation[0].rows))
        place = next(encoder.parameters()).device
        _draw(masked.reconstructed(model, drawn.to(place), seen, normalise=settings.normalise_patches), folder)

    figures = {"patches": patches, "hidden_patches": hidden}
    objective = masked.filling_in(seen, normalise=settings.normalise_patches)
    return _learner(settings, dataset, model, (objective, make, validation, save), figures)


def _contrastive(settings: PretrainSettings, dataset: Dataset, encoder: image.ImageModel) -> Learner:
    make = contrastive.two_views(settings.views)
    validation = _batches(settings, dataset, "validation", make).fixed(_VALIDATION_BATCHES)

    def save(folder: Path) -> None:
        image.save(encoder, folder)

    model = contrastive.Contrastive(encoder, settings.projection)
    return _learner(
        settings, dataset, model, (contrastive.telling_apart(settings.temperature), make, validation, save), {}
    )


def _learner(
    settings: PretrainSettings,
    dataset: Dataset,
    model: Any,
    parts: tuple[Any, Make, list[Batch], Callable[[Path], None]],
    figures: dict[str, Any],
) -> Learner:
    objective, make, validation, save = parts
    pictures = dataset.rows("train")
    epochs = settings.steps * settings.batch_rows * settings.accumulate / pictures
    return Learner(
        model=model,
        objective=objective,
        batches=_batches(settings, dataset, "train", make),
        validation=validation,
        figures={"pictures": pictures, "epochs": round(epochs, 2), **figures},
        save=save,
    )


def _encoder(settings: PretrainSettings, dataset: Dataset, base: str) -> image.ImageModel:
    """Return a network that makes features, with a base's weights or with random ones."""
    shape = PixelShape.model_validate({name: dataset.meta[name] for name in PixelShape.model_fields})
    if settings.model is None:
        return image.start(base_folder(pin(settings, base)), shape, (), settings.dropout)
    assert isinstance(settings.model, ImageNetwork)
    mean, deviation = (tuple(dataset.meta[name]) for name in ("mean", "deviation"))
    return image.ImageModel(
        ImageConfig(network=settings.model, pixels=shape, mean=mean, deviation=deviation, dropout=settings.dropout)
    )


def _batches(settings: Pretrain, dataset: Dataset, split: str, make: Make) -> UnlabelledBatches:
    size, channels, rows = dataset.meta["size"], dataset.meta["channels"], dataset.rows(split)
    columns = dataset.batches(split, ["pixels"], rows=_COPIED)
    return UnlabelledBatches(
        pixels_NHWC=pixel_array(columns, rows, (size, size, channels)),
        batch_rows=settings.batch_rows,
        seed=settings.seed,
        make=make,
    )


def _draw(pixels_HWC: Any, folder: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(pixels_HWC[:, :, 0] if pixels_HWC.shape[2] == 1 else pixels_HWC).save(file, "PNG")
    (folder / RECONSTRUCTIONS_FILE).write_bytes(file.getvalue())
