"""The model that training starts from: where it may lie, how it is pinned, and its folder. Needs no torch.

A base is a folder of this machine or of a package, `s3://bucket/prefix/`, `hf://owner/name[@revision]`, a model of our
own store (`models/<digest>`), or one of MLflow's: `models:/name@alias`, `models:/name/version`, `runs:/run/path`.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from modelmill.digest import canonical_json, digest, sha256_of_file
from modelmill.errors import ModelmillError, UserError
from modelmill.models.folder import MODEL_FILE, fetch_model
from modelmill.sources import check_there, fingerprint, list_files, listed, locate, open_raw, shown
from modelmill.store import Store, open_store

_OWN = re.compile("models/[0-9a-f]{64}")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
READ = (".safetensors", ".json", ".txt", ".model")
"""Ends of the names of files that are read of a published model; weights of other libraries lie beside them."""


def is_reference(uri: str) -> bool:
    """Whether a base is named in a store or a registry, and not by a path or the URI of a source."""
    return uri.startswith(("models:/", "runs:/", "checkpoints/")) or _OWN.fullmatch(uri) is not None


def check_base(uri: str) -> None:
    """Refuse a base that could never be one, or that is not there on this machine; no network is asked.

    Raises:
        UserError: it is of no kind that can be started from, or is not there.
    """
    if uri.startswith("checkpoints/"):
        raise UserError(
            f"{uri}: a checkpoint holds weights without their shape and tokenizer; run its recipe to the end and name "
            "the model that comes out, models/<digest>"
        )
    if uri.startswith(("http://", "https://")):
        raise UserError(f"{shown(uri)}: one file of the web is no model; name a folder, hf://owner/name or s3://…/")
    if uri.startswith("hf://"):
        from modelmill.sources import hub

        if hub.parse(uri).kind != "model":
            raise UserError(f"{uri}: a dataset is no model; write hf://owner/name")
    if not is_reference(uri):
        check_there(uri)


def pin_base(store: Store, uri: str) -> str:
    """Return what a base is now, as JSON of `uri` and `fingerprint`; `uri` holds no name that can move.

    Raises:
        UserError: it is not there, lacks files that a model needs, or its weights are a pickle.
        ModelmillError: the Hub, the bucket or MLflow does not answer.
    """
    check_base(uri)
    if _OWN.fullmatch(uri):
        if not store.has_manifest(f"{uri}.json"):
            raise UserError(f"{uri}: {store.uri} has no such model; name another, or set MODELMILL_STORE to its store")
        return canonical_json({"uri": uri, "fingerprint": uri})
    if uri.startswith("models:/"):
        from modelmill.registry.versions import MODEL_TAG, fixed

        version = fixed(uri)
        at = f"models:/{version.name}/{version.version}"
        return canonical_json({"uri": at, "fingerprint": version.tags.get(MODEL_TAG) or _told(_registered(at))})
    if uri.startswith("runs:/"):
        return canonical_json({"uri": uri, "fingerprint": _told(_registered(uri))})
    if not _is_remote(uri):
        check_files(uri, {file.name for file in list_files(uri)})
        return canonical_json({"uri": uri, "fingerprint": fingerprint(uri)})
    files = list_files(uri)
    check_files(uri, {file.name for file in files})
    if uri.startswith("hf://"):
        # The files are named at the commit of now.
        uri = files[0].uri.removesuffix(f"/{files[0].name}")
    return canonical_json({"uri": uri, "fingerprint": listed(files)})


def check_files(what: str, names: Collection[str]) -> None:
    """Check that the files of a folder are those of a model.

    Raises:
        UserError: there is no configuration, or there are no weights but a pickle.
    """
    if "config.json" not in names:
        raise UserError(
            f"{what}: no config.json among its {len(names)} files, which a model's folder has; name the folder that "
            "save_pretrained wrote"
        )
    if not any(name in names for name in _WEIGHTS):
        pickles = sorted(name for name in names if name.endswith(_PICKLES))
        if pickles:
            raise UserError(
                f"{what}: its weights are in {pickles[0]}, a pickle, which runs what is in it when it is read, and is "
                f"refused; 0 of its {len(names)} files are safetensors: save it again with "
                "save_pretrained(safe_serialization=True)"
            )
        raise UserError(f"{what}: no model.safetensors among its {len(names)} files; name a model's whole folder")


def base_folder(pinned: str) -> Path:
    """Return the folder of a base from its pin, fetched to this machine, once a process, where it does not lie here.

    Raises:
        UserError: the folder is not there.
        ModelmillError: its content is another one than was pinned.
    """
    pin = json.loads(pinned)
    uri, wanted = pin["uri"], pin["fingerprint"]
    if is_reference(uri) or _is_remote(uri):
        return _fetched(uri, wanted)
    found = fingerprint(uri)
    if found != wanted:
        raise _changed(uri, found, wanted)
    return locate(uri)


@cache
def _fetched(uri: str, wanted: str) -> Path:
    if _is_remote(uri):
        return _downloaded(uri, wanted)
    if _OWN.fullmatch(uri):
        folder = _scratch()
        fetch_model(open_store(), uri, folder)
        return folder
    folder = _registered(uri)
    found = address_of(folder) if wanted.startswith("models/") else _told(folder)
    if found != wanted:
        raise _changed(uri, found, wanted)
    return folder


def address_of(folder: Path) -> str:
    """Return the address 'models/<digest>' that a folder's content has in a store."""
    try:
        meta = json.loads((folder / MODEL_FILE).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / MODEL_FILE}: does not describe a model: {error}") from error
    meta.pop("digest", None)
    files: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MODEL_FILE:
            name = path.relative_to(folder).as_posix()
            files[name] = {"sha256": sha256_of_file(path), "bytes": path.stat().st_size}
    return f"models/{digest({'files': files, 'meta': meta})}"


def _told(folder: Path) -> str:
    """Return the fingerprint of a model's folder, whatever its files are called elsewhere."""
    files = list_files(str(folder))
    check_files(str(folder), {file.name for file in files})
    return listed(files)


def _registered(reference: str) -> Path:
    from modelmill.registry import versions

    fetch = versions.fetch if reference.startswith("models:/") else versions.fetch_artifact
    return fetch(reference, _scratch())


def _downloaded(uri: str, wanted: str) -> Path:
    files = list_files(uri)
    if listed(files) != wanted:
        raise _changed(uri, listed(files), wanted)
    folder = _scratch()
    for file in files:
        if file.name.endswith(READ) and "/" not in file.name:
            with open_raw(file) as raw, (folder / file.name).open("wb") as out:
                shutil.copyfileobj(raw, out)
    return folder


def _is_remote(uri: str) -> bool:
    return uri.startswith(("hf://", "s3://"))


def _changed(uri: str, found: str, wanted: str) -> ModelmillError:
    return ModelmillError(
        f"{uri}: the base model changed since the run began (fingerprint {_short(found)}, pinned {_short(wanted)}); "
        "run again"
    )


def _short(fingerprint: str) -> str:
    return fingerprint.removeprefix("models/")[:12]


_KEPT: list[Any] = []
"""Folders that go when the process ends."""


def _scratch() -> Path:
    made = tempfile.TemporaryDirectory(prefix="modelmill-base-")
    _KEPT.append(made)
    return Path(made.name)
