"""The plan of a recipe: its steps, its trainings, what they take, and whether that is there."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from modelmill.digest import digest
from modelmill.errors import UserError
from modelmill.home import TRACKING_VARIABLE, home
from modelmill.pins import Pins, pin_inputs
from modelmill.profile import NodeKind, Profile
from modelmill.scratch import scratch_folder
from modelmill.sources.remember import only_recalling
from modelmill.store import Store, open_store
from modelmill.store.epochs import EPOCH_KEY
from modelmill.tracking import where
from modelmill.training.outline import Estimate, Outline
from modelmill.warm import decided
from pipelines.cluster.facts import plan_digest
from pipelines.machine import this_machine
from pipelines.plan.bases import config_folder
from pipelines.plan.cost import Cost, cost_of
from pipelines.plan.data import Data, data_of
from pipelines.plan.memory import Fit, Setting, fit, limit, memory
from pipelines.plan.trainings import Trained, estimates, on, training_of, with_training
from pipelines.plan.walk import PlannedStep, walk
from pipelines.plan.why import explained
from pipelines.profile_file import kind_of
from pipelines.recipe import Recipe
from pipelines.steps import Stage, stage_of

_TRAINING = ("pretrain", "finetune")
HERE = "this machine"


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training step of a plan."""

    trained: Trained
    node: str
    kind: NodeKind
    estimate: Estimate | None
    """None where it cannot be told, for the reason `unknown`."""
    unknown: str = ""
    fit: Fit | None = None
    cost: Cost | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do and take."""

    recipe: Recipe
    profile: Profile | None
    digest: str
    steps: Sequence[PlannedStep]
    nodes: Mapping[str, str]
    """Kind of node by step."""
    trainings: Sequence[Training]

    @property
    def misfits(self) -> list[str]:
        """A line for each training that cannot run, with what would."""
        return [_misfit(one) for one in self.trainings if one.fit is not None and not one.fit.fits]


def _digest(recipe: Recipe, profile: Profile | None, until: Stage) -> str:
    """Return what a plan is known by: of a profile's, what a submission can be told to expect unchanged."""
    if profile is not None:
        return plan_digest(recipe, profile, until)
    return digest({"recipe": recipe.as_data(), "until": until})


def make(recipe: Recipe, profile: Profile | None, until: Stage) -> Plan:
    """Plan a recipe, here or on a profile's nodes; nothing is run and nothing is written.

    Raises:
        UserError: a source or the base model is not there.
        ModelmillError: a store, a bucket or the Hub does not answer.
    """
    store = open_store()
    with ExitStack() as stack:
        stack.enter_context(only_recalling())
        scratch = stack.enter_context(scratch_folder("plan"))
        pins = _pins(recipe, store)
        here = explained(walk(recipe, until, _resolved(pins, store), home() / "kfp"), recipe)
        kinds = _kinds(profile)
        nodes = {step.name: _node(step.name, recipe, profile) for step in here}
        trainings = _trainings(recipe, here, pins, store, (kinds, nodes, profile, scratch))
        return Plan(
            recipe=recipe,
            profile=profile,
            digest=_digest(recipe, profile, until),
            steps=here if profile is None else [_on_a_cluster(step) for step in here],
            nodes=nodes,
            trainings=trainings,
        )


def _pins(recipe: Recipe, store: Store) -> Pins:
    base, teacher = recipe.base or "", recipe.finetune.teacher.base if recipe.finetune.teacher is not None else ""
    for uri in (base, teacher):
        if uri.startswith(("models:/", "runs:/")) and not _has_registry():
            raise UserError(f"{uri}: there is no registry here yet; set MLFLOW_TRACKING_URI to the one that has it")
    pins = pin_inputs(
        store,
        sources=tuple(recipe.ingest.uris),
        base=base,
        teacher=teacher,
        table=recipe.name if recipe.ingest.table is not None else "",
    )
    warm = decided(store, recipe.registration.name, pins) if recipe.warm_start else None
    return pins if warm is None else replace(pins, base=warm)


def _has_registry() -> bool:
    # MLflow would make the database where it is only asked.
    return bool(os.environ.get(TRACKING_VARIABLE)) or (home() / "mlflow.db").is_file()


def _resolved(pins: Pins, store: Store) -> dict[str, str] | None:
    """Return what resolve will answer, without the champion, which no cached step reads; None for a new store."""
    if not store.has_manifest(EPOCH_KEY):
        return None
    return {**asdict(pins), "where": where(store, pins.sources)}


def _on_a_cluster(step: PlannedStep) -> PlannedStep:
    if step.why.startswith("always"):
        return PlannedStep(name=step.name, state="runs", why=step.why)
    return PlannedStep(name=step.name, state="asks", why="KFP answers from its cache when it gets there")


