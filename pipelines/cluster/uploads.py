"""Copies what only this machine has, files of sources and folders of base models, to the store that a cluster reads.

A copy lies under the digest of names and content, so that an unchanged file has an unchanged address and every step
that reads it is answered from the cache.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modelmill.errors import ModelmillError, UserError
from modelmill.models.base import READ, check_files, is_reference
from modelmill.sources import SourceFile, list_files, listed, locate, shown
from modelmill.store import Store
from modelmill.store.backend import is_name
from pipelines.recipe import Recipe

Say = Callable[[str], None]


def carried(recipe: Recipe, store: Store, say: Say = lambda _: None, *, put: bool = True) -> Recipe:
    """Return a recipe that names nothing of this machine: local URIs became addresses in the store.

    Without `put` nothing is copied, and the addresses are those that the copies would have.

    Raises:
        UserError: a file is not there, or has a name that no object can have.
        ModelmillError: the store cannot be written, or a file changed while it was copied.
    """
    data = recipe.as_data()
    known: dict[str, str] = {}
    for holder, key, is_base in _places(data):
        uri = holder[key]
        if not _is_local(uri, is_base):
            continue
        if uri not in known:
            known[uri] = _copied(uri, store, say if put else None, is_base=is_base)
        holder[key] = known[uri]
    return Recipe.model_validate_json(json.dumps(data)) if known else recipe


def local_uris(recipe: Recipe) -> list[str]:
    """Return the URIs of a recipe that only this machine can read."""
    return [holder[key] for holder, key, is_base in _places(recipe.as_data()) if _is_local(holder[key], is_base)]


def _places(data: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, bool]]:
    """Yield where a recipe names something: the mapping, the key, and whether it is a base model."""
    for part in ("corpus", "labelled"):
        for source in data["ingest"][part]:
            if source.get("uri"):
                yield source, "uri", False
    harness = data["evaluate"].get("lm_eval") or {}
    if harness.get("include"):
        yield harness, "include", False
    finetune = data["finetune"]
    for section in (data.get("pretrain") or {}, finetune, finetune.get("teacher") or {}):
        if section.get("base"):
            yield section, "base", True


def _is_local(uri: str, is_base: bool) -> bool:
    return uri.startswith("package://") or ("://" not in uri and not (is_base and is_reference(uri)))


def _copied(uri: str, store: Store, say: Say | None, *, is_base: bool) -> str:
    files = list_files(uri)
    if is_base:
        files = [file for file in files if file.name.endswith(READ) and "/" not in file.name]
        check_files(uri, {file.name for file in files})
    _check_names(uri, files)
    folder = f"sources/{listed(files)}"
    if say is not None:
        _put(uri, files, folder, store, say, whole=not is_base)
    alone = len(files) == 1 and not is_base and _is_file(uri)
    return store.place(f"{folder}/{files[0].name}" if alone else f"{folder}/")


def _is_file(uri: str) -> bool:
    try:
        return Path(locate(uri)).is_file()
    except UserError:
        # A pattern, which names no single path.
        return False


def _check_names(uri: str, files: Sequence[SourceFile]) -> None:
    for file in files:
        if not is_name(file.name) or any(part.startswith((".", "_")) for part in file.name.split("/")):
            raise UserError(
                f"{shown(uri)}: {file.name!r} cannot be the name of an object that is read again; rename it to plain "
                "ASCII letters without a '.' or '_' at its start, or put it into a bucket and name that"
            )


def _put(uri: str, files: Sequence[SourceFile], folder: str, store: Store, say: Say, *, whole: bool) -> None:
    total = sum(file.bytes for file in files)
    say(f"copying {shown(uri)} to the store: {len(files)} {'file' if len(files) == 1 else 'files'}, {total:,} bytes")
    for file in files:
        store.put_source(f"{folder}/{file.name}", locate(file.uri))
    after = [file for file in list_files(uri) if whole or file.name in {one.name for one in files}]
    if listed(after) != listed(files):
        raise ModelmillError(
            f"{shown(uri)}: changed while it was copied; delete {store.place(folder)}/ and submit again when nothing "
            "writes to it"
        )
