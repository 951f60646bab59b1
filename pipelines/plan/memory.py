"""Whether a training fits the memory of its devices, by how much not, and what would."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from modelmill.profile import NodeKind, bytes_of
from modelmill.training.outline import Estimate

_GIB = 2**30
# What a process takes before it computes: the driver's context and the libraries' workspaces on a GPU; torch and what
# it loads on a processor.
_DEVICE_BASE, _PROCESSOR_BASE = 1.0 * _GIB, 0.7 * _GIB
# What an allocator that rounds up and keeps pieces takes more than what is asked of it.
_ROUNDING = 1.05


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where, and how, a training would run."""

    rows: int
    """Computed at once by a process."""
    world: int
    shard: bool
    device: bool
    """Whether there is an accelerator."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What one process of a training takes of its device, in bytes."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    """Of the running mean."""
    teacher: int
    activations: int
    """What is kept for the way back, and what is computed in between; of a divided model with its gathered layers."""
    base: int
    """Before anything is computed."""

    @property
    def total(self) -> int:
        """All of it."""
        held = self.weights + self.gradients + self.optimizer + self.average + self.teacher + self.activations
        return round(held * _ROUNDING) + self.base


def memory(estimate: Estimate, setting: Setting) -> Memory:
    """Return what a training takes.

    weights + gradients + optimiser's state + mean, all four divided by the processes where the model is (ZeRO, stage 3,
    arXiv:1910.02054, section 5), + the teacher + what a step of so many rows holds beside them at its highest, as
    counted by `modelmill.training.estimate`. A divided model gathers two layers, the one that computes and the next.
    """
    parts = setting.world if setting.shard else 1
    activations = max(0, working(estimate, setting.rows) - estimate.gradients)
    return Memory(
        weights=estimate.weights // parts,
        gradients=estimate.gradients // parts,
        optimizer=estimate.optimizer // parts,
        average=estimate.average // parts,
        teacher=estimate.teacher,
        activations=activations + (2 * estimate.largest_layer if setting.shard else 0),
        base=round(_DEVICE_BASE if setting.device else _PROCESSOR_BASE),
    )


def working(estimate: Estimate, rows: int) -> int:
    """Return what a step of so many rows holds: between and beyond the two that were counted, in a straight line."""
    (high, most), (low, least) = estimate.working[0], estimate.working[-1]
    if high == low:
        return round(most * rows / high) if rows > high else most
    return max(0, round(least + (most - least) * (rows - low) / (high - low)))


def limit(kind: NodeKind) -> int | None:
    """Return the memory of one of a kind's devices, or of the node where it has none; None where it is not told."""
    if kind.device is None:
        return bytes_of(kind.memory)
    return bytes_of(kind.device_memory) if kind.device_memory is not None else None


def most_rows(estimate: Estimate, setting: Setting, has: int) -> int:
    """Return the most rows at once, up to the setting's, with which a training fits; 0 where it does with none."""
    low, high = 0, setting.rows
    while low < high:
        middle = (low + high + 1) // 2
        if memory(estimate, _with(setting, rows=middle)).total <= has:
            low = middle
        else:
            high = middle - 1
    return low


def least_shards(estimate: Estimate, setting: Setting, has: int, batch_rows: int, most: int = 1024) -> int | None:
    """Return over how few devices a divided model fits; None where `most` are too few."""
    for world in (1 << power for power in range(1, most.bit_length())):
        rows = max(1, min(setting.rows, -(-batch_rows // world)))
        if memory(estimate, _with(setting, world=world, shard=True, rows=rows)).total <= has:
            return world
    return None


def _with(setting: Setting, **changes: int | bool) -> Setting:
    return replace(setting, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Whether a training fits."""

    needs: Memory
    has: int | None
    """Bytes; None where the profile does not say."""
    rows: int
    """Rows at once with which it fits, or which were wanted."""
    note: str = ""
    """What the training will do by itself."""
    would: tuple[str, ...] = ()
    """What would fit, where it does not."""

    @property
    def fits(self) -> bool:
        """Whether it does; true where the memory is not known."""
        return self.has is None or self.needs.total <= self.has


def fit(
    estimate: Estimate,
    setting: Setting,
    kind: NodeKind,
    *,
    whole: bool,
    recomputed: Callable[[], Estimate | None],
    others: Mapping[str, Callable[[], bool]],
    batch_rows: int,
) -> Fit:
    """Return whether a training fits a kind of node.

    A training that is not divided computes fewer rows at once where memory runs out, so it fits if one row does;
    `whole` batches cannot be cut. `recomputed` is asked what the training comes to with `recompute: true`, and the
    `others` whether they would hold it, only where it does not fit.
    """
    has = limit(kind)
    needs = memory(estimate, setting)
    if has is None or needs.total <= has:
        return Fit(needs=needs, has=has, rows=setting.rows)
    rows = 0 if whole else most_rows(estimate, setting, has)
    if rows and not setting.shard:
        note = f"{setting.rows} rows at once do not fit: it goes on with about {rows}, whose gradients add up"
        return Fit(needs=memory(estimate, _with(setting, rows=rows)), has=has, rows=rows, note=note)
    would = [f"micro_rows: {rows}"] if rows else []
    if whole and (most := most_rows(estimate, setting, has)) >= 2:
        would.append(f"batch_rows: {most * setting.world}")
    again = recomputed()
    if again is not None and most_rows(again, setting, has) >= (setting.rows if whole else 1):
        would.append("recompute: true")
    if not setting.shard and (count := least_shards(estimate, setting, has, batch_rows)) is not None:
        there = "" if setting.world >= count else f" (this kind has {setting.world})"
        would.append(f"shard: true over {count} devices{there}")
    would += [f"the node kind {name}" for name, holds in others.items() if holds()]
    return Fit(needs=needs, has=has, rows=setting.rows, would=tuple(would))
