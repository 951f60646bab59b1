"""What a look at one need found."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from modelmill.errors import ModelmillError, without_credentials

Outcome = Literal["right", "missing", "unknown", "warned"]
"""`unknown`: it could not be looked at, or is not needed; `warned`: it works, and may soon not."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one look saw."""

    saw: str
    outcome: Outcome = "right"
    mend: str = ""
    """The command that mends it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the answer."""

    group: str
    """Whose need it is: `store`, `mlflow`, `kfp`, `kubernetes`, `images`, `machine`."""
    need: str
    outcome: Outcome
    saw: str
    mend: str
    seconds: float


@dataclass(kw_only=True)
class Doctor:
    """Collects findings, telling each as it comes."""

    tell: Callable[[Finding], None] = lambda _: None
    findings: list[Finding] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    """Groups whose server does not answer: what else would be asked of it is not."""

    def look(self, group: str, need: str, ask: Callable[[], Seen], mend: str = "", *, stops: bool = False) -> bool:
        """Look at one need; return whether it is right. `stops`: if it is not, nothing else of its group is asked.

        What `ask` raises is what was seen, and `mend` the command that mends it, unless what was seen has its own.
        """
        if group in self.stopped:
            return False
        began = time.perf_counter()
        try:
            seen = ask()
        except ModelmillError as error:
            seen = Seen(saw=str(error), outcome="missing")
        except OSError as error:
            seen = Seen(saw=f"{type(error).__name__}: {error.strerror or error}", outcome="missing")
        bad = seen.outcome in ("missing", "warned")
        finding = Finding(
            group=group,
            need=need,
            outcome=seen.outcome,
            saw=without_credentials(" ".join(seen.saw.split())),
            mend=(seen.mend or mend) if bad else seen.mend,
            seconds=time.perf_counter() - began,
        )
        self.findings.append(finding)
        self.tell(finding)
        right = seen.outcome in ("right", "warned")
        if stops and not right:
            self.stopped.add(group)
        return right

    @property
    def missing(self) -> Iterator[Finding]:
        """Yield what is missing."""
        return (finding for finding in self.findings if finding.outcome == "missing")
