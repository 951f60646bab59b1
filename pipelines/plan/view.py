"""A plan as a program reads it, and as a person does."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.plan.make import Plan, Training, gib
from pipelines.plan.memory import Fit

_MARKS = {
    "cached": ("≡ cached", "blue"),
    "runs": ("● runs", "cyan"),
    "perhaps": ("● runs", "cyan"),
    "asks": ("? not known", "yellow"),
}


def as_data(plan: Plan, until: str) -> dict[str, Any]:
    """Return the object that `plan --json` prints.

    `steps`: name, state (`cached`, `runs`, `perhaps`: runs unless what it reads comes out as in an earlier run, `asks`:
    a cluster knows when it gets there), why, node. `trainings`: memory in bytes of one device, `flops` in all,
    `hours` from start to end, `device_hours` over all devices, `price` in `currency`; null is not known.
    `digest` names recipe, profile and last stage: what `submit --expect-plan` wants to be unchanged.
    """
    trainings = [_training(one) for one in plan.trainings]
    return {
        "recipe": plan.recipe.name,
        "profile": None if plan.profile is None else plan.profile.name,
        "until": until,
        "digest": plan.digest,
        "steps": [
            {"name": step.name, "state": step.state, "why": step.why, "node": plan.nodes[step.name]}
            for step in plan.steps
        ],
        "trainings": trainings,
        "fits": not plan.misfits,
        "misfits": plan.misfits,
        "device_hours": _sum([one["device_hours"] for one in trainings if not one["cached"]]),
        "price": _sum([one["price"] for one in trainings if not one["cached"]]),
        "currency": None if plan.profile is None else plan.profile.currency,
    }


def _sum(values: list[float | None]) -> float | None:
    """Return a sum; None where a part of it is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _training(one: Training) -> dict[str, Any]:
    trained, told, cost = one.trained, one.estimate, one.cost
    return {
        "step": trained.step,
        "node": one.node,
        "devices": trained.world,
        "cached": told is not None and one.fit is None,
        "parameters": None if told is None else told.parameters,
        "learning": None if told is None else told.learning,
        "precision": trained.outline.precision,
        "rows": trained.rows,
        "rows_basis": trained.basis,
        "tokens": trained.tokens,
        "rows_at_once": trained.at_once if one.fit is None else one.fit.rows,
        "flops_per_row": None if told is None else told.flops_per_row,
        "flops": None if cost is None else cost.flops,
        "memory": None if one.fit is None else _memory(one.fit),
        "fits": None if one.fit is None else one.fit.fits,
        "note": "" if one.fit is None else one.fit.note,
        "would_fit": [] if one.fit is None else list(one.fit.would),
        "hours": None if cost is None else cost.hours,
        "device_hours": None if cost is None else cost.device_hours,
        "price": None if cost is None else cost.price,
        "time_basis": "" if cost is None else cost.basis,
        "unknown": one.unknown,
    }


def _memory(fitted: Fit) -> dict[str, int | None]:
    parts = ("weights", "gradients", "optimizer", "average", "teacher", "activations", "base")
    return {
        "needs": fitted.needs.total,
        "has": fitted.has,
        **{name: getattr(fitted.needs, name) for name in parts},
    }


def show(plan: Plan, console: Console) -> None:
    """Print the steps, what each training takes, and what it costs."""
    where = "here" if plan.profile is None else f"on {plan.profile.name}"
    console.print(Text.assemble((plan.recipe.name, "bold"), f"  {where}  ", (f"plan {plan.digest[:12]}", "dim")))
    console.print()
    console.print(_steps(plan))
    if plan.trainings:
        console.print()
        console.print(_trainings(plan))
        for line in _notes(plan):
            console.print(line, style="dim", soft_wrap=True)
    console.print(_total(plan), soft_wrap=True)


def _steps(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = ["step", "what becomes of it", "why", *(["node"] if plan.profile is not None else [])]
    for name in columns:
        table.add_column(name, header_style="dim", overflow="fold")
    for step in plan.steps:
        row: list[str | Text] = [
            step.name,
            Text(*_MARKS[step.state]),
            Text(step.why, style="dim"),
            plan.nodes[step.name],
        ]
        table.add_row(*row[: len(columns)])
    return table


def _trainings(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("training", "parameters", "rows", "FLOPs", "memory of a device", "devices", "hours", "price"):
        table.add_column(name, header_style="dim", justify="left" if name == "training" else "right")
    currency = "" if plan.profile is None else f" {plan.profile.currency}"
    for one in plan.trainings:
        told, cost = one.estimate, one.cost
        table.add_row(
            one.trained.step,
            "?" if told is None else _large(told.parameters),
            "?" if one.trained.rows is None else f"{one.trained.rows:,}",
            "cached" if one.cost is None else _known(None if cost is None else cost.flops, _large),
            _held(one.fit),
            str(one.trained.world),
            _known(None if cost is None else cost.hours, _hours),
            _known(None if cost is None else cost.price, lambda price: f"{price:,.2f}{currency}"),
        )
    return table


def _held(fitted: Fit | None) -> Text:
    if fitted is None:
        return Text("–")
    has = "?" if fitted.has is None else gib(fitted.has)
    return Text(f"{gib(fitted.needs.total)} of {has}", style="" if fitted.fits else "red")


def _notes(plan: Plan) -> list[str]:
    notes = []
    for one in plan.trainings:
        if one.unknown:
            notes.append(f"{one.trained.step}: not known: {one.unknown}")
        if one.fit is not None and one.fit.note:
            notes.append(f"{one.trained.step}: {one.fit.note}")
        if one.cost is not None:
            rows = "" if one.trained.rows is None else f"rows {one.trained.basis}; "
            notes.append(f"{one.trained.step}: {rows}time {one.cost.basis}")
    return notes


def _total(plan: Plan) -> str:
    counted = [one.cost for one in plan.trainings if one.cost is not None]
    hours = _sum([cost.device_hours for cost in counted])
    price = _sum([cost.price for cost in counted])
    if not counted:
        return "\nnothing is to be trained"
    parts = ["device-hours not known" if hours is None else f"{_hours(hours)} of all devices"]
    if plan.profile is not None:
        parts.append("price not known" if price is None else f"{price:,.2f} {plan.profile.currency}")
    return f"\ntraining: {', '.join(parts)}; the other steps are not counted"


def _known(value: float | None, said: Any) -> str:
    return "?" if value is None else said(value)


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"


def _large(count: float) -> str:
    """Return a large number in the units that it is spoken of in."""
    for unit, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"
