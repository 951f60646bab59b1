"""Build, load and save the image models: a network and all that is done before it, in one folder."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from modelmill.errors import UserError
from modelmill.models.convolution import replace_convolutions
from modelmill.models.image_config import ImageConfig, read_config
from modelmill.models.image_networks import HEADS, Normalised, build, without_head
from modelmill.pictures.shape import PixelShape

WEIGHTS_FILE = "model.safetensors"
# How the formats that are pickles, or hold some, are called.
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


class ImageModel(Normalised):
    """A classifier of pixels [B, H, W, C] that knows its configuration; without labels, what makes features of them."""

    def __init__(self, config: ImageConfig) -> None:
        # Without labels it ends in features; a last layer without outputs could not be made to be taken off.
        network = build(config.network, config.pixels, len(config.labels) or 1, config.dropout)
        if not config.labels:
            without_head(network)
        replace_convolutions(network)
        super().__init__(network, config.mean, config.deviation)
        self.config = config
        # Measured on two cores with a small ConvNet in bf16: 2,216 pictures a second and not 860.
        self.to(memory_format=torch.channels_last)


def load(folder: Path) -> ImageModel:
    """Return the classifier that a folder holds, whole.

    Raises:
        UserError: the folder holds no such model, or not all of its weights.
    """
    model = ImageModel(read_config(folder))
    # Its random weights go as the file's come: a model is held once.
    _load_weights(model, folder, new=(), assign=True)
    # A file has the plain order of memory.
    return model.to(memory_format=torch.channels_last)


def start(folder: Path, pixels: PixelShape, labels: Sequence[str], dropout: float) -> ImageModel:
    """Return a classifier over labels with a folder's weights; its last layer is new if it was for other labels.

    Size and normalisation are the folder's: its weights were made for them.

    Raises:
        UserError: the folder holds no such model, or it looks at pictures of another size or kind than the data's.
    """
    config = fitting_config(folder, pixels)
    same = config.labels == tuple(labels)
    model = ImageModel(config.model_copy(update={"labels": tuple(labels), "pixels": pixels, "dropout": dropout}))
    _load_weights(model, folder, new=() if same else HEADS)
    return model


def fitting_config(folder: Path, pixels: PixelShape) -> ImageConfig:
    """Return the configuration of a folder whose model can look at such pixels.

    Raises:
        UserError: it cannot; the message has both sizes.
    """
    config = read_config(folder)
    for name, words in (("size", "pixels a side"), ("channels", "channels")):
        ours, theirs = getattr(config.pixels, name), getattr(pixels, name)
        if ours != theirs:
            raise UserError(
                f"{folder}: looks at pictures of {ours} {words}, and the data's have {theirs}; write "
                f"preprocess.images.{name}: {ours}, or leave it out"
            )
    return config


def save(model: ImageModel, folder: Path) -> None:
    """Write config.json and model.safetensors."""
    model.config.write(folder)
    weights = {name: weight.contiguous() for name, weight in model.network.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE, {"format": "pt"})


def _load_weights(model: ImageModel, folder: Path, new: tuple[str, ...], *, assign: bool = False) -> None:
    """Put a folder's weights into a model; those whose names begin with one of `new` stay as they are.

    With `assign` they take the place of its own, and are read from the file as they are needed.

    Raises:
        UserError: weights are missing, too many, or of another shape, or the file is none.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise _no_weights(folder)
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: no safetensors ({error}); save the weights as safetensors: no other format is read"
        ) from error
    wanted = model.network.state_dict()
    absent = sorted(name for name in wanted.keys() - found.keys() if not name.startswith(new or ("\0",)))
    odd = sorted(name for name in found.keys() - wanted.keys() if not name.startswith(new or ("\0",)))
    if absent or odd:
        said = f"{len(absent)} of {len(wanted)} weights are missing" if absent else f"{len(odd)} weights are not known"
        raise UserError(
            f"{path}: {said}, the first is {(absent or odd)[0]!r}; {folder / 'config.json'} describes another network"
        )
    kept = {name: found[name] for name in wanted if name in found and not name.startswith(new or ("\0",))}
    for name, weight in kept.items():
        if weight.shape != wanted[name].shape:
            raise UserError(
                f"{path}: {name} has the shape {tuple(weight.shape)}, and config.json describes one of "
                f"{tuple(wanted[name].shape)}; copy both files from one model"
            )
    if assign:
        kept = {name: weight.to(wanted[name].dtype) for name, weight in kept.items()}
    model.network.load_state_dict(kept, strict=False, assign=assign)


def _no_weights(folder: Path) -> UserError:
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    pickles = [name for name in there if name.endswith(_PICKLES)]
    if pickles:
        return UserError(
            f"{folder / pickles[0]}: refused: a pickle runs whatever its maker put in when it is opened; save "
            f"the weights as {WEIGHTS_FILE}"
        )
    listed = ", ".join(there[:10]) or "nothing"
    return UserError(f"{folder}: 1 file is missing, {WEIGHTS_FILE}; there is {listed}; name a whole model's folder")
