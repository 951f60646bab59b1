"""Whether an image is whole, in a second: `python3 -m modelmill.health`, for Docker, a probe, or a person.

It prints one JSON object: what this is, of which version, whose it is, and what is wrong with it.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from types import ModuleType
from typing import Any

from modelmill import __version__
from modelmill.errors import ModelmillError
from modelmill.version import git_commit

IMAGE_VARIABLE = "MODELMILL_IMAGE"
"""The kind of the image that this runs in; an image sets it."""
_PORT = 5000
_SECONDS = 10
_SHARED = {
    "alembic": "alembic",
    "boto3": "boto3",
    "jinja2": "jinja2",
    "mlflow-skinny": "mlflow",
    "numpy": "numpy",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "sqlalchemy": "sqlalchemy",
    "tokenizers": "tokenizers",
}
# Module by distribution.
_PACKAGES = {
    "data": _SHARED,
    "train": {**_SHARED, "scikit-learn": "sklearn", "safetensors": "safetensors", "torch": "torch"}
    | {"torchvision": "torchvision", "transformers": "transformers"},
}
# Of `components`, those whose steps run in the image.
_STEPS = {
    "data": ("resolve", "ingest", "preprocess", "register", "notify"),
    "train": ("pretrain", "finetune", "evaluate"),
}
# What steps load once they need it, and so is not loaded with them.
_TRACKING = (
    "mlflow.entities", "mlflow.pyfunc", "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.rest_store", "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking",
    "mlflow.types.schema",
)  # fmt: skip
_S3 = ("boto3.s3.transfer", "botocore.endpoint", "botocore.handlers", "botocore.httpsession", "botocore.signers")
_LATER = {
    "data": (*_TRACKING, *_S3, "charset_normalizer", "ftfy", "jieba", "lingua", "sentencepiece", "trafilatura"),
    "train": (
        *_TRACKING, *_S3, "captum.attr", "modelmill.models.server", "sklearn.feature_extraction.text",
        "sklearn.linear_model", "torch._dynamo", "torch._inductor.compile_fx",
    ),
}  # fmt: skip


def health(*, imports: bool = False, serving: str | None = None) -> dict[str, Any]:
    """Return what this image is.

    `imports` also loads its packages and steps, which takes seconds; `serving` asks a server at that address, too.

    Raises:
        ModelmillError: a package is missing or cannot be loaded, nothing can be written for a while, or the server
            does not answer.
    """
    kind = os.environ.get(IMAGE_VARIABLE, "data")
    packages = {name: _version(name) for name in _PACKAGES[kind]}
    if imports:
        for module in (*_PACKAGES[kind].values(), *_modules(kind), *_LATER[kind]):
            _load(module)
    if serving is not None:
        _ask(serving)
    return {
        "image": kind,
        "version": __version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        "user": os.getuid(),
        "packages": packages,
        "scratch": _scratch(),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        raise ModelmillError(f"package {name} is not installed; build the image from its lock again") from error


def _modules(kind: str) -> Iterator[str]:
    """Yield the modules of an image's steps, but for their specification for KFP, which is not in an image."""
    for package in (f"components.{step}" for step in _STEPS[kind]):
        for found in pkgutil.walk_packages(_load(package).__path__, f"{package}."):
            if not found.name.endswith((".__main__", ".component")):
                yield found.name


def _load(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:
        # Whatever a broken library raises while it is loaded.
        raise ModelmillError(f"module {module} cannot be loaded: {type(error).__name__}: {error}") from error


def _scratch() -> dict[str, Any]:
    # Not tempfile's own search, which would go on to another folder.
    folder = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - what TMPDIR is where it is not set
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise ModelmillError(
            f"{folder}: cannot be written by user {os.getuid()}: {error.strerror}; mount a folder there that can, or "
            "set TMPDIR"
        ) from error
    return {"folder": folder, "free_bytes": shutil.disk_usage(folder).free}


def _ask(address: str) -> None:
    try:
        with urllib.request.urlopen(f"{address}/ping", timeout=_SECONDS):  # noqa: S310 - http://, as it was named
            return
    except OSError as error:
        raise ModelmillError(f"{address}: no model answers there: {error}") from error


def main() -> int:
    """Print what this image is; return 1 where something is wrong with it."""
    parser = argparse.ArgumentParser(prog="python3 -m modelmill.health", description=__doc__.splitlines()[0])
    parser.add_argument("--imports", action="store_true", help="load the packages and the steps, too")
    here = f"http://127.0.0.1:{_PORT}"
    parser.add_argument(
        "--serving", nargs="?", const=here, metavar="ADDRESS", help=f"ask the server there, too; {here} if left out"
    )
    told = parser.parse_args()
    try:
        found = health(imports=told.imports, serving=told.serving)
    except ModelmillError as error:
        sys.stdout.write(json.dumps({"healthy": False, "version": __version__, "error": str(error)}) + "\n")
        return 1
    sys.stdout.write(json.dumps({"healthy": True, **found}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
