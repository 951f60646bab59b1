"""Which steps a recipe has, and what each is told: its own section plus the facts of other sections that it reads."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from components.evaluate.settings import EvaluateSettings
from components.finetune.settings import FinetuneSettings
from components.ingest.settings import IngestSettings
from components.preprocess.settings import PreprocessSettings, Tokens
from components.pretrain.settings import PretrainSettings
from components.register.settings import RegisterSettings
from components.resolve.settings import ResolveSettings
from modelmill.digest import canonical_json
from modelmill.errors import UserError
from modelmill.evaluation.comparison import AgainstChampion
from modelmill.settings import Section
from modelmill.sources import fingerprint, nearest
from pipelines.recipe import Recipe

Stage = Literal["ingest", "preprocess", "pretrain", "finetune", "evaluate", "register"]
FROM_SCRATCH = "-from-scratch"
"""Ends the names of the steps that repeat fine-tuning from random weights, to compare with."""
CHAMPION = "-champion"
"""Ends the name of the step that measures the version in use on the same rows."""
_SHARED = ("resolve", "ingest", "preprocess")


def step_names(recipe: Recipe, until: Stage = "register") -> list[str]:
    """Return the steps of a recipe in the order in which they run, up to and with one stage."""
    suffixes = ["", FROM_SCRATCH] if "from_scratch" in recipe.evaluate.compare else [""]
    names = ["resolve"]
    for stage in get_args(Stage)[: get_args(Stage).index(until) + 1]:
        if stage == "pretrain" and recipe.pretrain is None:
            continue
        if stage == "finetune" and recipe.is_language_model:
            continue
        names += [stage + suffix for suffix in suffixes] if stage in {"finetune", "evaluate"} else [stage]
    if until == "register":
        names.insert(-1, f"evaluate{CHAMPION}")
    return names


def stage_of(name: str) -> str:
    """Return the stage, or resolve, of which a step is one run."""
    return name.removesuffix(FROM_SCRATCH).removesuffix(CHAMPION)


def steps_before(name: str, names: Sequence[str]) -> list[str]:
    """Return the steps that a step needs the outputs of, its own and theirs; kfp runs all others in any order."""
    if name == "register":
        return [other for other in names if other != name]
    before = [other for other in names[: names.index(name)] if stage_of(other) != stage_of(name)]
    if name.endswith(FROM_SCRATCH):
        return [other for other in before if other in _SHARED or other.endswith(FROM_SCRATCH)]
    return [other for other in before if not other.endswith(FROM_SCRATCH)]


def settings_of(recipe: Recipe) -> dict[str, str]:
    """Return every step's settings as canonical JSON, by the step's name."""
    told: dict[str, Section] = {
        "resolve": ResolveSettings(
            sources=tuple(recipe.ingest.uris),
            base=recipe.base or "",
            teacher=recipe.finetune.teacher.base if recipe.finetune.teacher is not None else "",
            table=recipe.name if recipe.ingest.table is not None else "",
            registered=recipe.registration.name,
            warm_start=recipe.warm_start,
        ),
        "ingest": IngestSettings(**_own(recipe.ingest), task=recipe.task),
    }
    told |= _training(recipe)
    return {name: canonical_json(settings.model_dump(mode="json")) for name, settings in told.items()}


def _training(recipe: Recipe) -> dict[str, Section]:
    task = recipe.task
    told: dict[str, Section] = {
        "preprocess": PreprocessSettings(**_of(recipe.preprocess, Tokens), task=task),
        "evaluate": _evaluate(recipe),
        f"evaluate{CHAMPION}": EvaluateSettings(task=task, subject="champion", must_beat=()),
        "register": RegisterSettings(
            **_own(recipe.registration),
            task=task,
            recipe=recipe.name,
            recipe_digest=recipe.digest,
            steps=tuple(step_names(recipe)[:-1]),
            against_champion=recipe.evaluate.against_champion,
        ),
    }
    if not recipe.is_language_model:
        told["finetune"] = _finetune(recipe, "weights")
    if recipe.pretrain is not None:
        told["pretrain"] = PretrainSettings(
            **_own(recipe.pretrain), max_tokens=recipe.preprocess.max_tokens, packing=recipe.preprocess.packing
        )
    if "from_scratch" in recipe.evaluate.compare:
        told[f"finetune{FROM_SCRATCH}"] = _finetune(recipe, "random")
        told[f"evaluate{FROM_SCRATCH}"] = EvaluateSettings(task=task, subject="from_scratch", must_beat=())
    return told


def _evaluate(recipe: Recipe) -> EvaluateSettings:
    harness = recipe.evaluate.lm_eval
    pinned = fingerprint(harness.include) if harness is not None and harness.include is not None else ""
    # How it compares is decided in register, so that another margin measures nothing again.
    own = {**_own(recipe.evaluate), "against_champion": AgainstChampion()}
    return EvaluateSettings(**own, task=recipe.task, lm_eval_pinned=pinned)


def _finetune(recipe: Recipe, start: Literal["weights", "random"]) -> FinetuneSettings:
    shape: Any = recipe.pretrain.model if recipe.pretrain is not None else recipe.finetune.model
    own = {**_own(recipe.finetune), "model": shape}
    most, most_target = recipe.preprocess.max_tokens, recipe.preprocess.max_target_tokens
    if recipe.writes_targets:
        own["max_target_tokens"] = most_target or most
    return FinetuneSettings(**own, task=recipe.task, start=start, max_tokens=most)


def _of(section: Section, kind: type[Section]) -> dict[str, Any]:
    """Return what a section says of what another kind of section has, too."""
    return {name: getattr(section, name) for name in kind.model_fields}


def _own(section: Section) -> dict[str, Any]:
    return _of(section, type(section))


def nearest_stage(word: str) -> Stage:
    """Return the stage that a word names.

    Raises:
        UserError: it names none; the nearest is told.
    """
    stages: tuple[Stage, ...] = get_args(Stage)
    for stage in stages:
        if word == stage:
            return stage
    hint = nearest(word, stages) or f"; the stages are {', '.join(stages)}"
    raise UserError(f"--until {word}: no such stage{hint}")
