"""Who was champion when and why: an append-only chain of objects in the store, from which all follows.

`promotions/<name>/<number>.json`: each is made by a conditional put, so that of several writers of one number exactly
one wins, and names the digest of the one before, so that a changed or missing one shows. MLflow has no compare-and-set;
its alias follows the chain.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from modelmill.digest import digest
from modelmill.errors import ModelmillError
from modelmill.registry.approval import Approval
from modelmill.registry.records import now, read_record
from modelmill.settings import Section
from modelmill.store import Store

Action = Literal["first", "promote", "force", "rollback"]
"""`first` begins a history."""


class Entry(Section):
    """One move of the champion."""

    number: int
    id: str
    """A random mark: two writers never write the same entry, so exactly one of them wins its number."""
    previous: str
    """Digest of the entry before; '' in the first one."""
    when: str
    """UTC, ISO 8601."""
    who: str
    action: Action
    from_version: str | None
    """The champion before; None where there was none."""
    to_version: str
    why: str
    decision: str
    """The verdict on the version; '' where there is none."""
    verdict_digest: str
    report: str
    """Address of the report with that verdict; '' where there is none."""
    approvals: tuple[Approval, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Move:
    """What an entry says beside its place in the chain."""

    action: Action
    to_version: str
    who: str
    why: str
    decision: str = ""
    verdict_digest: str = ""
    report: str = ""
    approvals: tuple[Approval, ...] = ()


@dataclass(kw_only=True)
class History:
    """The chain of one registered model; what has been read is not read again, as no entry ever changes."""

    store: Store
    name: str
    _known: list[Entry] = field(default_factory=list, init=False, repr=False)

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries there are now, the oldest first.

        Raises:
            ModelmillError: an entry was changed or is missing, or the store does not answer.
        """
        there = list(self.store.keys(self._folder))
        for number in range(len(there)):
            if there[number] != self._key(number):
                raise ModelmillError(
                    f"{self.store.place(there[number])}: stands where {self._key(number)} should; the history of "
                    f"{self.name} lost an entry or was added to by hand: restore {self._folder} from a copy"
                )
        for number in range(len(self._known), len(there)):
            entry = read_record(Entry, self.store, self._key(number))
            self._check(entry, number)
            self._known.append(entry)
        return tuple(self._known)

    def head(self) -> Entry | None:
        """Return the newest entry, whose `to_version` is the champion; None where there is none."""
        entries = self.entries()
        return entries[-1] if entries else None

    def add(self, move: Move, *, after: Entry | None) -> Entry | None:
        """Put an entry behind another one and return it; None where someone else has put one there.

        Raises:
            ModelmillError: the store cannot be written, or did not answer: then the entry may or may not be there.
        """
        number = 0 if after is None else after.number + 1
        entry = Entry(
            number=number,
            id=uuid.uuid4().hex,
            previous=_digest(after),
            when=now(),
            from_version=after.to_version if after is not None else None,
            **{name: getattr(move, name) for name in Move.__dataclass_fields__},
        )
        return entry if self.store.claim(self._key(number), entry.model_dump(mode="json")) else None

    def _check(self, entry: Entry, number: int) -> None:
        before = self._known[-1] if self._known else None
        expected = (number, _digest(before), before.to_version if before is not None else None)
        if (entry.number, entry.previous, entry.from_version) != expected:
            raise ModelmillError(
                f"{self.store.place(self._key(number))}: does not follow from the entry before it (it names "
                f"{entry.number}, {entry.previous[:12] or 'none'}, from {entry.from_version}; expected are {number}, "
                f"{expected[1][:12] or 'none'}, from {expected[2]}); it was changed: restore it from a copy"
            )

    @property
    def _folder(self) -> str:
        return f"promotions/{self.name}/"

    def _key(self, number: int) -> str:
        return f"{self._folder}{number:06}.json"


def standing(entries: Sequence[Entry]) -> list[str]:
    """Return the champions that a rollback could go through, the present one last.

    A rollback takes from the end what came after the version that it returned to.

    Raises:
        ModelmillError: a rollback returned to a version that was never champion.
    """
    stack: list[str] = []
    for entry in entries:
        if entry.action != "rollback":
            stack.append(entry.to_version)
            continue
        stack.pop()
        while stack and stack[-1] != entry.to_version:
            stack.pop()
        if not stack:
            raise ModelmillError(
                f"entry {entry.number} of the history rolls back to version {entry.to_version}, which was not champion "
                "before; it was changed: restore it from a copy"
            )
    return stack


def _digest(entry: Entry | None) -> str:
    return digest(entry.model_dump(mode="json")) if entry is not None else ""
