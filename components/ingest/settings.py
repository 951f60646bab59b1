"""What a recipe's `ingest` section may say."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from components.ingest.images.settings import Images
from components.ingest.source_settings import Source
from components.ingest.tables.settings import Table
from components.ingest.text.language import Language
from components.ingest.text.personal import Personal
from components.ingest.text.settings import NearDuplicates, Quality
from modelmill.settings import Section, Task
from modelmill.sources import nearest


class LabelledText(Section):
    """The texts of the labelled sources as a corpus."""

    labelled: Literal["train"]
    """The texts that fall into the training split, whatever their label; never those of validation or test."""


def _source_or_labelled(value: Any, _handler: ValidatorFunctionWrapHandler) -> Source | LabelledText:
    # Chosen by the key, so that an error speaks of the one that was meant and not of both.
    if isinstance(value, Source | LabelledText):
        return value
    if isinstance(value, Mapping) and "labelled" in value:
        return LabelledText.model_validate(value)
    return Source.model_validate(value)


def _as_text(name: Any) -> Any:
    return str(name) if type(name) is int else name


class LabelRule(Section):
    """How a label column becomes classes: by bins of a number, or by a list of names."""

    bins: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None
    """Class name: [low, high]. Low is inside, high is outside, but for the last bin, which holds its high as well."""
    neutral: Literal["drop", "fail"] = "fail"
    """A number in no bin: `drop` leaves the row out as neutral, `fail` counts it as a bad row."""
    classes: list[Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int)]] | None = None
    """The only labels accepted, in this order; a row with another one is a bad row."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.bins is None) == (self.classes is None):
            both = "both bins and classes" if self.bins is not None else "neither bins nor classes"
            raise ValueError(f"{both}; give one of the two, or leave label out for the column's own values")
        if self.bins is not None:
            self._check_bins(self.ordered_bins)
        if self.classes is not None:
            self._check_classes([name.strip() for name in self.classes])
        return self

    @property
    def ordered_bins(self) -> list[tuple[str, float, float]]:
        """Name, low and high of each bin, from the lowest: the order of the labels."""
        bins = (self.bins or {}).items()
        return sorted(((name, float(low), float(high)) for name, (low, high) in bins), key=lambda one: one[1:])

    def _check_bins(self, bins: list[tuple[str, float, float]]) -> None:
        if len(bins) < 2:
            raise ValueError(f"{len(bins)} bin; a classifier needs at least 2")
        for name, low, high in bins:
            if not low < high:
                raise ValueError(f"bin {name!r} is empty: its low ({low:g}) must be below its high ({high:g})")
            if not name.strip():
                raise ValueError(f"bin [{low:g}, {high:g}] has no name; give it one")
        for (name, _, high), (other, low, _) in pairwise(bins):
            if low < high:
                raise ValueError(f"bins {name!r} and {other!r} overlap: {other!r} begins at {low:g}, below {high:g}")

    def _check_classes(self, names: list[str]) -> None:
        if self.neutral != "fail":
            raise ValueError("neutral is for bins, and classes are given; leave neutral out")
        if len(names) < 2:
            raise ValueError(f"{len(names)} class in classes; a classifier needs at least 2")
        if len(set(names)) < len(names) or not all(names):
            raise ValueError("classes must be different names, none of them empty")


class Split(Section):
    """Shares of the labelled rows; their sum is 1. Equal texts, near-duplicates and rows of one group stay together."""

    by: Literal["hash", "label", "time"] = "hash"
    """`hash` draws each row by a hash of its text, so that it never changes its split; `label` gives each class the
    same shares; `time` trains on the oldest rows and tests on the newest."""
    train: float = Field(default=0.8, gt=0, le=1)
    """What fine-tuning learns from."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """What fine-tuning is steered by."""
    test: float = Field(default=0.1, ge=0, lt=1)
    """What evaluation measures on."""

    @model_validator(mode="after")
    def _sum_is_one(self) -> Self:
        total = math.fsum((self.train, self.validation, self.test))
        if not math.isclose(total, 1, abs_tol=1e-9):
            raise ValueError(
                f"train {self.train:g} + validation {self.validation:g} + test {self.test:g} = {total:g}; must be 1"
            )
        return self


SOURCE = "source"
"""The name of a row's source, as if it were a column."""
SEVERAL_TEXTS = frozenset({"pair-classification", "sequence-to-sequence", "question-answering"})
"""The tasks whose labelled rows hold more than one text."""
WITHOUT_CLASSES = frozenset({"sequence-to-sequence", "question-answering"})
"""Of those, the ones whose rows have no class."""
COLUMN_FOR = {
    "pair": "pair-classification",
    "target": "sequence-to-sequence",
    **dict.fromkeys(("question", "context", "answers"), "question-answering"),
}
"""The columns that one task alone reads, and that task."""
FOR_TABLES = frozenset({"labelled", "label", "split", "max_bad_rows", "table", "slice_columns"})
"""The keys of this section that mean something for a table."""
NOT_FOR_TABLES = frozenset({"columns", "label", "pixels", "document"})
"""The keys of a source that mean nothing for a table."""


