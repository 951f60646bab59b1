"""What `evaluate` is told."""

from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from modelmill.evaluation.checks import (
    LOWER_IS_BETTER,
    AnswerMetric,
    Baseline,
    ClassMetric,
    CostMetric,
    LanguageMetric,
    Metric,
    NumberMetric,
    TargetMetric,
    Threshold,
)
from modelmill.evaluation.comparison import AgainstChampion
from modelmill.evaluation.ladders import CHANGES, EXPLAINED, Change
from modelmill.settings import LanguageTask, Section, Task, TextTask


class Harness(Section):
    """Tasks of lm-evaluation-harness, for a causal language model; needs `pip install 'modelmill[lm-eval]'`."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Their names, or those of groups, as `lm_eval ls tasks` lists them. Their data come from the Hub, where a task
    names no files of its own."""
    limit: int | None = Field(default=None, ge=1)
    """Rows of each task that are asked at most; all, if left out."""
    include: str | None = None
    """A folder of further tasks, as the harness's YAML files, and their data: a path, or a URI as a source's. A task
    names the files of its data from this folder. Such files may hold code, which runs."""


class Evaluate(Section):
    """The recipe's section `evaluate`: what the model must reach on the held-out test rows."""

    thresholds: dict[Metric, Threshold] = Field(default_factory=dict)
    """What each metric must be, as in `{accuracy: {min: 0.8}}`; decided on the nearer end of its 95 % interval."""
    must_beat: tuple[Baseline, ...] = ("majority",)
    """Baselines whose accuracy, R², F1 or chrF the model's must exceed; one of them always is: the majority class, the
    mean, the first sentence of a context, or the most frequent target. `linear` is ordinary least squares on the same
    transformed features, `sliding_window` that of arXiv:1606.05250, section 5.1, `copy` the source as the answer."""
    prompts: tuple[str, ...] = ()
    """Texts that a language model is to continue in the report (`[MASK]` is to be filled in by a masked one)."""
    compare: tuple[Literal["from_scratch"], ...] = ()
    """`from_scratch`: the same fine-tune from random weights is made and measured too."""
    slices: tuple[str, ...] = ()
    """Columns by whose values the test rows are measured in parts: a table's, `label`, `text_length`, the characters of
    a row's texts, `source`, where the sources have names, or one of `ingest.slice_columns`. Numbers and dates are cut
    into quarters of the rows."""
    slice_thresholds: dict[str, dict[Metric, Threshold]] = Field(default_factory=dict)
    """What every slice of a column with 30 rows or more must be, as in `{street: {accuracy: {min: 0.7}}}`."""
    against_champion: AgainstChampion = AgainstChampion()
    """What the model must show beside the champion, on the same rows, to take its place."""
    robustness: tuple[Change, ...] = ()
    """Changes to the test rows under which the model is measured too, each at several strengths. Of texts `typos`,
    `truncation`, `case` (of a question and its context, the question's); of pictures `noise`, `blur`, `brightness`,
    `rotation`, `fgsm`; of tables `noise`, `missing`, `fgsm` (the fast gradient sign method: one step that is to mislead
    this very model)."""
    explain: int = Field(default=0, ge=0, le=50)
    """Answers, half of them wrong, of which the report tells which tokens, pixels or columns moved them."""
    cost: bool = False
    """Whether time, tokens a second, memory and size are measured, as they always are where a threshold is on one; the
    machine that evaluates is told with them."""

    lm_eval: Harness | None = None
    """Tasks of lm-evaluation-harness, whose figures the report tells beside its own."""

    @property
    def measures_cost(self) -> bool:
        """Whether anything asks for what the model costs."""
        return self.cost or any(name in get_args(CostMetric) for name in self.thresholds)

    @field_validator("slices")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if value.count(name) > 1:
                raise ValueError(f"{name}: named {value.count(name)} times, once is enough")
        return value

    @model_validator(mode="after")
    def _thresholds_have_slices(self) -> "Evaluate":
        for name in self.slice_thresholds:
            if name not in self.slices:
                raise ValueError(f"slice_thresholds.{name}: is none of the slices; write slices: [{name}]")
        return self

    @field_validator("slice_thresholds")
    @classmethod
    def _sensible_of_slices(cls, value: dict[str, dict[Metric, Threshold]]) -> dict[str, dict[Metric, Threshold]]:
        for thresholds in value.values():
            cls._sensible(thresholds)
        return value

    @field_validator("thresholds")
    @classmethod
    def _sensible(cls, value: dict[Metric, Threshold]) -> dict[Metric, Threshold]:
        for name, threshold in value.items():
            lower = name in LOWER_IS_BETTER
            if (threshold.max is None) == lower:
                side = "lower: write {max: …}" if lower else "higher: write {min: …}"
                raise ValueError(f"{name}: better when {side}")
            limit = threshold.max if lower else threshold.min
            most = 100 if name in get_args(TargetMetric) else 1
            if limit is not None and ((limit < 0 and name != "r2") or (limit > most and not lower)):
                range_ = "0 and up" if lower else f"0 to {most}"
                raise ValueError(f"{name}: {limit:g} is out of its range, which is {range_}")
        return value


