"""The report as data: what `report.json` holds, and what the page is drawn from.

Evaluation writes it; registration adds what it alone knows (verdict, comparison, version, lineage) and has the page
drawn again. Metric names are scikit-learn's; figures are rounded to six decimals. `Report.model_json_schema()` is its
schema.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from modelmill.errors import ModelmillError
from modelmill.evaluation.checks import Check
from modelmill.evaluation.comparison import Comparison
from modelmill.evaluation.probes import Probes
from modelmill.evaluation.sections import (
    Answer,
    AnswerError,
    Answers,
    AnswersPart,
    ClassFigures,
    ConfidenceBin,
    CrossValidation,
    Data,
    Example,
    NumberError,
    NumberInterval,
    Place,
    PrecisionRecall,
    Registered,
    Regression,
    ResidualBin,
    RocCurve,
    Sample,
    SliceFigures,
    Source,
    Split,
    Spread,
    Targets,
)
from modelmill.evaluation.verdict import Verdict
from modelmill.settings import Section, Task

__all__ = [
    "Answer",
    "AnswerError",
    "Answers",
    "AnswersPart",
    "ClassFigures",
    "ConfidenceBin",
    "CrossValidation",
    "Data",
    "Example",
    "Metrics",
    "NumberError",
    "NumberInterval",
    "Place",
    "PrecisionRecall",
    "Registered",
    "Regression",
    "Report",
    "ResidualBin",
    "RocCurve",
    "Sample",
    "SliceFigures",
    "Source",
    "Split",
    "Spread",
    "Targets",
]

Metrics = dict[str, float]
"""Figures by name: of answers to questions exact_match, f1, loss; of classes accuracy, balanced_accuracy,
precision_macro, recall_macro, f1_macro, log_loss, brier_score_loss, calibration_error, where there are two labels
roc_auc and average_precision, and f1_<label> of each of up to 20; of predicted numbers r2, rmse, mse, mae, where it
means much mean_absolute_percentage_error, and where an interval goes with them interval_coverage; of a language model
loss, perplexity, accuracy, bits_per_byte; of answered texts bleu, chrf, loss, perplexity."""


class Report(Section):
    """All that evaluation found out about one model on one test set."""

    version: Literal[1] = 1
    task: Task
    model: str
    """Its address in the store."""
    dataset: str
    """The address of the labelled dataset whose test split was used."""
    test_rows: int
    labels: tuple[str, ...] = ()
    """None where a number is predicted, and then nothing of what is told by label."""
    metrics: dict[str, Metrics]
    """`test`: the model; `majority`, `tfidf`, `mean`, `linear`, `unigram`: the baselines on the same rows."""
    intervals: dict[str, tuple[float, float]]
    """The model's 95 % interval by metric."""
    per_class: tuple[ClassFigures, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    """Rows by true label (outer) and predicted label (inner), in the order of `labels`."""
    roc: tuple[RocCurve, ...] = ()
    precision_recall: tuple[PrecisionRecall, ...] = ()
    areas_undefined: dict[str, str] = Field(default_factory=dict)
    """Labels that have no such curves, and so no area under them, each with why."""
    calibration: tuple[ConfidenceBin, ...] = ()
    calibration_error: float | None = None
    """Expected calibration error over those bins."""
    examples: tuple[Example, ...] = ()
    """The mistakes that the model was surest of, worst first."""
    regression: Regression | None = None
    """Where a number is predicted."""
    answers: Answers | None = None
    """Where questions are answered."""
    targets: Targets | None = None
    """Where texts are answered with texts."""
    probes: Probes | None = None
    """Where `evaluate.robustness`, `explain` or `cost` ask for them."""
    cross_validation: CrossValidation | None = None
    """Where `finetune.folds` asks for it."""
    ask: str = ""
    """A row that the model may be asked about, as `modelmill predict` takes it; '' for a text of one's own."""
    samples: tuple[Sample, ...] = ()
    sampling: dict[str, float] = Field(default_factory=dict)
    """How samples were drawn: temperature, top_p, most_tokens, seed; and which share of tokens was masked."""
    places: tuple[Place, ...] = ()
    """Frequent words of word embeddings, in the plane in which they differ most."""
    slices: tuple[SliceFigures, ...] = ()
    """The figures of parts of the test rows, the smallest part first."""
    checks: tuple[Check, ...] = ()
    comparisons: dict[str, Metrics] = Field(default_factory=dict)
    """`from_scratch`: the same fine-tune from random weights, on the same rows."""
    data: Data | None = None
    training: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """Facts by step (`pretrain`, `finetune`) and name."""
    comparison: Comparison | None = None
    """With the champion's predictions on the very same rows, where there is another one."""
    verdict: Verdict | None = None
    registered: Registered | None = None
    lineage: dict[str, JsonValue] = Field(default_factory=dict)
    """What the model was made from: addresses, digests, git commit, recipe."""

    @classmethod
    def read(cls, value: bytes | str | Mapping[str, Any]) -> "Report":
        """Return a report from its JSON text or its parsed JSON.

        Raises:
            ModelmillError: it is not such a report.
        """
        text = json.dumps(value) if isinstance(value, Mapping) else value
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ModelmillError(
                f"report.json: {where}: {first['msg']} ({error.error_count()} such faults); made by another version? "
                "evaluate the model again"
            ) from error

    def adding(self, **facts: Any) -> "Report":
        """Return a copy with further fields filled in, checked like all others."""
        plain = {
            name: fact.model_dump(mode="json") if isinstance(fact, Section) else fact for name, fact in facts.items()
        }
        return Report.read({**self.model_dump(mode="json"), **plain})

    def to_json(self) -> str:
        """Return the text of `report.json`."""
        return self.model_dump_json(indent=1) + "\n"
