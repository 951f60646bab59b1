"""From what a person calls a model to its folder: `name@alias`, `models:/name/3`, an address in the store, a folder."""

from pathlib import Path

from modelmill.errors import UserError
from modelmill.models.folder import MODEL_FILE, fetch_model


def model_folder(reference: str, scratch: Path) -> Path:
    """Return the folder of a model, fetched into `scratch` where it does not lie on this machine.

    `reference` is `name@alias`, `models:/name@alias`, `models:/name/version`, an address `models/<digest>` in the
    store, or a model's folder.

    Raises:
        UserError: there is no such model.
        ModelmillError: the store or MLflow does not answer, or bytes are not those that were put.
    """
    if Path(reference).is_dir():
        if not (Path(reference) / MODEL_FILE).is_file():
            raise UserError(f"{reference}: holds no {MODEL_FILE}, so it is not a model of modelmill's")
        return Path(reference)
    if reference.startswith("models/"):
        from modelmill.store import open_store

        fetch_model(open_store(), reference, scratch)
        return scratch
    if "@" not in reference and not reference.startswith("models:/"):
        raise UserError(
            f"{reference}: no such folder; a registered model is named NAME@ALIAS, as in {reference}@champion"
        )
    from modelmill.registry.versions import fetch

    return fetch(reference, scratch)
