"""Moving the champion: by a verdict or by force, back again, one at a time, and never half.

The history in the store is the truth. An entry is put first, which one of several writers wins; then MLflow's alias is
brought after it. Whoever is killed between leaves an alias that the next command sets right.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from modelmill.errors import ModelmillError, UserError
from modelmill.registry import notify
from modelmill.registry.approval import Approval, Approvals
from modelmill.registry.asking import asking, check_name
from modelmill.registry.history import Action, Entry, History, Move, standing
from modelmill.registry.judgement import APPROVED_TAG, NONE, Judgement, judgement
from modelmill.registry.records import now
from modelmill.registry.versions import CHAMPION, MODEL_TAG, Registry
from modelmill.store import Store
from modelmill.tracking import Tracking

log = logging.getLogger(__name__)

# Each turn is lost to another writer who moved on meanwhile; more than this is an alias that something keeps changing.
_TURNS = 1000


def champion_of(store: Store, name: str) -> tuple[str, str]:
    """Return the model's address and the version of a registered model's champion, two '' where there is none.

    The address alone is '' where the version was registered without one.

    Raises:
        ModelmillError: the history was changed; or store or MLflow do not answer.
    """
    registry = Registry(client=Tracking.connect().client, name=name)
    version = Promotions(registry=registry, store=store).champion()
    if version is None:
        return "", ""
    with asking(f"the champion of {name}"):
        return registry.client.get_model_version(name, version).tags.get(MODEL_TAG, ""), version


class Overtaken(ModelmillError):  # noqa: N818 - it says what happened to a promotion
    """Another version is champion by now than the one that a promotion counted on."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How a command left the champion."""

    entry: Entry
    """The newest one."""
    changed: bool
    """False where the version was champion already: the command had been run before."""


