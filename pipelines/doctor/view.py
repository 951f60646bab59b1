"""A finding as a person reads it: one line, and below it the command that mends it."""

from rich.console import Console
from rich.text import Text

from pipelines.doctor.finding import Finding

_MARKS = {"right": ("✓", "green"), "missing": ("✗", "red"), "unknown": ("–", "dim"), "warned": ("!", "yellow")}
_NEED = 34


class View:
    """Prints findings as they come, each group under its name."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._group = ""

    def __call__(self, finding: Finding) -> None:
        """Print one finding."""
        if finding.group != self._group:
            self._group = finding.group
            self.console.print(Text(finding.group, "bold"))
        mark, style = _MARKS[finding.outcome]
        self.console.print(
            Text.assemble(
                ("  ", ""),
                (mark, style),
                f" {finding.need:<{_NEED}} ",
                (f"{finding.seconds:5.1f} s  ", "dim"),
                (finding.saw, style if finding.outcome in ("missing", "warned") else ""),
            ),
            soft_wrap=True,
        )
        if finding.mend:
            self.console.print(Text(f"      {finding.mend}", "cyan"), soft_wrap=True)

    def end(self, findings: list[Finding]) -> None:
        """Print what it came to."""
        counts = {outcome: sum(one.outcome == outcome for one in findings) for outcome in _MARKS}
        parts = [f"{counts['right']} right", f"{counts['missing']} missing"]
        parts += [f"{counts['warned']} to be watched"] if counts["warned"] else []
        parts += [f"{counts['unknown']} not looked at or not needed"] if counts["unknown"] else []
        self.console.print(f"\n{', '.join(parts)}")
