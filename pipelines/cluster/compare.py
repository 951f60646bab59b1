"""Two runs side by side, from what MLflow knows of them: the settings that differ, and every figure."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from modelmill.errors import UserError
from pipelines.cluster import tracked as tracking
from pipelines.cluster.tracked import Tracked


def compare_runs(one: str, other: str) -> dict[str, Any]:
    """Return what differs between two runs: settings and figures by name, each with the two values, None for none.

    Raises:
        UserError: MLflow knows one of them not.
        ModelmillError: MLflow does not answer.
    """
    pair = [_known(one), _known(other)]
    settings, figures = map(tracking.settings, pair), map(tracking.figures, pair)
    return {
        "runs": [one, other],
        "settings": {name: both for name, both in _both(*settings).items() if both[0] != both[1]},
        "figures": _both(*figures),
        "cached": [[name for name, step in each.steps.items() if step.cached] for each in pair],
        "verdict": [each.tags.get("modelmill.verdict") for each in pair],
    }


def lines(told: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield what a person reads of it."""
    one, other = told["runs"]
    if told["settings"]:
        yield _table("setting", one, other, told["settings"], _shown)
    else:
        yield Text("no setting differs")
    yield Text()
    yield _table("figure", one, other, told["figures"], lambda value: "" if value is None else f"{value:.6g}")


def _known(run: str) -> Tracked:
    found = tracking.find(run)
    if found is None:
        raise UserError(f"run {run}: MLflow knows none of that name; it has one as soon as its first step has begun")
    return found


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [one.get(name), other.get(name)] for name in sorted({*one, *other})}


def _table(what: str, one: str, other: str, rows: Mapping[str, list[Any]], shown: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(what, overflow="fold")
    for name in (one, other):
        table.add_column(name[:24], overflow="fold", justify="right")
    for name, (left, right) in rows.items():
        style = "" if left == right else "bold"
        table.add_row(name, Text(shown(left), style), Text(shown(right), style))
    return table


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
