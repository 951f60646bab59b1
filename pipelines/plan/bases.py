"""The configuration of a base model, without its weights."""

import json
from pathlib import Path

from modelmill.errors import ModelmillError, UserError
from modelmill.models.base import is_reference
from modelmill.sources import list_files, locate, open_raw
from modelmill.store import Store

_CONFIG = "config.json"


def config_folder(store: Store, pinned: str, scratch: Path) -> Path:
    """Return a folder with the config.json of a base model, from its pin; nothing else is fetched.

    Raises:
        UserError: the base is one of MLflow's without an address in the store, so nothing but the whole would tell.
        ModelmillError: a bucket, the Hub or the store does not answer.
    """
    pin = json.loads(pinned)
    uri, fingerprint = str(pin["uri"]), str(pin["fingerprint"])
    if not is_reference(uri) and not uri.startswith(("hf://", "s3://")):
        return locate(uri)
    folder = scratch / fingerprint.rpartition("/")[2].replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _CONFIG).write_bytes(_config(store, uri, fingerprint))
    return folder


def _config(store: Store, uri: str, fingerprint: str) -> bytes:
    if is_reference(uri):
        if not fingerprint.startswith("models/"):
            raise UserError(f"{uri}: its configuration is known when it is fetched, as it has no address in the store")
        files = store.get_addressed(fingerprint)["files"]
        if _CONFIG not in files:
            raise ModelmillError(f"{store.place(fingerprint)}: no {_CONFIG} among its {len(files)} files")
        return store.get_blob(files[_CONFIG]["sha256"])
    file = next(file for file in list_files(uri) if file.name == _CONFIG)
    with open_raw(file) as raw:
        return raw.read()
