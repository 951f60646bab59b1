"""A version's files against the digest that they were registered under: what MLflow serves is what was evaluated."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from modelmill.digest import digest
from modelmill.errors import ModelmillError
from modelmill.models.folder import MODEL_FILE
from modelmill.registry.golden import try_golden
from modelmill.registry.judgement import GOLDEN_TAG
from modelmill.registry.versions import MODEL_TAG, Registry, fetch
from modelmill.store import NotFound, Store


def changed_files(store: Store, folder: Path, address: str) -> list[str]:
    """Return what in a model's folder is not as its address says, each as a sentence; nothing where all is.

    The address is the digest of all files and of what `modelmill.json` says, so that needs nothing but the folder; the
    store, where it still holds the model, names the file.
    """
    found = {
        path.relative_to(folder).as_posix(): _described(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MODEL_FILE
    }
    try:
        meta = json.loads((folder / MODEL_FILE).read_text())
        told = meta.pop("digest")
        if digest({"files": found, "meta": meta}) == told == address.partition("/")[2]:
            return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{MODEL_FILE}: cannot be read ({type(error).__name__})"]
    try:
        kept = store.get_addressed(address)
    except NotFound:
        return [f"its files are not those of {address}, and which one changed {store.uri} no longer knows"]
    wanted = kept["files"]
    said = [f"{name}: is missing" for name in wanted if name not in found]
    said += [f"{name}: does not belong to the model" for name in found if name not in wanted]
    said += [
        f"{name}: was changed: should be sha256 {wanted[name]['sha256']} ({wanted[name]['bytes']} bytes), is "
        f"{found[name]['sha256']} ({found[name]['bytes']} bytes)"
        for name in found
        if name in wanted and found[name] != wanted[name]
    ]
    return said or [f"{MODEL_FILE}: was changed"]


def check_works(registry: Registry, store: Store, scratch: Path) -> Callable[[str], None]:
    """Return what a rollback checks of a version: its files' digests, that it loads, and its golden rows.

    What it returns raises a ModelmillError where the version does not work.
    """

    def check(version: str) -> None:
        tags = registry.tags(version)
        model = tags.get(MODEL_TAG, "")
        folder = fetch(f"models:/{registry.name}/{version}", scratch)
        changed = changed_files(store, folder, model)
        if changed:
            raise ModelmillError(
                f"{registry.name} version {version}: {len(changed)} of its files in MLflow are not as registered: "
                f"{changed[0]}; restore them from {model} in the store, or return to another with --to"
            )
        try_golden(store, tags.get(GOLDEN_TAG, ""), folder)

    return check


def _described(path: Path) -> dict[str, str | int]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
