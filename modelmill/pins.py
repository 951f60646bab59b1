"""What the inputs of a recipe are now: whatever can change under a name, pinned, without writing anything.

The step `resolve` emits these, and `plan` keys the steps by them without running one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelmill.accepted import schema_before
from modelmill.digest import canonical_json
from modelmill.models.base import pin_base
from modelmill.sources import pin
from modelmill.store import Store


@dataclass(frozen=True, kw_only=True)
class Pins:
    """What the steps that are cached are keyed by, beside their settings."""

    sources: str
    """Fingerprint by URI, as JSON."""
    base: str
    """URI and fingerprint of the base model, as JSON; '' for none."""
    teacher: str
    """The same of the teacher."""
    before: str
    """The recipe and the address of the schema that its table is compared with, as JSON; '' where it reads none."""


def pin_inputs(store: Store, *, sources: Sequence[str], base: str, teacher: str, table: str) -> Pins:
    """Look at every source, at the base model and the teacher ('' for none), and at a table's past ('' for no table).

    Raises:
        UserError: a source or a model is not there, or is empty.
        ModelmillError: a bucket, the Hub or MLflow does not answer.
    """
    pinned_base = pin_base(store, base) if base else ""
    pinned, before = pin(sources), ""
    if table:
        before = canonical_json({"recipe": table, "schema": schema_before(store, table, pinned)})
    return Pins(sources=pinned, base=pinned_base, teacher=pin_base(store, teacher) if teacher else "", before=before)
