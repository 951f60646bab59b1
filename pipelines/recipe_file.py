"""A recipe's file: read, overridden and checked, every error with its file, its line and the nearest right word."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelmill.errors import UserError
from modelmill.models.base import check_base, is_reference
from modelmill.sources import check_there
from pipelines.document import Document, Key, override, read
from pipelines.messages import messages
from pipelines.recipe import Recipe


def load(path: Path, overrides: Sequence[str] = (), *, look: bool = False) -> Recipe:
    """Read, override and check a recipe; nothing is fetched and nothing runs.

    With `look`, files and packages of this machine that it names must be there; their content is not read.

    Raises:
        UserError: with every error that was found, a line each: file, line, key, what is wrong, the nearest right word.
    """
    document = read(path)
    for setting in overrides:
        override(document, setting)
    _resolve_relative_paths(document)
    try:
        recipe = Recipe.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise UserError("\n".join(messages(Recipe, document, error))) from error
    if look:
        _look(document)
    return recipe


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file, for editors."""
    made = Recipe.model_json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "modelmill recipe"
    made["properties"]["extends"] = {
        "type": "string",
        "description": "Path of a recipe that this one changes, key by key.",
    }
    # A recipe that extends another may leave anything out.
    required = made.pop("required")
    made["anyOf"] = [{"required": required}, {"required": ["extends"]}]
    return made


def _look(document: Document) -> None:
    wrong = []
    for key in _uri_keys(document.data):
        uri: Any = document.data
        for part in key:
            uri = uri[part]
        try:
            if isinstance(uri, str):
                (check_there if key[0] in ("ingest", "evaluate") else check_base)(uri)
        except UserError as error:
            wrong.append(f"{document.place(key)}: {'.'.join(map(str, key))}: {error}")
    if wrong:
        raise UserError("\n".join(wrong))


def _resolve_relative_paths(document: Document) -> None:
    """A path counts from the file that says it, so that a recipe can be run from any folder."""
    for key in list(_uri_keys(document.data)):
        parent: Any = document.data
        for part in key[:-1]:
            parent = parent[part]
        value = parent[key[-1]]
        if isinstance(value, str) and value and "://" not in value and not (key[0] != "ingest" and is_reference(value)):
            parent[key[-1]] = str(document.place(key).folder / Path(value).expanduser())


def _uri_keys(data: dict[str, Any]) -> Iterator[Key]:
    for section in ("pretrain", "finetune"):
        if isinstance(data.get(section), dict) and "base" in data[section]:
            yield (section, "base")
    finetune = data.get("finetune")
    if isinstance(finetune, dict) and isinstance(finetune.get("teacher"), dict) and "base" in finetune["teacher"]:
        yield ("finetune", "teacher", "base")
    evaluate = data.get("evaluate")
    if isinstance(evaluate, dict) and isinstance(evaluate.get("lm_eval"), dict) and "include" in evaluate["lm_eval"]:
        yield ("evaluate", "lm_eval", "include")
    ingest = data.get("ingest")
    for part in ("corpus", "labelled"):
        sources = ingest.get(part) if isinstance(ingest, dict) else None
        for position, source in enumerate(sources if isinstance(sources, list) else []):
            if isinstance(source, dict) and "uri" in source:
                yield ("ingest", part, position, "uri")
