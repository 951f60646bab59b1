"""What MLflow keeps of a model: its folder with the library that answers by it, as MLflow loads and serves them."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from modelmill.models.folder import MODEL_FILE
from modelmill.models.interface import Interface, interface
from modelmill.models.tokenizer import segment_of

log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).resolve().parent.parent
# What loading and answering needs; register itself has no torch.
_SERVING = ("mlflow", "numpy", "pandas", "pydantic", "safetensors", "tokenizers", "torch", "transformers")
_SERVING_PICTURES = ("pillow", "torchvision")


def pack(packed: Path, folder: Path, *, logged: Any, run: str, example: Any) -> None:
    """Write the folder that MLflow loads and serves.

    `mlflow.pyfunc.log_model` would do this too, but would also try the input example, which loads the weights: there is
    no torch where models are registered.
    """
    import mlflow
    import pandas as pd

    facts = (folder / MODEL_FILE).read_text()
    served = interface(json.loads(facts))
    described = mlflow.models.Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        run_id=run,
        metadata={"modelmill": facts},
    )
    library = packed.with_name(f"{packed.name}-library") / "modelmill.zip"
    _archive(library)
    with warnings.catch_warnings(), _requirements_as_given():
        # Its dealings with pandas are its own.
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            str(packed),
            mlflow_model=described,
            python_model=str(_PACKAGE / "models" / "serve.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(library)],
            signature=signature(served),
            input_example=pd.DataFrame([served.given(example)]),
            pip_requirements=_requirements(*_more(folder, served)),
        )


def _archive(path: Path) -> None:
    """Write this library as one file: as hundreds, they would be hundreds of requests each time a version is moved."""
    path.parent.mkdir(exist_ok=True)
    with ZipFile(path, "w") as made:
        for file in sorted(_PACKAGE.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                # Without its time, so that the same library has the same bytes.
                made.writestr(ZipInfo(str(file.relative_to(_PACKAGE.parent))), file.read_bytes(), ZIP_DEFLATED)


@contextmanager
def _requirements_as_given() -> Iterator[None]:
    """Keep MLflow from reading the list of every installed package's files, for a second.

    It would find out which package a requirement's module is of, to warn where another version is installed than is
    required; ours are of what is installed.
    """
    from mlflow.utils import requirements_utils

    # Where another MLflow has no such thing, only the second is spent.
    before = getattr(requirements_utils, "_MODULES_TO_PACKAGES", None)
    requirements_utils._MODULES_TO_PACKAGES = before or {}
    try:
        yield
    finally:
        requirements_utils._MODULES_TO_PACKAGES = before


def signature(served: Interface) -> Any:
    """Return what MLflow checks requests by, and tells of answers."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Map

    inputs = [ColSpec(DataType[kind], name, required=not served.optional) for name, kind in served.columns.items()]
    outputs = [ColSpec(DataType.double, "prediction")]
    if served.text:
        outputs = [ColSpec(DataType.string, served.text)]
    if served.record:
        outputs = [ColSpec(DataType[kind], name) for name, kind in served.record.items()]
    if served.classes:
        outputs = [
            ColSpec(DataType.string, "label"),
            ColSpec(DataType.double, "probability"),
            ColSpec(Map(DataType.double), "probabilities"),
        ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _more(folder: Path, served: Interface) -> list[str]:
    """Return what this model needs beside what all do."""
    segment = segment_of(folder)
    return [*(_SERVING_PICTURES if "image" in served.columns else ()), *([segment] if segment else [])]


def _requirements(*more: str) -> list[str]:
    requirements = []
    for name in (*_SERVING, *more):
        try:
            requirements.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            log.warning("%s is not installed here, so the model's requirements name it without a version", name)
            requirements.append(name)
    return requirements
