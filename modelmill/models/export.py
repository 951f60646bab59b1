"""Exports a model as one graph, ONNX or TorchScript, that answers as the model does: checked on rows before it is kept.

What stands before the weights (tokenizing, decoding pictures, transforming tables) is no part of the graph; its files
lie beside it, and `export.json` says what the graph reads.
"""

# B rows of a batch, T tokens, L labels

import json
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from modelmill.errors import ModelmillError, UserError
from modelmill.models import text
from modelmill.models.image_predictor import ImagePredictor
from modelmill.models.quantized import KEY
from modelmill.models.table_predictor import TablePredictor
from modelmill.models.text_predictor import TextPredictor

Format = Literal["onnx", "torchscript"]
FORMATS: tuple[str, ...] = get_args(Format)
Arrays = list[npt.NDArray[Any]]

TOLERANCE = 1e-4
"""Of a probability, or as a share of a number (where that is above 1): single precision sums in another order."""
# The newest that onnxruntime 1.16 of 2023 and all later ones read.
OPSET = 18
_WEIGHTS = ("model.safetensors", "model.int8.safetensors")
_REFUSED = {
    "sequence-to-sequence": "an answer is searched for token by token over many passes",
    "causal-lm": "an answer is drawn token by token over many passes",
    "masked-lm": "it fills in as many tokens as a text has masks, which no fixed output holds",
    "word-embeddings": "it looks words up in a table, which model.safetensors is",
    "question-answering": "an answer is searched for over windows of the context, outside of the network",
}


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A network whose output is the answer itself: probabilities [B, L], or a number [B]."""

    module: nn.Module
    inputs: tuple[str, ...]
    dynamic: tuple[Mapping[int, str], ...]
    """Of each input, the axes whose size may change, by name."""
    arrays: Callable[[Sequence[Any]], Arrays]
    """From what a predictor is asked to the network's inputs."""
    output: str
    reads: str
    """What the inputs are, for whoever uses the graph."""


def graph_of(predictor: Any, task: str) -> Graph:
    """Return the network of a predictor as one graph.

    Raises:
        UserError: its answers are not those of one graph.
    """
    if isinstance(predictor, TextPredictor):
        typed = predictor.pairs and text.family(predictor.model).typed
        names = ("input_ids", "attention_mask", *(("token_type_ids",) if typed else ()))
        return Graph(
            module=_Text(predictor.model),
            inputs=names,
            dynamic=({0: "batch", 1: "tokens"},) * len(names),
            arrays=lambda asked: predictor.arrays(asked)[: len(names)],
            output="probabilities",
            reads=f"int64 token ids by tokenizer.json, at most {predictor.max_tokens} with their marks, and a mask",
        )
    if isinstance(predictor, ImagePredictor):
        side, channels = predictor.model.config.pixels.size, predictor.model.config.pixels.channels
        return Graph(
            module=_Softmax(predictor.model),
            inputs=("pixels",),
            dynamic=({0: "batch"},),
            arrays=lambda asked: [predictor.pixels(asked)],
            output="probabilities",
            reads=f"uint8 pixels [batch, {side}, {side}, {channels}], resized as config.json says",
        )
    if isinstance(predictor, TablePredictor):
        target = predictor.model.config.target
        return Graph(
            module=_Softmax(predictor.model) if target is None else _Number(predictor.model, target.unit, target.mean),
            inputs=("features",),
            dynamic=({0: "batch"},),
            arrays=lambda asked: [predictor.transforms.of_rows(asked)[0]],
            output="probabilities" if target is None else "prediction",
            reads="float32 vectors that transforms.json makes of rows",
        )
    raise UserError(
        f"a model for {task} is no one graph: {_REFUSED.get(task, 'its answers are made outside of the network')}; "
        "serve it with `modelmill models serve`"
    )


