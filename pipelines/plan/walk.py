"""Which steps a run here would answer from the cache: kfp.local's own keys, asked without running a step."""

import itertools
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.recipe import Recipe
from pipelines.steps import Stage, step_names

State = Literal["cached", "runs", "perhaps", "asks"]
"""`perhaps`: it runs, unless what it reads, which is made first, comes out as in an earlier run; `asks`: a
cluster knows when it gets there."""
# Ways in which what is not made yet may come out; beyond these a step is `perhaps`, unasked.
_MOST_WAYS = 10_000
_ALWAYS = {
    "resolve": "always: looks at what can change under a name",
    "register": "always: judges and registers, in seconds",
}


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """What becomes of one step."""

    name: str
    state: State
    why: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What it will answer, where that is known: by the cache, or of resolve."""


def walk(recipe: Recipe, until: Stage, resolved: Mapping[str, str] | None, folder: Path) -> list[PlannedStep]:
    """Return the steps in their order; `folder` is the runner's, with its cache.

    `resolved` is what resolve will answer, as far as the cached steps read it; None where this store was never used,
    and so nothing is cached.
    """
    warnings.simplefilter("ignore")
    from pipelines.graph import build

    graph = _Graph.of(build(recipe, until).pipeline_spec)
    cache = _Cache(folder / ".kfp_cache")
    planned: dict[str, PlannedStep] = {}
    known: dict[str, Mapping[str, Any]] = {}
    for name in step_names(recipe, until):
        task = graph.tasks[name]
        planned[name] = _planned(name, task, graph, cache, known) if resolved is not None else _new(name)
        if name == "resolve" and resolved is not None:
            planned[name] = PlannedStep(name=name, state="runs", why=_ALWAYS[name], outputs=resolved)
        if planned[name].outputs:
            known[task.name] = planned[name].outputs
    return list(planned.values())


def _new(name: str) -> PlannedStep:
    return PlannedStep(name=name, state="runs", why=_ALWAYS.get(name, "nothing was run with this store yet"))


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One task of the graph, with what its key is made of."""

    name: str
    component: str
    image: str
    command: list[str]
    env: dict[str, str]
    cached: bool
    constants: Mapping[str, Any]
    read: Mapping[str, tuple[str, str]]
    """By argument: the task, and its output, that it comes from."""
    outputs: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class _Graph:
    tasks: Mapping[str, _Task]
    """By the step's name."""

    @classmethod
    def of(cls, spec: Any) -> "_Graph":
        """Read a pipeline specification as kfp.local does."""
        from kfp.local import utils

        executors = {
            name: utils.struct_to_executor_spec(executor).container
            for name, executor in spec.deployment_spec["executors"].items()
        }
        tasks = {}
        for name, task in spec.root.dag.tasks.items():
            component = spec.components[task.component_ref.name]
            tasks[task.task_info.name or name] = _task(name, task, component, executors[component.executor_label])
        return cls(tasks=tasks)

    def step(self, task: str) -> str:
        """Return the step of a task's name."""
        return next(step for step, one in self.tasks.items() if one.name == task)


def _task(name: str, task: Any, component: Any, container: Any) -> _Task:
    from kfp.local.executor_output_utils import pb2_value_to_python

    constants, read = {}, {}
    for argument, given in task.inputs.parameters.items():
        if given.HasField("task_output_parameter"):
            source = given.task_output_parameter
            read[argument] = (source.producer_task, source.output_parameter_key)
        else:
            constants[argument] = pb2_value_to_python(given.runtime_value.constant)
    made = component.output_definitions
    return _Task(
        name=name,
        component=task.component_ref.name,
        image=container.image,
        command=[*container.command, *container.args],
        env={variable.name: variable.value for variable in container.env},
        cached=task.caching_options.enable_cache,
        constants=constants,
        read=read,
        outputs=frozenset([*made.parameters, *made.artifacts]),
    )


@dataclass
class _Cache:
    """kfp.local's cache, of which nothing is made where it is not there."""

    folder: Path
    _entries: dict[frozenset[str], list[dict[str, Any]]] | None = field(default=None, init=False)

    def find(self, task: _Task, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what a task would be answered; None where it would run."""
        if not self.folder.is_dir():
            return None
        from kfp.local.cache import LocalCache

        cache = LocalCache(str(self.folder))
        # In the order in which the runner gives them, though the key sorts them.
        key = cache.compute_key(task.component, task.image, task.command, dict(arguments), task.env)
        found: dict[str, Any] | None = cache.get(key)
        return found

    def answers(self, outputs: frozenset[str]) -> list[dict[str, Any]]:
        """Return all that steps with these outputs ever answered."""
        if self._entries is None:
            self._entries = {}
            for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []:
                try:
                    entry = json.loads(path.read_text())
                except (OSError, ValueError):
                    continue
                self._entries.setdefault(frozenset(entry), []).append(entry)
        return self._entries.get(outputs, [])


def _planned(
    name: str, task: _Task, graph: _Graph, cache: _Cache, known: Mapping[str, Mapping[str, Any]]
) -> PlannedStep:
    if not task.cached:
        always = _ALWAYS.get(name, "always: what was measured already is not measured again")
        return PlannedStep(name=name, state="runs", why=always)
    missing = sorted({source for source, _ in task.read.values() if source not in known})
    if not missing:
        arguments = {**task.constants, **{key: known[source][output] for key, (source, output) in task.read.items()}}
        answer = cache.find(task, arguments)
        if answer is not None:
            return PlannedStep(name=name, state="cached", why="answered from the cache", outputs=answer)
        return PlannedStep(name=name, state="runs", why="not in the cache with these settings, inputs and code")
    waits = " and ".join(graph.step(source) for source in missing)
    for way in _ways(task, graph, cache, known, missing):
        if way is None or cache.find(task, way) is not None:
            return PlannedStep(name=name, state="perhaps", why=f"unless {waits} comes out as in an earlier run")
    return PlannedStep(name=name, state="runs", why=f"what it reads of {waits} is not made yet")


def _ways(
    task: _Task, graph: _Graph, cache: _Cache, known: Mapping[str, Mapping[str, Any]], missing: Sequence[str]
) -> Iterator[dict[str, Any] | None]:
    """Yield every way in which a task's arguments may come out, by what those steps ever answered; None: too many."""
    wanted = {source: [output for one, output in task.read.values() if one == source] for source in missing}
    choices = []
    for source, outputs in wanted.items():
        answers = cache.answers(graph.tasks[graph.step(source)].outputs)
        choices.append(sorted({tuple(str(answer[output]) for output in outputs) for answer in answers}))
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST_WAYS:
        yield None
        return
    for way in itertools.product(*choices):
        values = {
            (source, output): value
            for (source, outputs), chosen in zip(wanted.items(), way, strict=True)
            for output, value in zip(outputs, chosen, strict=True)
        }
        made = {
            key: values[source, output] if source in wanted else known[source][output]
            for key, (source, output) in task.read.items()
        }
        yield {**task.constants, **made}
