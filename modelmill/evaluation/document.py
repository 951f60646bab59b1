"""The report as data: what `report.json` holds, and what the page is drawn from.

Evaluation writes it; registration adds what it alone knows (verdict, version, lineage) and has the page drawn again.
Metric names are scikit-learn's; figures are rounded to six decimals. `Report.model_json_schema()` is its schema.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from modelmill.errors import ModelmillError
from modelmill.evaluation.checks import Check
from modelmill.evaluation.probes import Probes
from modelmill.evaluation.verdict import Verdict
from modelmill.settings import Section, Task

# Nothing but the bytes of a PNG: neither another kind of content nor an address.
_PICTURE = r"^(data:image/png;base64,[A-Za-z0-9+/]+={0,2})?$"

Metrics = dict[str, float]
"""Figures by name: of answers to questions exact_match, f1, loss; of classes accuracy, balanced_accuracy,
precision_macro, recall_macro, f1_macro, log_loss, roc_auc where there are two labels, and f1_<label> of each of up to
20; of predicted numbers r2, rmse, mae, and where it means much mean_absolute_percentage_error; of a language model
loss, perplexity, accuracy, bits_per_byte; of answered texts bleu, chrf, loss, perplexity."""


class ClassFigures(Section):
    """How one label fares."""

    label: str
    rows: int
    """Test rows that carry it."""
    predicted: int
    """Test rows that the model gives it to."""
    precision: float
    recall: float
    f1: float


class RocCurve(Section):
    """True against false positive rate of one label against the rest."""

    label: str
    auc: float
    points: tuple[tuple[float, float], ...]
    """(false positive rate, true positive rate), from (0, 0) to (1, 1), at most 101 of them."""


class ConfidenceBin(Section):
    """The test rows whose predicted label has a probability in one range."""

    low: float
    high: float
    """Half-open, the last one closed."""
    rows: int
    correct: int
    confidence: float
    """Mean probability of the predicted label; 0 in an empty bin."""


class Example(Section):
    """A mistake."""

    id: str
    text: str
    picture: str = Field(default="", pattern=_PICTURE, max_length=1 << 20)
    """A small picture of the row as a `data:` URI; '' for what is no picture."""
    label: str
    predicted: str
    probability: float
    """Of the predicted label."""
    probability_of_label: float


class ResidualBin(Section):
    """The test rows whose error, predicted less true, lies in one range."""

    low: float
    high: float
    """Half-open, the last one closed."""
    rows: int


class NumberError(Section):
    """A row and how far its prediction is off."""

    id: str
    text: str
    truth: float
    predicted: float


class Regression(Section):
    """What is told of predicted numbers alone."""

    target: str
    points: tuple[tuple[float, float], ...]
    """(true, predicted), of at most 1,000 rows spread evenly over the test rows."""
    residuals: tuple[ResidualBin, ...]
    worst: tuple[NumberError, ...]
    """The rows that are farthest off, the farthest first."""
    r2_intervals: dict[str, tuple[float, float]]
    """95 % interval of R² of the model (`test`) and each baseline, over the same samples."""


class Spread(Section):
    """One figure over the folds."""

    mean: float
    deviation: float
    """Of the folds' figures, with k - 1 in the denominator."""
    folds: tuple[float, ...]


class CrossValidation(Section):
    """The same training k times, each time measured on the k-th part of the rows, which it had not seen."""

    folds: int
    rows: int
    """In all folds: the training and the validation rows; the test rows stay out."""
    figures: dict[str, dict[str, Spread]]
    """`model` and the baselines, by metric."""

    def by_merit(self, metric: str) -> list[tuple[str, dict[str, Spread]]]:
        """Return whose figures they are and the figures: the model first, then the baselines, the best one first."""
        return sorted(self.figures.items(), key=lambda item: (item[0] != "model", -item[1][metric].mean))


class Sample(Section):
    """What a language model makes of a text."""

    prompt: str
    answer: str
    """Its continuation, or the text with its masks filled in."""


class Place(Section):
    """A word on a map."""

    word: str
    x: float
    y: float
    """From 0 to 1."""


class AnswersPart(Section):
    """How a part of the questions is answered."""

    rows: int
    exact_match: float
    f1: float
    intervals: dict[str, tuple[float, float]]


class AnswerError(Section):
    """A question that was answered wrong, and the part of its context that holds the right answer."""

    id: str
    question: str
    before: str
    """Context before the answer; without an answer the beginning of the context."""
    answer: str
    """The first right answer; '' where there is none."""
    after: str
    given: str
    """'' where none was given."""
    f1: float
    score: float
    """The model's probability of what it gave."""


class Answers(Section):
    """What is told of answers to questions alone."""

    parts: dict[str, AnswersPart]
    """`answerable` and `unanswerable`, those that there are."""
    intervals: dict[str, dict[str, tuple[float, float]]]
    """95 % intervals of the model (`test`) and each baseline."""
    worst: tuple[AnswerError, ...]
    """Those that share least with a right answer; of equals the one that the model was surest of first."""
    null_threshold: float | None
    """Logits by which no answer must score more than one to be given; None for a model that always answers."""
    unanswered: int
    """Questions to which the model gave no answer."""


class Answer(Section):
    """What a model writes where a reference is known."""

    id: str
    source: str
    reference: str
    answer: str
    chrf: float
    """Of this answer alone."""


class Targets(Section):
    """What is told of written answers alone."""

    signatures: dict[str, str]
    """How `bleu` and `chrf` were computed, as sacrebleu writes it."""
    asked: dict[str, float]
    """How answers were searched: beams, length_penalty, max_tokens, no_repeat_ngram; and which share of the references
    is longer than what the model writes."""
    samples: tuple[Answer, ...]
    worst: tuple[Answer, ...]
    """Answers that have the least in common with their references, the worst first."""
    chrf_intervals: dict[str, tuple[float, float]]
    """95 % interval of chrF of the model (`test`) and each baseline, over the same samples of rows."""


class Source(Section):
    """What became of the rows of one source file."""

    name: str
    dataset: str = ""
    """What the rows went into; a labelled file's text may go into the corpus too."""
    read: int
    kept: int
    dropped: dict[str, int]
    """Rows by reason."""


class Split(Section):
    """The rows of one split, by label where they have labels."""

    rows: int
    labels: dict[str, int] = Field(default_factory=dict)


class Data(Section):
    """Where the rows came from and how they were divided."""

    splits: dict[str, Split]
    sources: tuple[Source, ...] = ()

    def with_ledgers(self, **ledgers: Mapping[str, Any]) -> "Data":
        """Return a copy that tells of the sources in ledgers, as ingestion keeps them (`files` by URI), by dataset."""
        sources = tuple(
            Source(name=uri, dataset=dataset, read=file["read"], kept=file["kept"], dropped=file["dropped"])
            for dataset, ledger in ledgers.items()
            for uri, file in ledger["files"].items()
        )
        return Data(splits=self.splits, sources=sources)


class Registered(Section):
    """The model's place in the registry."""

    name: str
    version: str
    aliases: tuple[str, ...] = ()


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
    checks: tuple[Check, ...] = ()
    comparisons: dict[str, Metrics] = Field(default_factory=dict)
    """`from_scratch`: the same fine-tune from random weights, on the same rows."""
    data: Data | None = None
    training: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """Facts by step (`pretrain`, `finetune`) and name."""
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
