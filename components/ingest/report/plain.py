"""Frozen dataclasses to plain values of JSON, and back, as strictly as settings are read."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from modelmill.errors import ModelmillError

PartType = TypeVar("PartType", bound="Part")


class Part:
    """The base of every dataclass of the facts: unknown keys and wrong types are refused when it is read."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def plain(part: Part) -> dict[str, Any]:
    """Return a dataclass as plain values; what is no Unicode text becomes '?'."""
    return {name: _plain(value) for name, value in vars(part).items()}


def read(kind: type[PartType], value: Mapping[str, Any]) -> PartType:
    """Return the dataclass that `plain` was given.

    Raises:
        ModelmillError: the values are no such dataclass.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelmillError(
            f"facts of the ingest report: {where}: {first['msg']} ({error.error_count()} such faults); made by another "
            "version? run ingest again"
        ) from error


def _plain(value: object) -> Any:
    if isinstance(value, str):
        # A file's name may hold bytes that are no text.
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Part):
        return plain(value)
    return [_plain(each) for each in value] if isinstance(value, Iterable) else value
