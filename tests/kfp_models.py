"""Reads JSON into the models that Kubeflow Pipelines publishes (`kfp_server_api`), as strictly as its server does."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from kfp_server_api import models
from kfp_server_api.api_client import ApiClient

_NATIVE: Mapping[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float), "bool": bool}
# protojson writes int64 as strings; the fields that are such.
_INTEGERS = {"max_concurrency", "interval_second", "execution_id", "pipeline_context_id", "pipeline_run_context_id"}
_OPERATIONS: Mapping[str, Callable[[str, str], bool]] = {
    "EQUALS": lambda value, asked: value == asked,
    "NOT_EQUALS": lambda value, asked: value != asked,
    "IS_SUBSTRING": lambda value, asked: asked in value,
}


class Refused(Exception):  # noqa: N818 - it is an answer
    """What the server answers instead: an HTTP status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def read(kind: str, data: Any, place: str = "body") -> Any:
    """Return the published model that JSON is.

    Raises:
        Refused: with status 400: a key that the model does not have, or a value of another type.
    """
    if data is None:
        return None
    if found := re.fullmatch(r"list\[(.*)]", kind):
        return [read(found[1], one, f"{place}[{at}]") for at, one in enumerate(_is(data, list, place))]
    if found := re.fullmatch(r"dict\(str, (.*)\)", kind):
        return {key: read(found[1], one, f"{place}.{key}") for key, one in _is(data, dict, place).items()}
    if kind == "object":
        return data
    if kind == "datetime":
        return _moment(_is(data, str, place), place)
    if kind in _NATIVE:
        if isinstance(data, bool) and kind != "bool":
            raise Refused(400, f"{place}: a boolean where {kind} is wanted")
        value = _is(data, _NATIVE[kind], place)
        if place.rpartition(".")[2] in _INTEGERS and not re.fullmatch(r"-?\d+", value):
            raise Refused(400, f"{place}: {value!r} is no whole number")
        return value
    return _model(getattr(models, kind), data, place)


def _model(kind: Any, data: Any, place: str) -> Any:
    allowed = getattr(kind, "allowable_values", None)
    if allowed is not None and not kind.openapi_types:
        if data not in allowed:
            raise Refused(400, f"{place}: {data!r} is none of {', '.join(allowed)}")
        return data
    names = {written: name for name, written in kind.attribute_map.items()}
    if unknown := sorted(set(_is(data, dict, place)) - set(names)):
        raise Refused(400, f"{place}: unknown field {unknown[0]!r} of {kind.__name__}")
    read_values = {names[key]: read(kind.openapi_types[names[key]], one, f"{place}.{key}") for key, one in data.items()}
    assert set(read_values) <= set(inspect.signature(kind).parameters)
    return kind(**read_values)


def write(model: Any) -> Any:
    """Return a model as the JSON that the server answers with."""
    if isinstance(model, datetime):
        return model.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(model, list):
        return [write(one) for one in model]
    if isinstance(model, Mapping):
        return {key: write(one) for key, one in model.items()}
    if hasattr(model, "openapi_types"):
        values = {written: getattr(model, name) for name, written in model.attribute_map.items()}
        return {key: write(one) for key, one in values.items() if one is not None}
    return ApiClient().sanitize_for_serialization(model)


def selected(values: list[Any], written: str) -> list[Any]:
    """Return the models that a filter lets through.

    Raises:
        Refused: the filter is no V2beta1Filter, or asks what this server does not know.
    """
    if not written:
        return values
    asked = json.loads(written)
    read("V2beta1Filter", {"predicates": [_predicate(one) for one in asked.get("predicates", [])]}, "filter")
    for one in asked["predicates"]:
        test, wanted = _OPERATIONS[one["operation"]], one["string_value"]
        values = [value for value in values if test(str(getattr(value, one["key"]) or ""), wanted)]
    return values


def _predicate(data: Mapping[str, Any]) -> Mapping[str, Any]:
    if data.get("operation") not in _OPERATIONS or "string_value" not in data:
        raise Refused(400, f"filter: {data}: this stand-in knows string_value with {', '.join(_OPERATIONS)}")
    return data


def _moment(text: str, place: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(400, f"{place}: {text!r} is no time of RFC 3339") from None
    if moment.tzinfo is None:
        raise Refused(400, f"{place}: {text!r} has no time zone")
    return moment


def _is(data: Any, kind: type | tuple[type, ...], place: str) -> Any:
    if not isinstance(data, kind):
        raise Refused(400, f"{place}: {type(data).__name__} where {kind} is wanted")
    return data
