"""Answers raw rows with a model from the registry, the store, or a folder."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelmill.errors import UserError


def predict_rows(reference: str, rows: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each row what was asked, as `text`, `image` or `row`, and the answer: a label or a number.

    `reference` is `name@alias`, `models:/name@alias`, `models:/name/version`, an address `models/<digest>` in the
    store, or a model's folder. A row is a text, the path of a picture, or the JSON object of a table's row.

    Raises:
        UserError: there is no such model, or there is no row, or one is not what the model takes.
    """
    if not rows:
        raise UserError("predict: 0 rows; give them as arguments or on standard input, a line each")
    # Quiet libraries: a person asked one question.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tempfile.TemporaryDirectory(prefix="modelmill-predict-") as scratch:
        folder = _folder(reference, Path(scratch))
        from modelmill.models.folder import MODEL_FILE
        from modelmill.models.interface import answers, interface
        from modelmill.models.predict import load_predictor

        served = interface(json.loads((folder / MODEL_FILE).read_text()))
        columns = served.columns
        inputs = [_input(row, columns) for row in rows]
        predictor = load_predictor(folder)
        found = answers(predictor.labels, predictor.predict(inputs), served.text)
    asked = next(iter(columns)) if len(columns) == 1 and set(columns) <= {"text", "image"} else "row"
    return [{asked: row, **answer} for row, answer in zip(rows, found, strict=True)]


def _input(row: str, columns: Mapping[str, str]) -> Any:
    """Return what a person typed as what the model takes."""
    if set(columns) == {"text"}:
        return row
    if set(columns) == {"image"}:
        try:
            return Path(row).read_bytes()
        except OSError as error:
            raise UserError(f"{row}: the picture cannot be read: {error.strerror}") from error
    try:
        value = json.loads(row)
    except ValueError as error:
        raise UserError(f"{row[:80]}: no JSON ({error}); a row is an object of {', '.join(columns)}") from error
    if not isinstance(value, dict):
        raise UserError(f"{row[:80]}: not a JSON object; a row is an object of {', '.join(columns)}")
    return value


def _folder(reference: str, scratch: Path) -> Path:
    if Path(reference).is_dir():
        if not (Path(reference) / "modelmill.json").is_file():
            raise UserError(f"{reference}: holds no modelmill.json, so it is not a model of modelmill's")
        return Path(reference)
    if reference.startswith("models/"):
        from modelmill.models.folder import fetch_model
        from modelmill.store import open_store

        fetch_model(open_store(), reference, scratch)
        return scratch
    if "@" not in reference and not reference.startswith("models:/"):
        raise UserError(
            f"{reference}: no such folder; a registered model is named NAME@ALIAS, as in {reference}@champion"
        )
    from modelmill.registry.versions import fetch

    return fetch(reference, scratch)
