"""What a model must reach, as checks with a sentence each: thresholds on its own figures, and baselines to beat."""

from collections.abc import Collection, Mapping
from typing import Literal, get_args

from pydantic import model_validator

from modelmill.errors import UserError
from modelmill.evaluation.probes import Cost
from modelmill.settings import Section

ClassMetric = Literal["accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "log_loss"]
"""What a threshold on a classifier may be put on; scikit-learn's names."""

LanguageMetric = Literal["loss", "perplexity", "bits_per_byte"]
"""What a threshold may be put on for language models alone: nats a token, e to that power, bits a byte of text."""

NumberMetric = Literal["r2", "rmse", "mae", "mean_absolute_percentage_error"]
"""What a threshold on predicted numbers may be put on; scikit-learn's names."""

AnswerMetric = Literal["exact_match", "f1"]
"""What a threshold on answers to questions may be put on; SQuAD's names, as shares."""

TargetMetric = Literal["bleu", "chrf"]
"""What a threshold on answered texts may be put on beside loss and perplexity; sacrebleu's, from 0 to 100."""

CostMetric = Literal["latency_p99_ms", "size_mb"]
"""What a threshold on any model's cost may be put on: the 99th percentile of the time for one row from raw input to
answer, in milliseconds; and the model's files, in millions of bytes."""

Metric = Literal[ClassMetric, NumberMetric, LanguageMetric, AnswerMetric, TargetMetric, CostMetric]

Baseline = Literal["majority", "tfidf", "mean", "linear", "sliding_window", "first_sentence", "copy", "frequent"]
"""What a model is measured beside."""

LOWER_IS_BETTER: frozenset[str] = frozenset(
    {
        "log_loss",
        "brier_score_loss",
        "calibration_error",
        "rmse",
        "mse",
        "mae",
        "mean_absolute_percentage_error",
        "loss",
        "perplexity",
        "bits_per_byte",
        *get_args(CostMetric),
    }
)

METRIC_WORDS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "f1_macro": "macro F1",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "brier_score_loss": "Brier score",
    "calibration_error": "calibration error",
    "r2": "R²",
    "rmse": "root mean squared error",
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "mean_absolute_percentage_error": "mean absolute percentage error",
    "interval_coverage": "interval coverage",
    "loss": "loss",
    "perplexity": "perplexity",
    "bits_per_byte": "bits per byte",
    "exact_match": "exact match",
    "f1": "F1",
    "chrf": "chrF",
    "bleu": "BLEU",
    "latency_p99_ms": "99th percentile of the time for one row",
    "size_mb": "size of the model's files",
}

BASELINE_WORDS: Mapping[str, str] = {
    "majority": "the majority class",
    "tfidf": "the tf-idf baseline",
    "mean": "the training mean",
    "linear": "the least-squares baseline",
    "unigram": "the frequency of words alone",
    "sliding_window": "the sliding-window baseline",
    "first_sentence": "the first sentence",
    "copy": "the copied source",
    "frequent": "the most frequent target",
}

ALWAYS_BEATEN: frozenset[str] = frozenset({"majority", "mean", "unigram", "first_sentence", "frequent"})
"""Baselines that are to be beaten whether or not a recipe asks for it."""


class Threshold(Section):
    """The least, or the most, that a metric may be."""

    min: float | None = None
    """The end of the 95 % interval that is nearer to failing, the lower one, must be at least this."""
    max: float | None = None
    """The same for a metric that is better when lower: its upper end must be at most this."""

    @model_validator(mode="after")
    def _one_side(self) -> "Threshold":
        if (self.min is None) == (self.max is None):
            raise ValueError("give either min or max, as in {min: 0.8}")
        return self


class Check(Section):
    """One thing that was asked of the model, and the answer."""

    kind: Literal["threshold", "must_beat"]
    metric: str
    value: float
    """The model's figure on the test rows."""
    bound: float | None = None
    """The end of its 95 % interval that decides; none where the figure itself decides."""
    wanted: float
    """The threshold, or the baseline's figure on the same rows."""
    against: str | None = None
    """The baseline, for `must_beat`."""
    part: str = ""
    """The slice whose figure it is, as in `street: north`; '' for all test rows."""
    passed: bool
    sentence: str


def checks(
    metrics: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, tuple[float, float]],
    thresholds: Mapping[Metric, Threshold],
    must_beat: Collection[Baseline],
    rows: int,
) -> list[Check]:
    """Return every check, thresholds first; what is in `ALWAYS_BEATEN` is to be beaten though nobody asks for it.

    `metrics` holds `test` and the baselines by name, measured on the same `rows` rows; `intervals` the model's 95 %
    intervals by metric. Thresholds are decided on the interval's end, baselines on the main figure itself.

    Raises:
        UserError: a threshold is on a figure that these rows do not have.
    """
    model, main = metrics["test"], main_metric(metrics["test"])
    # What a model costs is measured apart from what it says.
    thresholds = {name: wanted for name, wanted in thresholds.items() if name not in get_args(CostMetric)}
    for name in thresholds:
        if name not in model:
            raise UserError(
                f"evaluate.thresholds.{name}: these rows have no such figure, but {', '.join(model)}; take one of them"
            )
    found = [threshold(name, model[name], intervals.get(name), wanted, rows) for name, wanted in thresholds.items()]
    beaten = [name for name in BASELINE_WORDS if name in metrics and (name in ALWAYS_BEATEN or name in must_beat)]
    return found + [_must_beat(main, model[main], metrics[name][main], name, rows) for name in beaten]


