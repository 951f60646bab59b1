"""Pins whatever can change under a name: sources, the base model, and the places that the run reads and writes."""

from dataclasses import dataclass
from typing import Any

from components.resolve.settings import ResolveSettings
from modelmill.digest import canonical_json
from modelmill.sources import fingerprint, pin
from modelmill.step import Step
from modelmill.tracking import where


@dataclass(frozen=True, kw_only=True)
class ResolveOutputs:
    """What the steps after this one are keyed by."""

    sources: str
    """Fingerprint by URI, as JSON."""
    base: str
    """URI and fingerprint of the base model, as JSON; '' for none."""
    where: str
    """Digest of store, tracking, and the store's epoch."""
    summary: dict[str, Any]


def run(step: Step, settings: ResolveSettings) -> ResolveOutputs:
    """Look at everything that the recipe names.

    Raises:
        UserError: a source or the base model is not there, or is empty.
    """
    base = ""
    if settings.base:
        base = canonical_json({"uri": settings.base, "fingerprint": fingerprint(settings.base)})
    return ResolveOutputs(
        sources=pin(settings.sources),
        base=base,
        where=where(step.store),
        summary={"sources": len(settings.sources)},
    )
