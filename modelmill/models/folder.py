"""Models and reports in the store: a manifest over the files of a folder, named by the digest of their content."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill.errors import ModelmillError
from modelmill.store import Blob, Store
from modelmill.store.backend import check_name

MODEL_FILE = "modelmill.json"
_ADDRESS = re.compile("[a-z]+/[0-9a-f]{64}")


def save_model(store: Store, folder: Path, meta: Mapping[str, Any]) -> str:
    """Put a model's folder into the store and return its address, 'models/<digest>'.

    `modelmill.json` is written into the folder: the meta, and as `digest` the one of the other files and the meta,
    which is also the model's address. What such a file said before (of a base model) is replaced.

    Raises:
        ModelmillError: the folder holds no file, or a file that the store cannot name.
    """
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MODEL_FILE
    }
    if not files:
        raise ModelmillError(f"{folder}: 0 files, so there is no model to keep; check the step that wrote it")
    address = save_files(store, "models", files, meta)
    _write_model_file(folder, address, meta)
    return address


def fetch_model(store: Store, address: str, folder: Path) -> dict[str, Any]:
    """Write a model's files into a folder, each checked, `modelmill.json` last; return its meta.

    Raises:
        NotFound: the store has no such model.
        ModelmillError: a file's bytes are not those that were put.
    """
    files, meta = _manifest(store, address)
    (folder / MODEL_FILE).unlink(missing_ok=True)
    for name, blob in files.items():
        store.fetch_blob(blob.sha256, folder / name)
    _write_model_file(folder, address, meta)
    return meta


def save_files(store: Store, kind: str, files: Mapping[str, Path | bytes], meta: Mapping[str, Any]) -> str:
    """Put files, then the manifest that names them; return its address, '<kind>/<digest>'.

    Raises:
        ModelmillError: a name is not a plain relative path, or the store cannot be written.
    """
    for name in files:
        check_name(name)
    blobs = {
        name: store.put_blob_file(data) if isinstance(data, Path) else store.put_blob(data)
        for name, data in sorted(files.items())
    }
    manifest = {
        "files": {name: {"sha256": blob.sha256, "bytes": blob.bytes} for name, blob in blobs.items()},
        "meta": dict(meta),
    }
    return store.put_addressed(kind, manifest)


def read_files(store: Store, address: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the files by name, in memory and each checked, and the meta.

    Raises:
        NotFound: the store holds nothing there.
        ModelmillError: a file's bytes are not those that were put.
    """
    files, meta = _manifest(store, address)
    return {name: store.get_blob(blob.sha256) for name, blob in files.items()}, meta


def _manifest(store: Store, address: str) -> tuple[dict[str, Blob], dict[str, Any]]:
    if _ADDRESS.fullmatch(address) is None:
        raise ModelmillError(f"{address!r} is not an address in the store; it reads '<kind>/<64 hexadecimal digits>'")
    manifest = store.get_addressed(address)
    return {check_name(name): Blob(**blob) for name, blob in manifest["files"].items()}, manifest["meta"]


def _write_model_file(folder: Path, address: str, meta: Mapping[str, Any]) -> None:
    content = {**meta, "digest": address.partition("/")[2]}
    (folder / MODEL_FILE).write_text(json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