def cost_checks(cost: Cost, thresholds: Mapping[Metric, Threshold]) -> list[Check]:
    """Return the checks on what a model costs; a time is decided on the upper end of its 95 % interval."""
    one = cost.speeds[0]
    assert one.batch == 1
    found = []
    if wanted := thresholds.get("latency_p99_ms"):
        limit, bound = wanted.max or 0.0, one.p99_interval[1]
        passed = bound <= limit
        took = f"99 of 100 rows are answered within {one.p99_ms:.4g} ms each"
        over = f"its 95 % interval over {one.calls:,} calls ends at {bound:.4g} ms"
        if passed:
            sentence = f"{took}, which meets the wanted {limit:g} ms: {over}."
        elif one.p99_ms <= limit:
            sentence = f"{took}, which would meet the wanted {limit:g} ms, but {over}; measure on a quiet machine."
        else:
            sentence = f"{took} over {one.calls:,} calls, above the wanted {limit:g} ms."
        found.append(_cost_check("latency_p99_ms", one.p99_ms, bound, limit, passed, sentence))
    if wanted := thresholds.get("size_mb"):
        limit, size = wanted.max or 0.0, cost.bytes / 1e6
        passed = size <= limit
        verb = "meet the wanted" if passed else "are above the wanted"
        sentence = f"The model's files of {size:.4g} MB {verb} {limit:g} MB."
        found.append(_cost_check("size_mb", size, None, limit, passed, sentence))
    return found


def _cost_check(name: str, value: float, bound: float | None, wanted: float, passed: bool, sentence: str) -> Check:
    return Check(
        kind="threshold", metric=name, value=round(value, 6), bound=bound, wanted=wanted, passed=passed,
        sentence=sentence,
    )  # fmt: skip


def main_metric(metrics: Collection[str]) -> str:
    """Return the figure by which models are compared: of those that there are."""
    return next((name for name in ("r2", "f1", "chrf") if name in metrics), "accuracy")


def figures_apart(first: float, second: float) -> tuple[str, str]:
    """Return both with three decimals, or as many more (up to six) as it takes to tell different figures apart."""
    for decimals in range(3, 6):
        texts = fixed(first, decimals), fixed(second, decimals)
        if first == second or texts[0] != texts[1]:
            return texts
    return fixed(first, 6), fixed(second, 6)


def fixed(value: float, decimals: int = 3) -> str:
    """Return a figure with so many decimals; what is 0 by then has no sign."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def threshold(
    metric: str, value: float, interval: tuple[float, float] | None, wanted: Threshold, rows: int, part: str = ""
) -> Check:
    """Return the check of one figure; without an interval, as of a size, the figure itself decides.

    `part` names the slice whose figure it is.
    """
    word = capital(METRIC_WORDS.get(metric, metric)) + (f" of {part}" if part else "")
    if wanted.min is not None:
        limit, bound, turns, missed = wanted.min, interval[0] if interval else value, "begins", "below"
        passed, near = bound >= limit, value >= limit
    else:
        limit, bound, turns, missed = wanted.max or 0.0, interval[1] if interval else value, "ends", "above"
        passed, near = bound <= limit, value <= limit
    value_text, limit_text = figures_apart(value, limit)
    bound_text = figures_apart(bound, limit)[0]
    over = f"its 95 % interval over {rows:,} rows {turns} at {bound_text}"
    if interval is None:
        sentence = f"{word} {value_text} {'meets' if passed else f'is {missed}'} the wanted {limit_text}."
    elif passed:
        sentence = f"{word} {value_text} meets the wanted {limit_text}: {over}."
    elif near:
        sentence = (
            f"{word} {value_text} would meet the wanted {limit_text}, but {over}; more test rows would narrow it."
        )
    else:
        sentence = f"{word} {value_text} over {rows:,} rows is {missed} the wanted {limit_text}."
    return Check(
        kind="threshold",
        metric=metric,
        value=value,
        bound=bound if interval else None,
        wanted=limit,
        part=part,
        passed=passed,
        sentence=sentence,
    )


def capital(word: str) -> str:
    """Return a word as it begins a sentence."""
    # A name of its own begins as it is written.
    return word if word == METRIC_WORDS["chrf"] else word[0].upper() + word[1:]


def _must_beat(metric: str, value: float, baseline: float, name: str, rows: int) -> Check:
    word = capital(METRIC_WORDS[metric])
    passed = value > baseline
    value_text, baseline_text = figures_apart(value, baseline)
    if value == baseline:
        sentence = f"{word} {value_text} only equals {BASELINE_WORDS[name]} on the same {rows:,} rows."
    else:
        verb = "beats" if passed else "does not beat"
        sentence = f"{word} {value_text} {verb} {BASELINE_WORDS[name]}'s {baseline_text} on the same {rows:,} rows."
    return Check(
        kind="must_beat",
        metric=metric,
        value=value,
        wanted=baseline,
        against=name,
        passed=passed,
        sentence=sentence,
    )
