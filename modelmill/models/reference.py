"""From what a person calls a model to its folder: `name@alias`, `models:/name/3`, an address in a store, a folder."""

import json
import re
import shutil
from pathlib import Path

from modelmill.errors import ModelmillError, UserError
from modelmill.models.folder import MODEL_FILE, fetch_model

_IN_A_STORE = re.compile(r"(?:(?P<store>.+)/)?(?P<address>models/[0-9a-f]{64})/?")


def model_folder(reference: str, scratch: Path) -> Path:
    """Return the folder of a model, fetched into `scratch` where it does not lie on this machine.

    `reference` is `name@alias`, `models:/name@alias`, `models:/name/version`, an address `models/<digest>` in the
    store, or with another store before it (`s3://bucket/prefix/models/<digest>`), or a model's folder, here or
    `s3://bucket/folder`.

    Raises:
        UserError: there is no such model.
        ModelmillError: the store or MLflow does not answer, or bytes are not those that were put.
    """
    if Path(reference).is_dir():
        if not (Path(reference) / MODEL_FILE).is_file():
            raise UserError(f"{reference}: holds no {MODEL_FILE}, so it is not a model of modelmill's")
        return Path(reference)
    if addressed := _IN_A_STORE.fullmatch(reference):
        from modelmill.store import open_store

        fetch_model(open_store(addressed["store"]), addressed["address"], scratch)
        return scratch
    if reference.startswith("s3://"):
        return _downloaded(reference, scratch)
    if "@" not in reference and not reference.startswith("models:/"):
        raise UserError(
            f"{reference}: no such folder; a registered model is named NAME@ALIAS, as in {reference}@champion"
        )
    from modelmill.registry.versions import fetch

    return fetch(reference, scratch)


def _downloaded(uri: str, scratch: Path) -> Path:
    """Fetch a model's folder from a bucket, and check that its bytes are those that its digest is of."""
    from modelmill.models.base import address_of
    from modelmill.sources import list_files, open_raw
    from modelmill.store.backend import check_name

    files = list_files(f"{uri.rstrip('/')}/")
    if not any(file.name == MODEL_FILE for file in files):
        raise UserError(f"{uri}: holds no {MODEL_FILE} among {len(files)} files, so it is not a model of modelmill's")
    for file in files:
        path = scratch / check_name(file.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_raw(file) as raw, path.open("wb") as out:
            shutil.copyfileobj(raw, out, 1 << 20)
            raw.finish()
    wanted, found = _digest(scratch), address_of(scratch).partition("/")[2]
    if wanted != found:
        raise ModelmillError(
            f"{uri}: was changed: its {MODEL_FILE} says the digest {wanted[:12]}…, and its files have {found[:12]}…; "
            "copy the whole folder again"
        )
    return scratch


def _digest(folder: Path) -> str:
    try:
        return str(json.loads((folder / MODEL_FILE).read_text()).get("digest"))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / MODEL_FILE}: does not describe a model: {error}") from error