class Ingest(Section):
    """Reads raw files, cleans them, removes duplicates and splits them into datasets."""

    corpus: list[Annotated[Source | LabelledText, WrapValidator(_source_or_labelled)]] = Field(default_factory=list)
    """Unlabelled text, which pretraining reads."""
    labelled: list[Source] = Field(default_factory=list)
    """Labelled rows, which fine-tuning and evaluation read."""
    label: LabelRule | None = None
    """How the label column becomes classes; left out, the classes are its distinct values, sorted."""
    split: Split = Split()
    """Of the labelled rows. The corpus keeps about 1 % of its own rows for validation."""
    max_bad_rows: float = Field(default=0.01, ge=0, le=1)
    """Share of a source's rows (all its files together) that may be unreadable; more fail the step."""
    min_chars: int = Field(default=1, ge=1)
    """Shorter texts are dropped, in characters after cleaning."""
    max_chars: int = Field(default=5_000_000, ge=1)
    """Longer texts are dropped, in characters after cleaning; a worker takes some 100 bytes for each."""
    repair: bool = True
    """Whether text that was decoded wrongly before it came here ("CafÃ©") is set right, where that is certain."""
    personal: Personal = Personal()
    """What becomes of personal data in the corpus."""
    labelled_personal: Personal = Personal(action="keep")
    """What becomes of personal data in labelled rows: masked in training, they would have to be masked when a model is
    asked, too."""
    language: Language | None = None
    """The languages of the corpus; texts in others are dropped."""
    quality: Quality | None = None
    """Rules that the documents of the corpus must keep; none if left out. Labelled rows are not judged."""
    near_duplicates: NearDuplicates = NearDuplicates()
    """What becomes of texts that are nearly the same."""
    images: Images = Images()
    """How pictures are checked, and what they become."""
    table: Table | None = None
    """The target and the features of a table, a row per example."""
    decontaminate: int | None = Field(default=13, ge=1, le=100)
    """Texts of the corpus with a run of so many words of a validation or test row are dropped; null keeps them."""
    slice_columns: list[str] = Field(default_factory=list)
    """Further columns of the labelled sources, kept beside each row as they stand there for `evaluate.slices`; no model
    reads them, and of a table they are no features."""

    @model_validator(mode="after")
    def _sources_make_sense(self) -> Self:
        if not self.corpus and not self.labelled:
            raise ValueError("no source: give corpus, labelled, or both")
        if self.takes_labelled and not self.labelled:
            raise ValueError("corpus takes {labelled: train}, and there is no labelled source; give labelled")
        if self.label is not None and not self.labelled:
            raise ValueError("label is for labelled sources, and there is none; give labelled")
        for place, sources in (("corpus", self.corpus_sources), ("labelled", self.labelled)):
            uris = [source.uri for source in sources]
            for uri in uris:
                if uris.count(uri) > 1:
                    raise ValueError(f"{place} names {uri} {uris.count(uri)} times; once is enough")
        if self.table is not None and self.split.by == "time" and self.table.time is None:
            raise ValueError("split.by is time, and there is no table.time; name the column")
        for source in self.labelled:
            if self.split.by == "time" and source.columns.time is None and self.table is None:
                raise ValueError(f"split.by is time, and {source.uri} has no columns.time; name the column")
            if source.known_format in ("text", "html") and source.label is None:
                said = f"labelled: {source.uri}: format {source.known_format} has no labels"
                raise ValueError(f"{said}; use csv, tsv, jsonl or parquet, or give the source a label")
        if wrong := self._unfit_slices():
            raise ValueError(wrong)
        return self

    def _unfit_slices(self) -> str:
        """Return what is wrong with the columns that are kept for slicing."""
        if self.slice_columns and not self.labelled:
            return "slice_columns are those of labelled sources, and there is none; leave it out"
        own = {"label": "is sliced by as it is", "text_length": "is made by evaluation"}
        if any(source.name is not None for source in self.labelled):
            own[SOURCE] = "is made of the sources' names"
        for name in self.slice_columns:
            if name in own:
                return f"slice_columns: {name!r} {own[name]}; leave it out, or rename the column"
            if self.slice_columns.count(name) > 1:
                return f"slice_columns: {name!r} is named {self.slice_columns.count(name)} times, once is enough"
            if self.table is not None and name in {self.table.target, *self.table.ignore}:
                role = "target" if name == self.table.target else "columns to ignore"
                return f"slice_columns: {name!r} is the table's {role}; leave it out in one of the two"
        return ""

    @property
    def slice_names(self) -> tuple[str, ...]:
        """What is kept beside a row for slicing: `source` where one has a name, and the columns."""
        named = any(source.name is not None for source in (*self.corpus_sources, *self.labelled))
        return (*([SOURCE] if named else []), *self.slice_columns)

    @property
    def corpus_sources(self) -> list[Source]:
        """The sources of the corpus that are read for it alone."""
        return [entry for entry in self.corpus if isinstance(entry, Source)]

    @property
    def takes_labelled(self) -> bool:
        """Whether the training texts of the labelled sources belong to the corpus."""
        return any(isinstance(entry, LabelledText) for entry in self.corpus)

    @property
    def uris(self) -> list[str]:
        """Every source, once: what `resolve` pins."""
        return sorted({source.uri for source in (*self.corpus_sources, *self.labelled)})


class IngestSettings(Ingest):
    """What the ingest step is told: the recipe's section and the facts that it reads of others."""

    task: Task
    """What the recipe learns."""


def unsliceable(ingest: Ingest, task: Task, asked: Sequence[str]) -> str:
    """Return which of the columns to slice by no row of a task will have, and the way out; nothing where all are there.

    A table's columns are known when it is read.
    """
    if ingest.table is not None:
        return ""
    named = any(source.name is not None for source in ingest.labelled or ingest.corpus_sources)
    own = ["width", "height"] if task == "image-classification" else ["text_length"]
    label = ["label"] if ingest.labelled and task not in WITHOUT_CLASSES else []
    known = [*([SOURCE] if named else []), *ingest.slice_columns, *own, *label]
    for name in asked:
        if name == SOURCE and not named:
            return f"evaluate.slices: {name!r} is what a row's source is called, and none has a name; give each one"
        if name not in known:
            out = nearest(name, known) or f" ({', '.join(known)}); name it in ingest.slice_columns to keep it"
            return f"evaluate.slices: no row has {name!r}{out}"
    return ""
