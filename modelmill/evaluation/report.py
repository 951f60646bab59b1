"""The report as one self-contained HTML page: text, tables, inline SVG and CSS, and not one request to anywhere.

Needs jinja2 alone, so the page is drawn again in milliseconds where the verdict is found.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from modelmill.evaluation.checks import (
    BASELINE_WORDS,
    LOWER_IS_BETTER,
    METRIC_WORDS,
    TargetMetric,
    figures_apart,
    fixed,
    main_metric,
)
from modelmill.evaluation.document import Report
from modelmill.evaluation.intervals import wilson
from modelmill.page.environment import environment
from modelmill.settings import LanguageTask

if TYPE_CHECKING:
    from jinja2 import Environment

_HEADLINES = {
    "promote": ("Promote", "promote", "✓"),
    "hold": ("Hold", "hold", "✗"),
    "undecided": ("Undecided", "undecided", "?"),
}
ROW_WORDS: Mapping[str, str] = {
    "test": "This model",
    "from_scratch": "From random weights",
    "tfidf": "tf-idf + logistic regression",
    "majority": "Majority class",
    "linear": "Least squares",
    "mean": "Training mean",
    "unigram": "Frequency of words",
    "sliding_window": "Sliding window",
    "first_sentence": "First sentence",
    "copy": "Copied source",
    "frequent": "Most frequent target",
}
"""The model, and what it is compared with, in the order in which they are listed."""
_KEY_FIGURES = (
    *("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc", "average_precision"),
    *("r2", "rmse", "mae", "interval_coverage"),
)
# In the target's own unit or its square, which may be of any size.
_IN_UNITS = frozenset({"rmse", "mse", "mae"})
_OF_A_HUNDRED = frozenset(get_args(TargetMetric))
_SPLITS = ("train", "validation", "test")
# With more labels than this the cells of a confusion matrix are small.
_ROOMY = 6


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One line of the comparison: the model, a baseline, or the same fine-tune from random weights."""

    key: str
    name: str
    metrics: Mapping[str, float]
    low: float
    high: float
    """95 % interval of the accuracy, Wilson's, or of R²."""
    difference: float | None
    """The model's accuracy, or R², less this one's; none for the model itself."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A thing that must not be overlooked."""

    title: str
    text: str


def render(report: Report | Mapping[str, Any]) -> str:
    """Return the page of a report, or of its parsed JSON.

    Raises:
        ModelmillError: the JSON is no report.
    """
    document = report if isinstance(report, Report) else Report.read(report)
    template, facts = _page(document)
    return (
        _environment()
        .get_template(template)
        .render(
            report=document,
            headline=_headline(document),
            reasons=_reasons(document),
            splits=sorted(document.data.splits.items(), key=lambda item: _place(item[0])) if document.data else (),
            training={step: dict(flat(told)) for step, told in document.training.items()},
            lineage=dict(flat({"model": document.model, "measured_on": document.dataset, **document.lineage})),
            **facts,
        )
    )


def _page(document: Report) -> tuple[str, dict[str, Any]]:
    """Return the template of a report's page, and what it alone draws."""
    test = document.metrics["test"]
    if document.task in get_args(LanguageTask):
        figures = [name for name in ("perplexity", "bits_per_byte", "loss", "accuracy") if name in test]
        return "report_language.html", {
            "alerts": (), "figures": figures, "sampling": dict(flat(document.sampling))
        }  # fmt: skip
    facts: dict[str, Any] = {
        "alerts": _alerts(document),
        "contenders": _contenders(document),
        "pretraining": _pretraining(document),
    }
    if document.answers is not None:
        return "report_questions.html", {**facts, "answers": document.answers}
    if document.targets is not None:
        written = [name for name in ("chrf", "bleu", "perplexity", "loss") if name in test]
        return "report_targets.html", {**facts, "figures": written, "asked": dict(flat(document.targets.asked))}
    return "report.html", {
        **facts,
        "main": main_metric(test),
        "metric_names": [name for name in METRIC_WORDS if name in test],
        "key_figures": [name for name in _KEY_FIGURES if name in test],
        "dense": len(document.labels) > _ROOMY,
    }


def _place(split: str) -> int:
    return _SPLITS.index(split) if split in _SPLITS else len(_SPLITS)


def _environment() -> "Environment":
    from modelmill.evaluation import plots, probe_plots

    made = environment("modelmill", "evaluation")
    made.filters.update(signed=_signed, fact=fact, measured=measured, amount=plots.amount)
    made.globals.update(plots=plots, probe_plots=probe_plots)
    made.globals.update(metric_words=METRIC_WORDS, lower_is_better=LOWER_IS_BETTER, row_words=ROW_WORDS)
    return made


def _headline(report: Report) -> tuple[str, str, str]:
    """The word, the class of its colour, and its mark."""
    return _HEADLINES[report.verdict.decision] if report.verdict else ("Evaluated", "undecided", "●")


def _reasons(report: Report) -> list[tuple[str, str]]:
    """Sentences, each with `passed`, `failed` or nothing."""
    outcome = {check.sentence: "passed" if check.passed else "failed" for check in report.checks}
    sentences = report.verdict.reasons if report.verdict else tuple(outcome)
    return [(outcome.get(sentence, ""), sentence) for sentence in sentences]