def _kinds(profile: Profile | None) -> dict[str, NodeKind]:
    if profile is not None:
        return dict(profile.nodes)
    machine = this_machine()
    if machine.gpus:
        least = min(gpu.memory for gpu in machine.gpus)
        return {HERE: NodeKind(device="nvidia.com/gpu", count=len(machine.gpus), device_memory=_mebibytes(least))}
    if machine.memory is None:
        return {}
    return {HERE: NodeKind(memory=_mebibytes(machine.memory))}


def _mebibytes(count: int) -> str:
    return f"{count >> 20}Mi"


def _node(step: str, recipe: Recipe, profile: Profile | None) -> str:
    return HERE if profile is None else kind_of(recipe, profile, step)


def _trainings(
    recipe: Recipe,
    steps: Sequence[PlannedStep],
    pins: Pins,
    store: Store,
    place: tuple[Mapping[str, NodeKind], Mapping[str, str], Profile | None, Path],
) -> list[Training]:
    kinds, nodes, profile, scratch = place
    bases: dict[Literal["base", "teacher"], Path] = {}
    if pins.base:
        bases["base"] = config_folder(store, pins.base, scratch)
    if pins.teacher:
        bases["teacher"] = config_folder(store, pins.teacher, scratch)
    data: dict[str, Data] = {
        "pretrain": data_of("corpus", recipe.ingest, steps, store),
        "finetune": data_of("labelled", recipe.ingest, steps, store),
    }
    wanted = [step.name for step in steps if stage_of(step.name) in _TRAINING and nodes[step.name] in kinds]
    sketched = [training_of(name, recipe, data[stage_of(name)], kinds[nodes[name]], bases) for name in wanted]
    found = estimates([one.outline for one in sketched])
    cached = {step.name for step in steps if step.state == "cached"} if profile is None else set()
    return [
        _training(recipe, trained, told, (nodes[trained.step], kinds, profile), cached=trained.step in cached)
        for trained, told in zip(sketched, found, strict=True)
    ]


def _training(
    recipe: Recipe,
    trained: Trained,
    told: Estimate | str,
    place: tuple[str, Mapping[str, NodeKind], Profile | None],
    *,
    cached: bool,
) -> Training:
    node, kinds, profile = place
    kind = kinds[node]
    if isinstance(told, str):
        return Training(trained=trained, node=node, kind=kind, estimate=None, unknown=told)
    if cached:
        return Training(trained=trained, node=node, kind=kind, estimate=told)
    settings = trained.outline.training
    fitted = fit(
        told,
        Setting(rows=trained.at_once, world=trained.world, shard=settings.shard, device=kind.device is not None),
        kind,
        whole=trained.outline.learned == "simclr",
        recomputed=lambda: _recomputed(trained),
        others={
            name: lambda other=other: _holds(told, trained, other, recipe)  # type: ignore[misc]
            for name, other in kinds.items()
            if name != node and (other.device is not None) == (kind.device is not None)
        },
        batch_rows=settings.batch_rows,
    )
    cost = cost_of(trained, told, kind, recipe.name, here=profile is None)
    return Training(trained=trained, node=node, kind=kind, estimate=told, fit=fitted, cost=cost)


def _recomputed(trained: Trained) -> Estimate | None:
    if trained.outline.training.recompute:
        return None
    outline: Outline = with_training(trained, recompute=True)
    (found,) = estimates([outline])
    return found if isinstance(found, Estimate) else None


def _holds(estimate: Estimate, trained: Trained, kind: NodeKind, recipe: Recipe) -> bool:
    has = limit(kind)
    other = on(trained, kind, recipe)
    shard = trained.outline.training.shard
    # What is not divided goes on with fewer rows where memory runs out.
    rows = other.at_once if shard or trained.outline.learned == "simclr" else other.outline.rows[-1]
    setting = Setting(rows=rows, world=other.world, shard=shard, device=kind.device is not None)
    return has is not None and memory(estimate, setting).total <= has


def _misfit(one: Training) -> str:
    assert one.fit is not None
    assert one.fit.has is not None
    needs, has = one.fit.needs.total, one.fit.has
    what = "each device" if one.kind.device is not None else "a node"
    ways = " or ".join(one.fit.would) or "nothing of this profile; take a smaller model or shorter rows"
    return (
        f"{one.trained.step}: needs {gib(needs)} of memory, and {what} of {one.node} has {gib(has)}, {gib(needs - has)}"
        f" too little; what would fit: {ways}"
    )


def gib(count: float) -> str:
    """Return bytes as a person reads them."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"
