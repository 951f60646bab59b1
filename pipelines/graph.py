"""The one Kubeflow Pipelines graph of a recipe: what runs here is what runs on a cluster."""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kfp import dsl

from components.evaluate.component import evaluate
from components.finetune.component import finetune
from components.ingest.component import ingest
from components.notify.component import notify
from components.notify.settings import NotifySettings
from components.preprocess.component import preprocess
from components.pretrain.component import pretrain
from components.register.component import register
from components.resolve.component import resolve
from modelmill.digest import canonical_json
from modelmill.profile import Profile
from pipelines.placement import Placement
from pipelines.recipe import Recipe
from pipelines.steps import CHAMPION, FROM_SCRATCH, Stage, settings_of, stage_of, step_names

_COMPONENTS = {
    "resolve": resolve,
    "ingest": ingest,
    "preprocess": preprocess,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "register": register,
}


def build(recipe: Recipe, until: Stage = "register", profile: Profile | None = None) -> Any:
    """Return the pipeline function of a recipe, up to and with one stage.

    Without a profile the pipeline's outputs are every task's parameters, each named `<step>__<output>`. With one every
    task is placed as the profile says, and whatever becomes of them, one more task tells how the run ended; kfp takes
    no outputs from under its exit handler.
    """
    names = step_names(recipe, until)
    steps = _Steps(told=settings_of(recipe), on_cluster=profile is not None)

    def pipeline():  # type: ignore[no-untyped-def]
        for name in names:
            steps.add(name)
        return outputs_class(**{field: steps.tasks[name].outputs[key] for field, (name, key) in outputs.items()})

    def placed_pipeline():  # type: ignore[no-untyped-def]
        assert profile is not None
        placement = Placement(recipe=recipe, profile=profile)
        with dsl.ExitHandler(_notification(placement, names), name="steps"):
            for name in names:
                steps.add(name)
                placement.place(steps.tasks[name], name)

    described = dsl.pipeline(name=recipe.name, description=f"{recipe.task}: {recipe.name}")
    if profile is not None:
        return described(placed_pipeline)
    outputs = {f"{_identifier(name)}__{key}": (name, key) for name in names for key in _keys(name)}
    outputs_class = NamedTuple("Outputs", [(field, str) for field in outputs])  # type: ignore[misc]
    pipeline.__annotations__["return"] = outputs_class
    return described(pipeline)


def _notification(placement: Placement, names: list[str]) -> Any:
    """Add the task that runs when all others have ended."""
    kinds = {name: placement.kind_of(name)[1] for name in names}
    prices = {name: kind.price(3600) for name, kind in kinds.items()}
    settings = NotifySettings(
        recipe=placement.recipe.name,
        steps=tuple(names),
        hourly={name: price for name, price in prices.items() if price is not None},
        currency=placement.profile.currency,
        page=placement.profile.kfp.ui or "",
    )
    told = canonical_json(settings.model_dump(mode="json"))
    task = notify(settings=told, began=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER)
    return placement.place(task.set_caching_options(False), "notify")


def _identifier(name: str) -> str:
    return name.replace("-", "_")


def _keys(name: str) -> list[str]:
    """The output parameters of a step; its artifacts are for KFP's pages only."""
    outputs = _COMPONENTS[stage_of(name)].component_spec.outputs or {}
    return [key for key, output in outputs.items() if output.type == "String"]


@dataclass
class _Steps:
    """Adds a recipe's tasks to the pipeline that is being drawn."""

    told: dict[str, str]
    """Settings as JSON by step."""
    on_cluster: bool = False
    tasks: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Add one step; the steps that it needs were added before."""
        stage = stage_of(name)
        self.tasks[name] = getattr(self, f"_{stage}")(name.removeprefix(stage))

    def _of(self, name: str, output: str) -> Any:
        """An output of an earlier task, or '' where the graph has no such task."""
        return self.tasks[name].outputs[output] if name in self.tasks else ""

    def _trained(self, suffix: str) -> Any:
        """The model that training ends with: a language model's is pretraining's."""
        name = f"finetune{suffix}"
        return self._of(name, "tuned") if name in self.tasks else self._of("pretrain", "model")

    def _resolve(self, _suffix: str) -> Any:
        return resolve(settings=self.told["resolve"]).set_caching_options(False)

    def _ingest(self, _suffix: str) -> Any:
        return ingest(
            settings=self.told["ingest"],
            sources=self._of("resolve", "sources"),
            before=self._of("resolve", "before"),
            where=self._of("resolve", "where"),
        )

    def _like(self) -> str:
        """What the data are made ready for: the base model, or the teacher of a model that starts from random weights.

        Both must read the same.
        """
        named = json.loads(self.told["resolve"])
        return "teacher" if named["teacher"] and not named["base"] else "base"

    def _preprocess(self, _suffix: str) -> Any:
        return preprocess(
            settings=self.told["preprocess"],
            corpus=self._of("ingest", "corpus"),
            labelled=self._of("ingest", "labelled"),
            base=self._of("resolve", self._like()),
            where=self._of("resolve", "where"),
        )

    def _pretrain(self, _suffix: str) -> Any:
        return pretrain(
            settings=self.told["pretrain"],
            corpus=self._of("preprocess", "corpus_tokens"),
            base=self._of("resolve", "base"),
            where=self._of("resolve", "where"),
        )

    def _finetune(self, suffix: str) -> Any:
        name = f"finetune{suffix}"
        return finetune(
            settings=self.told[name],
            labelled=self._of("preprocess", "labelled_tokens"),
            model="" if suffix else self._of("pretrain", "model"),
            base=self._of("resolve", "base"),
            teacher=self._of("resolve", "teacher"),
            step=name,
            where=self._of("resolve", "where"),
        ).set_display_name(name)

    def _evaluate(self, suffix: str) -> Any:
        name, champion = f"evaluate{suffix}", suffix == CHAMPION
        made = evaluate(
            settings=self.told[name],
            model=self._of("resolve", "champion") if champion else self._trained(suffix),
            # A language model is measured on what its corpus holds out.
            labelled=self._of("ingest", "labelled" if "finetune" in self.tasks else "corpus"),
            challenger=self._trained("") if champion else "",
            step=name,
            where=self._of("resolve", "where"),
        ).set_display_name(name)
        # It remembers by itself what it has measured, so that another challenger does not have it measured again.
        # On a cluster an unchanged tick of a schedule must not start a pod on a node with accelerators for that.
        return made.set_caching_options(False) if champion and not self.on_cluster else made

    def _register(self, _suffix: str) -> Any:
        return register(
            settings=self.told["register"],
            report=self._of("evaluate", "report"),
            comparison=self._of(f"evaluate{FROM_SCRATCH}", "report"),
            champion=self._of(f"evaluate{CHAMPION}", "report"),
            champion_version=self._of("resolve", "champion_version"),
            champion_summary=self._of(f"evaluate{CHAMPION}", "summary"),
            model=self._trained(""),
            corpus=self._of("ingest", "corpus"),
            labelled=self._of("ingest", "labelled"),
            made_corpus=self._of("ingest", "made_corpus"),
            made_labelled=self._of("ingest", "made_labelled"),
            pretrain_summary=self._of("pretrain", "summary"),
            finetune_summary=self._of("finetune", "summary"),
            where=self._of("resolve", "where"),
        ).set_caching_options(False)
