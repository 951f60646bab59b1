"""The parts of a report as data, by what they tell of: classes, numbers, answers, texts, the rows, the registry."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from modelmill.settings import Section

# Nothing but the bytes of a PNG: neither another kind of content nor an address.
_PICTURE = r"^(data:image/png;base64,[A-Za-z0-9+/]+={0,2})?$"


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
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals of these three; none of a label that no test row carries."""


class RocCurve(Section):
    """True against false positive rate of one label against the rest."""

    label: str
    auc: float
    interval: tuple[float, float] | None = None
    """95 %, of the area."""
    points: tuple[tuple[float, float], ...]
    """(false positive rate, true positive rate), from (0, 0) to (1, 1), at most 101 of them."""
    thresholds: tuple[float, ...] = ()
    """The probability from which on a row counts as this label, of each point."""


class PrecisionRecall(Section):
    """Precision against recall of one label against the rest."""

    label: str
    average_precision: float
    """The area under the curve: precision at each row found, in the order of the label's probability, on average."""
    interval: tuple[float, float]
    """95 %."""
    guess: float
    """That of a guess: the label's share of the rows."""
    points: tuple[tuple[float, float], ...]
    """(recall, precision) where a row is found, at most 101 of them; from one point to the next the curve is a step,
    at the precision of the later one."""


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


class NumberInterval(Section):
    """The interval that goes with every predicted number: as far to either side of it."""

    half_width: float
    """In the target's own unit: so far were the predictions for validation rows off, 9 times in 10."""
    wanted: float
    """Share of the true numbers that it is to hold."""
    rows: int
    """Validation rows."""


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
    interval: NumberInterval | None = None
    """None where there are too few validation rows for one."""


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
    licence: str = ""
    """What the recipe says of it; '' for nothing."""


class Split(Section):
    """The rows of one split, by label where they have labels."""

    rows: int
    labels: dict[str, int] = Field(default_factory=dict)


class Data(Section):
    """Where the rows came from and how they were divided."""

    splits: dict[str, Split]
    sources: tuple[Source, ...] = ()

    def with_ledgers(self, licences: Mapping[str, str] | None = None, /, **ledgers: Mapping[str, Any]) -> "Data":
        """Return a copy that tells of the sources in ledgers, as ingestion keeps them (`files` by URI), by dataset."""
        licences = licences or {}
        sources = tuple(
            Source(
                name=uri,
                dataset=dataset,
                read=file["read"],
                kept=file["kept"],
                dropped=file["dropped"],
                licence=licences.get(uri, ""),
            )
            for dataset, ledger in ledgers.items()
            for uri, file in ledger["files"].items()
        )
        return Data(splits=self.splits, sources=sources)


class Registered(Section):
    """The model's place in the registry."""

    name: str
    version: str
    aliases: tuple[str, ...] = ()


class SliceFigures(Section):
    """How a part of the test rows fares: those with one value in a column, or with a number in one range."""

    column: str
    value: str
    rows: int
    few: bool
    """Too few rows for its figures to say much."""
    metrics: dict[str, float]
    """None without rows."""
    main: str
    """The figure that the interval is of, by which models are compared."""
    interval: tuple[float, float] | None = None
    """95 %; None where there is no such figure."""