def _alerts(report: Report) -> list[Alert]:
    main = main_metric(report.metrics["test"])
    ours, figure = report.metrics["test"][main], METRIC_WORDS[main]
    advice = {
        "tfidf": "It trains in seconds and needs no GPU to serve. Consider a stronger base model, more epochs or more "
        "labelled rows, or take the baseline.",
        "majority": "Always giving the most frequent label is as good: the model has learned nothing of use. Check the "
        "labels, the text column and the learning rate.",
        "linear": "It has a closed form and needs no training. Consider more epochs, another rate or shape, or more "
        "rows; or take the baseline.",
        "copy": "Repeating what was asked has as much in common with the references. Where sources and references are "
        "alike, as in corrections, this is hard to beat; elsewhere train longer, or start from a base model.",
        "frequent": "Always writing the most frequent target is as good: the model has learned nothing of use. Check "
        "the columns and the learning rate.",
        "mean": "Always answering the mean of the training rows is as good: the model has learned nothing of use. "
        "Check the target, the features and the learning rate.",
        "sliding_window": "It only counts words that question and context share, and needs no training. Consider a "
        "stronger base model, more epochs or more questions.",
        "first_sentence": "Always giving the first sentence of the context is as good: the model has learned nothing "
        "of use. Check the answers' places and the learning rate.",
    }
    alerts = []
    for name, text in advice.items():
        if name in report.metrics and report.metrics[name][main] >= ours:
            theirs, mine = figures_apart(report.metrics[name][main], ours)
            word = BASELINE_WORDS[name]
            word = word[0].upper() + word[1:]
            title = f"{word} is as good: {figure} {mine} both" if theirs == mine else ""
            alerts.append(Alert(title=title or f"{word} is better: {figure} {theirs} against {mine}", text=text))
    return alerts


def _contenders(report: Report) -> list[Contender]:
    main = main_metric(report.metrics["test"])
    ours = report.metrics["test"][main]
    found = []
    everyone = {**report.metrics, **report.comparisons}
    for key, metrics in sorted(everyone.items(), key=lambda item: list(ROW_WORDS).index(item[0])):
        if report.regression is not None:
            low, high = report.regression.r2_intervals[key]
        elif report.answers is not None:
            # Of the comparison only the figure is known.
            low, high = report.answers.intervals.get(key, {}).get(main, (metrics[main], metrics[main]))
        elif report.targets is not None:
            low, high = report.targets.chrf_intervals.get(key, (metrics[main], metrics[main]))
        else:
            low, high = wilson(round(metrics["accuracy"] * report.test_rows), report.test_rows)
        found.append(
            Contender(
                key=key,
                name=ROW_WORDS[key],
                metrics=metrics,
                low=low,
                high=high,
                difference=None if key == "test" else ours - metrics[main],
            )
        )
    return found


def _pretraining(report: Report) -> str:
    """One sentence on what the pretrained weights are worth, where the comparison was made."""
    if "from_scratch" not in report.comparisons:
        return ""
    main = main_metric(report.metrics["test"])
    word = METRIC_WORDS[main]
    ours, theirs = report.metrics["test"][main], report.comparisons["from_scratch"][main]
    with_text, without_text = figures_apart(ours, theirs)
    if ours == theirs:
        return f"Pretraining makes no difference: {word} {with_text} with and without it."
    verb = "helps" if ours > theirs else "hurts"
    figures = f"{word} {with_text} with it, {without_text} without ({_signed(ours - theirs)})"
    luck = _luck(ours, theirs, report.test_rows)
    if main != "accuracy":
        low, high = report.intervals[main]
        luck = (high - low) / math.sqrt(2)
    if abs(ours - theirs) <= luck:
        maybe = f"seems to {verb.removesuffix('s')}"
        return f"Pretraining {maybe}: {figures}, which on {report.test_rows:,} rows may be luck."
    return f"Pretraining {verb}: {figures}."


def _luck(one: float, other: float, rows: int) -> float:
    """How far apart two equal models' accuracies may be by chance, at 95 %, as if their errors had nothing in common.

    Errors on the same rows do, so what is farther apart is surely a difference.
    """
    return 1.96 * math.sqrt((one * (1 - one) + other * (1 - other)) / rows)


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested facts one by one, their names joined with ` › `."""
    for name, told in value.items():
        words = prefix + str(name).replace("_", " ")
        if isinstance(told, Mapping):
            yield from flat(told, f"{words} › ")
        else:
            yield words, told


def measured(value: float, name: str) -> str:
    """Return a figure as it reads: a share with three decimals, one of 100 with two, one in a unit with four digits."""
    from modelmill.evaluation.plots import amount

    if name in _IN_UNITS:
        return amount(value)
    return fixed(value, 2 if name in _OF_A_HUNDRED else 3).replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−") if abs(value) >= 0.0005 else "0.000"


def fact(value: Any) -> str:
    """Return a fact as it reads."""
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    return ", ".join(map(fact, value)) if isinstance(value, list) else str(value)
