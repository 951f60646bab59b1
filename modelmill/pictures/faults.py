"""Why a picture cannot be used."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A reason in one word, which ingest's ledger counts, and what exactly is wrong, with both numbers."""

    reason: str
    detail: str
