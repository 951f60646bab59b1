"""Small records in the store, read back as what they were written from."""

from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from modelmill.digest import canonical_json
from modelmill.errors import ModelmillError
from modelmill.settings import Section
from modelmill.store import Store

R = TypeVar("R", bound=Section)


def read_record(kind: type[R], store: Store, key: str) -> R:
    """Return the record under a key.

    Raises:
        NotFound: there is none.
        ModelmillError: it was changed, or made by another version of modelmill.
    """
    try:
        return kind.model_validate_json(canonical_json(store.get_manifest(key)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelmillError(
            f"{store.place(key)}: no {kind.__name__.lower()}: {where}: {first['msg']}; changed by hand, or made by "
            "another version of modelmill?"
        ) from None


def now() -> str:
    """Return the time in UTC, ISO 8601 to the second."""
    return datetime.now(tz=UTC).isoformat(timespec="seconds")
