"""Pins whatever can change under a name: sources, base model, champion, a table's past, and where a run reads."""

from dataclasses import dataclass
from typing import Any

from components.resolve.settings import ResolveSettings
from modelmill.pins import pin_inputs
from modelmill.registry.promotion import champion_of
from modelmill.step import Step
from modelmill.tracking import where
from modelmill.warm import start


@dataclass(frozen=True, kw_only=True)
class ResolveOutputs:
    """What the steps after this one are keyed by."""

    sources: str
    """Fingerprint by URI, as JSON."""
    base: str
    """URI and fingerprint of the base model, as JSON; '' for none."""
    teacher: str
    """The same of the teacher."""
    before: str
    """The recipe and the address of the schema that its table is compared with, as JSON; '' where it reads none."""
    champion: str
    """Address of the champion's model; '' where there is none, or it was registered without one."""
    champion_version: str
    """Its version in the registry; '' for no champion."""
    where: str
    """Digest of store, tracking, and the store's epoch."""
    summary: dict[str, Any]


def run(step: Step, settings: ResolveSettings) -> ResolveOutputs:
    """Look at everything that the recipe names.

    Raises:
        UserError: a source or the base model is not there, or is empty.
        ModelmillError: the champion's history was changed, or MLflow does not answer.
    """
    pins = pin_inputs(
        step.store,
        sources=settings.sources,
        base=settings.base,
        teacher=settings.teacher,
        table=settings.table,
    )
    champion, version = champion_of(step.store, settings.registered) if settings.registered else ("", "")
    base = start(step.store, settings.registered, pins, champion) if settings.warm_start else pins.base
    warm = {"warm_start": base != pins.base} if settings.warm_start else {}
    return ResolveOutputs(
        sources=pins.sources,
        base=base,
        teacher=pins.teacher,
        before=pins.before,
        champion=champion,
        champion_version=version,
        where=where(step.store, pins.sources),
        summary={"sources": len(settings.sources), **warm},
    )
