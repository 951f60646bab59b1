"""What MLflow answers when it refuses or is gone, as a person should read it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelmill.errors import ModelmillError, UserError, without_credentials
from modelmill.home import tracking_uri

_UNKNOWN = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def check_name(name: str) -> str:
    """Return a registered model's name as it is.

    Raises:
        UserError: no recipe could register under it: MLflow or the store refuses such names.
    """
    if _NAME.fullmatch(name) is None:
        raise UserError(
            f"{name!r}: no name of a registered model; use at most 200 letters, digits, '.', '_' and '-', the first a "
            "letter or digit"
        )
    return name


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn what MLflow raises into an error that says what was asked and what to do.

    Raises:
        UserError: MLflow knows no such model, version or alias.
        ModelmillError: MLflow does not answer, or refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        # What requests raises is an OSError too; a disk that is full is the step's own to tell.
        if isinstance(error, OSError) and not type(error).__module__.startswith("requests."):
            raise
        said = without_credentials(str(error))
        where = without_credentials(tracking_uri())
        if getattr(error, "error_code", "") in _UNKNOWN:
            raise UserError(f"{what}: {said} (asked was MLflow at {where}; see MLFLOW_TRACKING_URI)") from None
        raise ModelmillError(
            f"{what}: MLflow at {where} gives no answer: {said}; check MLFLOW_TRACKING_URI and run the same command "
            "again: it goes on from here, and does nothing twice"
        ) from None


def pages(search: Any) -> list[Any]:
    """Return all that a search of MLflow's finds, page by page."""
    found = search()
    everything = list(found)
    while found.token:
        found = search(page_token=found.token)
        everything += found
    return everything
