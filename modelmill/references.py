"""What manifests name: other manifests by their address, blobs, and the sources that something was made from."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ADDRESS = re.compile(r"(datasets|models|reports|golden|schemas|made/[0-9a-f]{64})/[0-9a-f]{64}")
"""Of a manifest that is named by the digest of its content."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One thing that a manifest names."""

    kind: Literal["address", "blob", "source"]
    name: str
    """Its address, sha256 or URI."""
    pinned: str = ""
    """The fingerprint that a source had."""


def references(value: Any) -> Iterator[Reference]:
    """Yield what a JSON value names, at any depth."""
    if isinstance(value, str):
        if ADDRESS.fullmatch(value):
            yield Reference(kind="address", name=value)
        elif value.startswith('{"'):
            yield from _base(value)
        return
    if isinstance(value, Mapping):
        if isinstance(value.get("sha256"), str) and "bytes" in value:
            yield Reference(kind="blob", name=value["sha256"])
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for one in value:
        yield from references(one)


def _base(text: str) -> Iterator[Reference]:
    """Yield what a base model is, as resolve pinned it."""
    try:
        pinned = json.loads(text)
        uri, fingerprint = str(pinned["uri"]), str(pinned["fingerprint"])
    except (ValueError, KeyError, TypeError):
        return
    if uri.startswith(("models:/", "runs:/")):
        if ADDRESS.fullmatch(fingerprint):
            yield Reference(kind="address", name=fingerprint)
    elif ADDRESS.fullmatch(uri):
        yield Reference(kind="address", name=uri)
    else:
        yield Reference(kind="source", name=uri, pinned=fingerprint)
