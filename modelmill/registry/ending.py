"""How a run ended, in the words that people are told: the same for a run here and for one on a cluster."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from modelmill.errors import without_secrets
from modelmill.registry.notify import Happened, Kind

# Of what is sent as one text: enough to know what to look at.
_ERROR_CHARACTERS, _LINES_CHARACTERS = 1200, 1200


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is known of a run that ended; '' or None for what is not."""

    recipe: str
    run: str
    """Its name or id."""
    state: Literal["done", "failed"]
    seconds: float | None = None
    """From its begin to its end."""
    step: str = ""
    """The one that failed."""
    error: str = ""
    """What failed, and why."""
    lines: Sequence[str] = ()
    """What the failed step logged last."""
    verdict: str = ""
    version: str = ""
    """Of the registered model."""
    report: str = ""
    """Its address in the store."""
    cached: Sequence[str] = ()
    """Steps that were answered from the cache."""
    cost: float | None = None
    """Of the nodes' time, in `currency`."""
    currency: str = ""
    page: str = ""
    """Address of the run's page."""

    def happened(self) -> Happened:
        """Return what to tell, without a secret in it."""
        kind: Kind = "finished" if self.state == "done" else "failed"
        facts = {key: _cleaned(value) for key, value in asdict(self).items() if value not in ("", (), [], None)}
        return Happened(kind=kind, subject=self.recipe, text=without_secrets(self._text(kind)), facts=facts)

    def _text(self, kind: Kind) -> str:
        took = f" after {_long(self.seconds)}" if self.seconds is not None else ""
        cost = f", at a cost of {_money(self.cost, self.currency)}" if self.cost is not None else ""
        told = f"{self.recipe}: run {self.run} {kind}{took}{cost}{self._outcome()}"
        return "\n".join([told, *([self.page] if self.page else []), *self._shown_lines()])

    def _outcome(self) -> str:
        if self.state == "failed":
            return f": {self.error[:_ERROR_CHARACTERS]}" if self.error else ""
        cached = f"; from the cache: {', '.join(self.cached)}" if self.cached else ""
        return (f": version {self.version}, verdict {self.verdict}" if self.version else "") + cached

    def _shown_lines(self) -> list[str]:
        kept: list[str] = []
        for line in reversed(self.lines):
            if sum(map(len, kept)) + len(line) > _LINES_CHARACTERS:
                break
            kept.insert(0, f"  | {line}")
        return kept


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    return [without_secrets(each) for each in value] if isinstance(value, list | tuple) else value


def _long(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _money(cost: float, currency: str) -> str:
    return f"{cost:.2f} {currency}" if cost >= 0.01 else f"less than 0.01 {currency}"
