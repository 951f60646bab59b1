"""What `config.json` of an image model says: the network, and all that is done before it. Needs no torch."""

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from modelmill.errors import UserError
from modelmill.models.architecture import ImageNetwork
from modelmill.pictures.shape import PixelShape
from modelmill.settings import Section

CONFIG_FILE = "config.json"


class ImageConfig(Section):
    """A network and what it looks at."""

    network: ImageNetwork
    pixels: PixelShape
    mean: tuple[float, ...]
    """Of each channel, from 0 to 1; taken off before the network."""
    deviation: tuple[float, ...]
    """Of each channel, on the same scale; what is left is divided by it."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in the order of the outputs."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the inputs of dense maps that was set to 0 while learning, in the families that do so."""

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        if not len(self.mean) == len(self.deviation) == self.pixels.channels or min(self.deviation, default=0) <= 0:
            raise ValueError(
                f"{len(self.mean)} means and {len(self.deviation)} deviations for {self.pixels.channels} channels; "
                "each channel has one of both, deviations above 0"
            )
        return self

    def write(self, folder: Path) -> None:
        """Write `config.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(self.model_dump_json(indent=2) + "\n")


def read_config(folder: Path) -> ImageConfig:
    """Return what a model's folder says.

    Raises:
        UserError: it has no `config.json`, or one of another kind of model.
    """
    path = folder / CONFIG_FILE
    try:
        return ImageConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); an image model's folder has one") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{path}: not the configuration of an image model of modelmill's ({where}: {first['msg']}, "
            f"{error.error_count()} such faults); name a folder that a recipe for images has made"
        ) from error
