"""Approvals: who let a version pass, when, and on which verdict. The store keeps them, MLflow's tag shows them."""

from dataclasses import dataclass
from typing import Literal

from modelmill.digest import digest
from modelmill.registry.records import read_record
from modelmill.settings import Section
from modelmill.store import Store

Demand = Literal["required", "none"]
"""Whether a version needs an approval before it may be champion."""


class Approval(Section):
    """One person's word on one verdict."""

    who: str
    when: str
    """UTC, ISO 8601."""
    verdict_digest: str
    """Of what was approved: a version that is judged anew needs a new approval."""
    why: str = ""

    @property
    def sentence(self) -> str:
        """What the version's tag in MLflow says of it."""
        return f"{self.who} {self.when} verdict {self.verdict_digest[:12]}"


@dataclass(frozen=True, kw_only=True)
class Approvals:
    """The approvals of a registered model's versions, `approvals/<name>/<version>/<digest of who and verdict>.json`."""

    store: Store
    name: str

    def add(self, version: str, approval: Approval) -> Approval:
        """Record an approval and return it; who has approved this verdict before has done so once, then.

        Raises:
            ModelmillError: the store cannot be written.
        """
        key = digest({"who": approval.who, "verdict": approval.verdict_digest})
        place = f"{self._folder(version)}{key}.json"
        if self.store.claim(place, approval.model_dump(mode="json")):
            return approval
        return self._read(place)

    def of(self, version: str, verdict_digest: str = "") -> tuple[Approval, ...]:
        """Return a version's approvals, the oldest first; with a digest, those of that verdict."""
        found = [self._read(key) for key in self.store.keys(self._folder(version))]
        kept = [one for one in found if verdict_digest in {"", one.verdict_digest}]
        return tuple(sorted(kept, key=lambda one: (one.when, one.who)))

    def _folder(self, version: str) -> str:
        return f"approvals/{self.name}/{version}/"

    def _read(self, key: str) -> Approval:
        return read_record(Approval, self.store, key)