@dataclass(kw_only=True)
class Promotions:
    """The champion of one registered model."""

    registry: Registry
    store: Store
    history: History = field(init=False)
    approvals: Approvals = field(init=False)

    def __post_init__(self) -> None:
        check_name(self.registry.name)
        self.history = History(store=self.store, name=self.registry.name)
        self.approvals = Approvals(store=self.store, name=self.registry.name)

    def champion(self) -> str | None:
        """Return the champion, None where there is none or its version was deleted; MLflow's alias is set right.

        Raises:
            ModelmillError: the history was changed; or store or MLflow do not answer.
        """
        with asking(f"the champion of {self.registry.name}"):
            head = self._begun()
            if head is None or not self.registry.has(head.to_version):
                return None
            self._follow()
            return head.to_version

    def approve(self, version: str, *, who: str, why: str = "") -> Approval:
        """Record an approval of a version's present verdict; the same again is recorded once.

        Raises:
            UserError: there is no such version.
            ModelmillError: store or MLflow do not answer.
        """
        verdict_digest = judgement(self.registry, self.store, version).digest
        given = self.approvals.add(version, Approval(who=who, when=now(), verdict_digest=verdict_digest, why=why))
        told = "; ".join(one.sentence for one in self.approvals.of(version))
        with asking(f"{self.registry.name} version {version}: the approval is recorded, and its tag not set"):
            self.registry.tag(version, {APPROVED_TAG: told})
        return given

    def promote(self, version: str, *, who: str, expected: str = "", force: bool = False, reason: str = "") -> Moved:
        """Make a version champion; one that is champion already is left so.

        `expected` is the version that must be champion now, 'none' for no version; without it that is the one which
        the version was judged beside, or with `force` the one that is found. Force needs a reason, and passes over the
        verdict, not over an approval that is required.

        Raises:
            UserError: no such version; no verdict, or another than `promote`; no approval; force without a reason.
            Overtaken: another version is champion than the one that was expected.
            ModelmillError: store or MLflow do not answer.
        """
        if force and not reason.strip():
            raise UserError("--force passes over the verdict, so the history must say why: add --reason")
        judged = judgement(self.registry, self.store, version)
        with asking(f"promoting {self._named(version)}"):
            return self._promote(judged, who=who, expected=expected, force=force, reason=reason)

    def _promote(self, judged: Judgement, *, who: str, expected: str, force: bool, reason: str) -> Moved:
        for _ in range(_TURNS):
            head = self._begun()
            if head is not None and head.to_version == judged.version:
                self._follow()
                return Moved(entry=head, changed=False)
            approvals = self._check(judged, head, expected=expected, force=force)
            if force and not expected:
                expected = head.to_version if head is not None else NONE
            action: Action = "force" if force else "promote" if head is not None else "first"
            entry = self.history.add(self._move(judged, action, who, reason, approvals), after=head)
            if entry is not None:
                return self._done(entry)
        raise self._never()

    def _check(self, judged: Judgement, head: Entry | None, *, expected: str, force: bool) -> tuple[Approval, ...]:
        """Return the approvals of the verdict, if a version may be champion after a history's head."""
        if not force:
            _check_verdict(self._named(judged.version), judged)
            self._check_champion(judged, head, judged.champion or NONE, "was judged beside")
        if expected:
            self._check_champion(judged, head, expected, "was to follow")
        approvals = self.approvals.of(judged.version, judged.digest)
        if judged.approval == "required" and not approvals:
            others = self.approvals.of(judged.version)
            before = f"; {others[-1].sentence} was of another verdict" if others else ""
            raise UserError(
                f"{self._named(judged.version)}: 0 approvals of its verdict {judged.digest[:12]}, and its recipe "
                f"requires one{before}: modelmill models approve {self.registry.name} {judged.version}"
            )
        return approvals

    def _check_champion(self, judged: Judgement, head: Entry | None, expected: str, counted: str) -> None:
        champion = head.to_version if head is not None else NONE
        # A champion whose version was deleted is none.
        if champion == expected or (expected == NONE and not self.registry.has(champion)):
            return
        before = "no version" if expected == NONE else f"version {expected}"
        moved = f"version {champion} ({head.action} by {head.who}, {head.when})" if head is not None else "no version"
        raise Overtaken(
            f"{self._named(judged.version)} {counted} {before}, and champion now is {moved}; run its recipe again, so "
            "that it is judged beside the present one, or promote it with --force --reason"
        )

    def rollback(self, *, who: str, check: Callable[[str], None], to: str = "", reason: str = "") -> Moved:
        """Return to the champion before, or to an earlier one; `check` raises where that one does not work.

        Right after a rollback another one goes nowhere unless `to` names a version: the command is safe to repeat.

        Raises:
            UserError: there was no champion before, not that one, or its version was deleted.
            Overtaken: another version became champion while the old one was tried.
            ModelmillError: what `check` raises; or store or MLflow do not answer.
        """
        with asking(f"rolling back {self.registry.name}"):
            head = self._begun()
            if head is None:
                raise UserError(f"{self.registry.name} has no champion, so there is none to return from")
            if head.to_version == to or (head.action == "rollback" and not to):
                self._follow()
                return Moved(entry=head, changed=False)
            target = self._target(to)
            check(target)
            self._check_there(target)  # again: to load a model takes its time
            entry = self.history.add(self._back(target, who, reason), after=head)
            if entry is not None:
                return self._done(entry)
            newest = self.history.head()
            assert newest is not None
            raise Overtaken(
                f"{self.registry.name}: was to return from version {head.to_version} to {target}, and meanwhile "
                f"version {newest.to_version} became champion ({newest.action} by {newest.who}); look at "
                "its history first"
            )

    def _target(self, to: str) -> str:
        stack = standing(self.history.entries())
        before = stack[:-1]
        if not before or (to and to not in before):
            known = ", ".join(before) or "none"
            raise UserError(
                f"{self.registry.name}: champion is version {stack[-1]}, and the champions before it are {known}: "
                f"there is no {to or 'other'} to return to; `promote` with --force --reason takes any version"
            )
        target = to or before[-1]
        self._check_there(target)
        return target

    def _check_there(self, target: str) -> None:
        if not self.registry.has(target):
            before = ", ".join(standing(self.history.entries())[:-1])
            raise UserError(
                f"{self._named(target)}, the champion before, was deleted from MLflow; return to an earlier one with "
                f"--to (champions were {before}), or promote another with --force --reason"
            )

    def _begun(self) -> Entry | None:
        """Return the history's head, None for none; a champion from before the history becomes its first entry."""
        for _ in range(_TURNS):
            head = self.history.head()
            alias = self.registry.alias(CHAMPION) if head is None else None
            if alias is None:
                return head
            move = Move(action="first", to_version=alias, who="modelmill", why="was champion before this history began")
            entry = self.history.add(move, after=None)
            if entry is not None:
                return entry
        raise self._never()

    def _follow(self) -> None:
        """Bring MLflow's alias after the history; who sets it last has looked at the history since.

        A writer that is late may set what is old by now, but then looks, and sets it again.
        """
        for _ in range(_TURNS):
            head = self.history.head()
            assert head is not None
            alias = self.registry.alias(CHAMPION)
            if alias == head.to_version:
                return
            if not self.registry.has(head.to_version):
                raise ModelmillError(
                    f"{self._named(head.to_version)} is champion by its history, and was deleted from MLflow: return "
                    "to another with `rollback --to`, or promote one with --force --reason"
                )
            log.info("%s: alias %s goes from %s to %s", self.registry.name, CHAMPION, alias, head.to_version)
            self._set_alias(head.to_version)
        raise self._never()

    def _set_alias(self, version: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.registry.client.set_registered_model_alias(self.registry.name, CHAMPION, version)
        except MlflowException as error:
            # Of two that set a new alias at once MLflow's database refuses one; it looks again.
            if "unique constraint" not in str(error).lower():
                raise

    def _move(self, judged: Judgement, action: Action, who: str, why: str, approvals: tuple[Approval, ...]) -> Move:
        return Move(
            action=action,
            to_version=judged.version,
            who=who,
            why=why.strip(),
            decision=judged.decision,
            verdict_digest=judged.digest if judged.decision else "",
            report=judged.report,
            approvals=approvals,
        )

    def _back(self, target: str, who: str, why: str) -> Move:
        # As it was promoted: a report that is gone by now is no reason to keep a champion that is worse.
        then = [entry for entry in self.history.entries() if entry.to_version == target][-1]
        return Move(
            action="rollback",
            to_version=target,
            who=who,
            why=why.strip(),
            decision=then.decision,
            verdict_digest=then.verdict_digest,
            report=then.report,
            approvals=then.approvals,
        )

    def _done(self, entry: Entry) -> Moved:
        self._follow()
        notify.moved(self.registry.name, entry)
        return Moved(entry=entry, changed=True)

    def _named(self, version: str) -> str:
        return f"{self.registry.name} version {version}"

    def _never(self) -> ModelmillError:
        return ModelmillError(
            f"{self.registry.name}: {_TURNS} turns, and each time something else had changed its champion; stop what "
            "does that, and run again"
        )


def _check_verdict(named: str, judged: Judgement) -> None:
    way_out = "or promote it with --force --reason"
    if not judged.decision:
        raise UserError(f"{named} has no verdict; run its recipe again, which gives one, {way_out}")
    if judged.decision != "promote":
        said = " ".join(judged.reasons[:3])
        raise UserError(f"{named}: its verdict is {judged.decision}: {said} Train a better one, {way_out}")
