"""Answers raw text with a model from the registry, the store, or a folder."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelmill.errors import UserError


def predict_texts(reference: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return text, label, probability and every label's probability, one object for each text.

    `reference` is `name@alias`, `models:/name@alias`, `models:/name/version`, an address `models/<digest>` in the
    store, or a model's folder.

    Raises:
        UserError: there is no such model, or there is no text.
    """
    if not texts:
        raise UserError("predict: 0 texts; give them as arguments or on standard input, a line each")
    # Quiet libraries: a person asked one question.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tempfile.TemporaryDirectory(prefix="modelmill-predict-") as scratch:
        folder = _folder(reference, Path(scratch))
        from modelmill.models.predict import load_predictor

        predictor = load_predictor(folder)
        probabilities_BL = predictor.predict(texts)
    answers = []
    for text, row_L in zip(texts, probabilities_BL, strict=True):
        best = int(row_L.argmax())
        shares = {label: float(share) for label, share in zip(predictor.labels, row_L, strict=True)}
        answers.append(
            {"text": text, "label": predictor.labels[best], "probability": float(row_L[best]), "probabilities": shares}
        )
    return answers


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