class EvaluateSettings(Evaluate):
    """What the step `evaluate` is told: its section, the task, and which of a recipe's models it measures."""

    task: Task
    subject: Literal["model", "from_scratch", "champion"] = "model"
    """`from_scratch`: the comparison of `compare`; `champion`: the version in use. They answer to no threshold and no
    baseline of their own."""

    lm_eval_pinned: str = ""
    """Fingerprint of `lm_eval.include` when the run began."""

    @model_validator(mode="after")
    def _comparison_has_no_checks(self) -> "EvaluateSettings":
        asked = self.thresholds or self.must_beat or self.compare or self.slices
        if self.subject != "model" and (asked or self.robustness or self.explain or self.cost or self.lm_eval):
            raise ValueError(f"subject {self.subject}: thresholds, must_beat and compare must be empty, as all else")
        return self


def unfit_for(task: Task, evaluate: Evaluate) -> str:
    """Return which key asks for what a task has not, and why; nothing where none does."""
    figures: list[str] = list(get_args(ClassMetric))
    has = ["majority", *(["tfidf"] if task in get_args(TextTask) else [])]
    if task == "table-regression":
        figures, has = list(get_args(NumberMetric)), ["mean", "linear"]
    elif task == "question-answering":
        figures, has = list(get_args(AnswerMetric)), ["first_sentence", "sliding_window"]
    elif task == "sequence-to-sequence":
        figures, has = [*get_args(TargetMetric), "loss", "perplexity"], ["frequent", "copy"]
    elif task in get_args(LanguageTask):
        figures += get_args(LanguageMetric)
    figures += get_args(CostMetric)
    asked = {f"thresholds.{name}": name for name in evaluate.thresholds}
    for column, thresholds in evaluate.slice_thresholds.items():
        asked |= {f"slice_thresholds.{column}.{name}": name for name in thresholds}
    if evaluate.against_champion.metric is not None:
        asked["against_champion.metric"] = evaluate.against_champion.metric
    for key, name in asked.items():
        if name not in figures:
            said = "is" if key.endswith(name) else f"{name} is"
            return f"evaluate.{key}: {said} no figure of {task}, whose figures are {', '.join(figures)}"
    for baseline in evaluate.must_beat:
        # The default says majority, which is the mean of a regression, the first sentence of a context, and the most
        # frequent of written answers.
        if baseline not in has and not ("majority" not in has and evaluate.must_beat == ("majority",)):
            return f"evaluate.must_beat: {baseline} is no baseline of {task}, whose baselines are {', '.join(has)}"
    return _unfit_probe(task, evaluate)


def _unfit_probe(task: Task, evaluate: Evaluate) -> str:
    changes = CHANGES.get(task, ())
    for change in evaluate.robustness:
        if change not in changes:
            known = f"for which there are {', '.join(changes)}" if changes else "for which there is none; leave it out"
            return f"evaluate.robustness: {change} is no change to the rows of {task}, {known}"
    if evaluate.explain and task not in EXPLAINED:
        known = ", ".join(EXPLAINED)
        return f"evaluate.explain: answers of {task} are not explained, only those of {known}; leave it out"
    if evaluate.lm_eval is not None and task != "causal-lm":
        return f"evaluate.lm_eval: the harness asks models of causal-lm, and the task is {task}; leave it out"
    return ""
