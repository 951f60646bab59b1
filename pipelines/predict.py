"""Answers raw rows, or whole files, with a model from the registry, the store, or a folder."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from modelmill.errors import UserError
from modelmill.scratch import scratch_folder

if TYPE_CHECKING:
    from modelmill.scoring.score import Request, Scored, Told


def predict_rows(reference: str, rows: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each row what was asked, as `text`, `image` or `row`, and the answer: a label or a number.

    `reference` is `name@alias`, `models:/name@alias`, `models:/name/version`, an address `models/<digest>` in the
    store, or a model's folder. A row is a text, the path of a picture, or the JSON object of a table's row.

    Raises:
        UserError: there is no such model, or there is no row, or one is not what the model takes.
    """
    if not rows:
        raise UserError("predict: 0 rows; give them as arguments or on standard input, a line each")
    be_quiet()
    with scratch_folder("predict") as scratch:
        from modelmill.models.folder import MODEL_FILE
        from modelmill.models.interface import answers, interface
        from modelmill.models.predict import load_predictor
        from modelmill.models.reference import model_folder

        folder = model_folder(reference, scratch)
        served = interface(json.loads((folder / MODEL_FILE).read_text()))
        columns = served.columns
        inputs = [_input(row, columns) for row in rows]
        predictor = load_predictor(folder)
        found = answers(predictor.labels, predictor.predict(inputs), served.text)
    asked = next(iter(columns)) if len(columns) == 1 and set(columns) <= {"text", "image"} else "row"
    return [{asked: row, **answer} for row, answer in zip(rows, found, strict=True)]


def score_files(
    model: str,
    rows: Sequence[str] | None,
    options: tuple[str | None, str | None, str | None, Sequence[str] | None, Sequence[str] | None, int | None],
    as_json: bool,
) -> None:
    """Score whole files as the command line asks for it: draw how far it is, and say what came of it.

    `options` are input, output, format, columns as NAME=COLUMN, columns to keep, and rows of a part.

    Raises:
        UserError: an option is missing or wrong, or see `predict_files`.
    """
    from rich.console import Console

    from modelmill.scoring.score import Request
    from pipelines.progress import Progress, summary

    source, output, form, column, keep, shard_rows = options
    if source is None or output is None or rows:
        raise UserError("predict: whole files need both --input and --output, and no rows beside them")
    request = Request(
        input=source, output=output, format=form, columns=named(column or (), "--column"), keep=keep or None,
        shard_rows=shard_rows,
    )  # fmt: skip
    began = time.monotonic()
    with Progress(Console(stderr=True)) as progress:
        scored = predict_files(model, request, progress)
    seconds = time.monotonic() - began
    manifest = scored.manifest
    told = {name: manifest[name] for name in ("rows", "answered", "refused", "input")}
    whole = {"model": model, "digest": manifest["model"], "output": output, **told}
    whole |= {"parts": len(manifest["parts"]), "scored": scored.rows, "seconds": round(seconds, 3)}
    typer.echo(json.dumps(whole) if as_json else summary(output, manifest, scored.rows, seconds))


def predict_files(reference: str, request: "Request", told: "Told") -> "Scored":
    """Score a whole input with a model; the same call goes on with what an unfinished one has left.

    Raises:
        UserError: there is no such model, or the input or the output is not what it must be.
        ModelmillError: the store, MLflow or S3 does not answer, or the output cannot be written.
    """
    from modelmill.scoring.score import score

    be_quiet()
    with scratch_folder("predict") as scratch:
        from modelmill.models.base import address_of
        from modelmill.models.folder import MODEL_FILE
        from modelmill.models.interface import interface
        from modelmill.models.reference import model_folder

        folder = model_folder(reference, scratch / "model")
        facts = json.loads((folder / MODEL_FILE).read_text())

        def load() -> Any:
            # torch is loaded where there is something to do.
            from modelmill.models.predict import load_predictor

            return load_predictor(folder)

        return score(request, address_of(folder), facts, interface(facts), load, scratch, told)


def named(pairs: Sequence[str], option: str) -> dict[str, str]:
    """Return NAME=VALUE options as a mapping.

    Raises:
        UserError: one is not of that form.
    """
    found = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not (name and mark and value):
            raise UserError(f"{option} {pair}: write NAME=COLUMN, as in {option} text=review")
        found[name] = value
    return found


def be_quiet() -> None:
    """Keep libraries from talking: a person asked one question."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


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
