"""Build, save and load the networks over a table's vectors: linear ones and multilayer perceptrons."""

# B rows of a batch, F numbers of a vector, O outputs: one for a number, one for each class

from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from modelmill.errors import UserError
from modelmill.models.architecture import TableNetwork
from modelmill.settings import Section

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Target(Section):
    """The figures of a number's training values; the network answers in deviations from their mean."""

    name: str
    mean: float
    deviation: float

    @property
    def unit(self) -> float:
        """What one of the network's units is in the target's; 1 where all training values are the same."""
        return self.deviation or 1.0


class TableConfig(Section):
    """All that the network is built from."""

    shape: TableNetwork
    inputs: int
    """Numbers of a vector."""
    outputs: int
    target: Target | None = None
    """None where a class is predicted."""


class TableModel(nn.Module):
    """A network from vectors to a number or to a score for each class."""

    def __init__(self, config: TableConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        hidden = config.shape.layers if config.shape.family == "mlp" else 0
        widths = [config.inputs, *([config.shape.width] * hidden)]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], config.outputs))

    def forward(self, features_BF: Tensor) -> Tensor:
        """Return the outputs [B, O]: of a number, in deviations from the mean of the training values."""
        outputs_BO: Tensor = self.layers(features_BF)
        return outputs_BO


def save(model: TableModel, folder: Path) -> None:
    """Write config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(model.config.model_dump_json(indent=1) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / WEIGHTS)


def load(folder: Path) -> TableModel:
    """Return the model of a folder, which answers alone: nothing is dropped.

    Raises:
        UserError: the folder holds no such model, or other weights than its configuration says.
    """
    try:
        model = TableModel(TableConfig.model_validate_json((folder / CONFIG).read_bytes()))
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, ValidationError, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder}: no network over a table's rows: {first}") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if odd:
        raise UserError(
            f"{folder}: {len(odd)} of {len(wanted)} weights are missing or of another shape than {CONFIG} says, the "
            f"first is {odd[0]} ({found.get(odd[0], 'missing')}, wanted {wanted.get(odd[0], 'none')}); take the whole "
            "folder of one model"
        )
    # Its random weights go as the file's come: a model is held once.
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: tensor.to(dtypes[name]) for name, tensor in weights.items()}, assign=True)
    return model.eval()