class _Text(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        logits_BL = text.family(self.model).classify(self.model, input_ids, attention_mask, token_type_ids)
        return logits_BL.softmax(dim=1)


class _Softmax(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        probability_BL: Tensor = self.model(inputs).softmax(dim=1)
        return probability_BL


class _Number(nn.Module):
    def __init__(self, model: nn.Module, unit: float, mean: float) -> None:
        super().__init__()
        self.model, self.unit, self.mean = model, unit, mean

    def forward(self, inputs: Tensor) -> Tensor:
        number_B: Tensor = self.model(inputs).squeeze(1) * self.unit + self.mean
        return number_B


def export(
    predictor: Any, folder: Path, output: Path, kind: str, opset: int | None, rows: Sequence[Any]
) -> dict[str, Any]:
    """Write a model as a graph, with what stands before it, and return `export.json`; nothing is left of a failure.

    `rows` are what the predictor is asked to see that both give the same answers.

    Raises:
        UserError: the task, the format or the output does not allow it.
        ModelmillError: the graph answers otherwise than the model.
    """
    if kind not in FORMATS:
        raise UserError(f"--format {kind}: there are {' and '.join(FORMATS)}")
    if opset is not None and kind != "onnx":
        raise UserError("--opset is for --format onnx; leave it out")
    if output.exists():
        raise UserError(f"{output}: is there already; name a folder that is not")
    facts = json.loads((folder / "modelmill.json").read_text())
    if KEY in facts:
        raise UserError(f"{folder}: quantised, which no graph can say; export the model that it was made from")
    graph = graph_of(predictor, facts["task"])
    predictor.model.to("cpu").eval()
    wanted = np.asarray(predictor.predict(rows))
    part = output.with_name(f".{output.name}-{uuid.uuid4().hex}")
    part.mkdir(parents=True)
    try:
        run, facts_of_format = _WRITERS[kind](graph, part, opset, graph.arrays(rows))
        parity = _parity(wanted, _answered(graph, run, rows), len(rows))
        told = {"format": kind, "model": facts.get("digest", ""), "task": facts["task"], "inputs": list(graph.inputs)}
        told |= {"reads": graph.reads, "output": graph.output, "labels": list(predictor.labels), **facts_of_format}
        told["parity"] = parity
        for path in folder.iterdir():
            if path.is_file() and path.name not in _WEIGHTS:
                shutil.copy2(path, part / path.name)
        (part / "export.json").write_text(json.dumps(told, indent=2) + "\n")
        part.rename(output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return told


def _answered(graph: Graph, run: Callable[[Arrays], npt.NDArray[Any]], rows: Sequence[Any]) -> npt.NDArray[Any]:
    """Return the graph's answers, to all rows together and to the first alone: another batch, and another length."""
    together = run(graph.arrays(rows))
    alone = run(graph.arrays(rows[:1]))
    _parity(together[:1], alone, 1)
    return together


def _parity(wanted: npt.NDArray[Any], found: npt.NDArray[Any], rows: int) -> dict[str, Any]:
    if wanted.shape != found.shape or not np.isfinite(found).all():
        raise ModelmillError(f"the graph answers {found.shape}, the model {wanted.shape}; nothing was kept")
    differences = np.abs(wanted - found) / np.maximum(1.0, np.abs(wanted))
    worst = float(differences.max())
    if worst > TOLERANCE:
        raise ModelmillError(
            f"the graph answers {rows} rows otherwise than the model: by {worst:.2g} at most, {TOLERANCE:g} is "
            "allowed; nothing was kept; try another --opset or --format"
        )
    return {"rows": rows, "largest_difference": worst, "tolerance": TOLERANCE}


def _onnx(
    graph: Graph, folder: Path, opset: int | None, arrays: Arrays
) -> tuple[Callable[[Arrays], Any], dict[str, Any]]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - what torch writes ONNX with
    except ImportError as error:
        raise UserError(f"--format onnx needs {error.name}; install modelmill[onnx], or take torchscript") from error
    path = folder / "model.onnx"
    dims = {name: torch.export.Dim.DYNAMIC for axes in graph.dynamic for name in axes.values()}
    shapes = tuple({axis: dims[name] for axis, name in axes.items()} for axes in graph.dynamic)
    with _quiet():
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(_example(arrays)),
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=[graph.output],
            dynamic_shapes=shapes,
            opset_version=opset or OPSET,
            verbose=False,
        )
        assert program is not None
        # Beyond 2 GB a file of ONNX cannot be; then its weights lie beside it.
        program.save(str(path), external_data=_bytes(graph.module) > 1 << 30)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(given: Arrays) -> Any:
        return session.run([graph.output], dict(zip(graph.inputs, given, strict=True)))[0]

    made_with = {name: version(name) for name in ("torch", "onnxscript", "onnxruntime")}
    return run, {"file": path.name, "opset": opset or OPSET, "made_with": made_with}


def _torchscript(
    graph: Graph, folder: Path, _opset: int | None, arrays: Arrays
) -> tuple[Callable[[Arrays], Any], dict[str, Any]]:
    path = folder / "model.pt"
    with _quiet(), torch.no_grad():
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            graph.module.eval(), tuple(_example(arrays)), check_trace=False
        )
        traced.save(str(path))
        loaded = torch.jit.load(str(path))  # type: ignore[no-untyped-call]

    def run(given: Arrays) -> Any:
        with torch.inference_mode():
            return loaded(*map(torch.from_numpy, given)).numpy()

    return run, {"file": path.name, "made_with": {"torch": version("torch")}}


_WRITERS = {"onnx": _onnx, "torchscript": _torchscript}


def _example(arrays: Arrays) -> list[Tensor]:
    """Return inputs of two rows at least: a graph that saw one takes 1 for the only size there is."""
    return [torch.from_numpy(np.concatenate([array, array]) if len(array) == 1 else array) for array in arrays]


def _bytes(module: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' dealings with themselves (deprecations, shapes that they fix) from a person."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
