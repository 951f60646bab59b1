"""What pydantic found wrong, in the words that a person typed: file, line, key, and the nearest right word."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from modelmill.errors import without_credentials
from pipelines.document import Document, Key


def messages(root: type[BaseModel], document: Document, error: ValidationError) -> list[str]:
    """Return a line for every error: file and line, key, what is wrong, the nearest right word."""
    lines = []
    for detail in error.errors():
        key = _said_key(document.data, detail)
        message, key = _sentence(root, detail, key)
        name = ".".join(map(str, key))
        lines.append(f"{document.place(key)}: {name + ': ' if name else ''}{message}")
    return sorted(set(lines), key=lines.index)


def _said_key(data: Any, detail: ErrorDetails) -> Key:
    """The way to the value without the names of union branches that pydantic puts in between."""
    key: list[str | int] = []
    location = detail["loc"]
    for position, part in enumerate(location):
        last = position == len(location) - 1
        present = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if present:
            data = data[part]
            key.append(part)
        elif last and detail["type"] in {"missing", "extra_forbidden"}:
            key.append(part)
    return tuple(key)


def _sentence(root: type[BaseModel], detail: ErrorDetails, key: Key) -> tuple[str, Key]:
    kind, given = detail["type"], detail.get("input")
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key; {_nearest(str(key[-1]), _fields_at(root, key[:-1]))}", key
    if kind == "missing":
        return f"missing; {_described(root, key)}", key
    if kind == "literal_error":
        wanted = [word.strip(" '") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
        return f"{_shown(given)} is not one of {', '.join(wanted)}; {_nearest(str(given), wanted)}", key
    if kind == "value_error":
        return _own_words(str(context["error"]), key)
    if kind == "model_type" or kind.endswith("dict_type"):
        return f"wants keys of its own ({', '.join(_fields_at(root, key)) or 'a mapping'}), got {_shown(given)}", key
    message = detail["msg"].replace("a valid integer", "a valid whole number").replace("a valid string", "a valid text")
    message = message.replace("Input should be a valid", "wants a").replace("Input should be", "must be")
    return f"{message[:1].lower()}{message[1:]}, got {_shown(given)}", key


def _own_words(text: str, key: Key) -> tuple[str, Key]:
    """A check of ours over several sections begins with the key that it is about."""
    name, mark, rest = text.partition(": ")
    if not mark or " " in name:
        return text, key
    return rest, (*key, *(int(part) if part.isdigit() else part for part in name.split(".")))


def _shown(value: Any) -> str:
    text = without_credentials(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(word: str, words: Sequence[str]) -> str:
    close = get_close_matches(word, words, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"the keys here are {', '.join(words)}"


def _described(root: type[BaseModel], key: Key) -> str:
    for model in _models_at(root, key[:-1]):
        field = _fields(model).get(str(key[-1]))
        if field is not None and field.description:
            # A description may go over several lines, a message may not.
            said = " ".join(field.description.split())
            return said[0].lower() + said[1:]
    return "it has no default"


def _fields_at(root: type[BaseModel], key: Key) -> list[str]:
    return sorted({name for model in _models_at(root, key) for name in _fields(model)})


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A settings class's fields by the names that a recipe uses."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_at(root: type[BaseModel], key: Key) -> list[type[BaseModel]]:
    """The settings classes that a place in a recipe may hold."""
    models = [root]
    # Those under the names of a mapping, one of which is the next part of the key.
    named: list[type[BaseModel]] = []
    for part in key:
        if named:
            models, named = named, []
            continue
        annotations: list[Any] = []
        for model in models:
            if isinstance(part, int):
                annotations.append(model)
            elif part in _fields(model):
                annotations.append(_fields(model)[part].annotation)
        models = [found for annotation in annotations for found in _models_in(annotation)]
        named = [found for annotation in annotations for found in _models_in(annotation, in_mapping=True)]
    return models


def _models_in(annotation: Any, *, in_mapping: bool = False) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if in_mapping else [annotation]
    origin = get_origin(annotation)
    if origin is Mapping:
        return _models_in(get_args(annotation)[1]) if in_mapping else []
    return [found for argument in get_args(annotation) for found in _models_in(argument, in_mapping=in_mapping)]
