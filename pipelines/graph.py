"""The one Kubeflow Pipelines graph of a recipe: what runs here is what runs on a cluster."""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kfp import dsl

from components.evaluate.component import evaluate
from components.finetune.component import finetune
from components.ingest.component import ingest
from components.preprocess.component import preprocess
from components.pretrain.component import pretrain
from components.register.component import register
from components.resolve.component import resolve
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


def build(recipe: Recipe, until: Stage = "register") -> Any:
    """Return the pipeline function of a recipe, up to and with one stage.

    The pipeline's outputs are every task's parameters, each named `<step>__<output>`.
    """
    names = step_names(recipe, until)
    told = settings_of(recipe)
    fields = [(f"{_identifier(name)}__{key}", str) for name in names for key in _keys(name)]
    outputs_class = NamedTuple("Outputs", fields)  # type: ignore[misc]

    def pipeline():  # type: ignore[no-untyped-def]
        steps = _Steps(told=told)
        for name in names:
            steps.add(name)
        return outputs_class(
            **{f"{_identifier(name)}__{key}": steps.tasks[name].outputs[key] for name in names for key in _keys(name)}
        )

    pipeline.__annotations__["return"] = outputs_class
    return dsl.pipeline(name=recipe.name, description=f"{recipe.task}: {recipe.name}")(pipeline)


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
        return made.set_caching_options(False) if champion else made

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
