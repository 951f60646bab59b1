"""What a recipe's `ingest` section may say."""

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from components.ingest.images.settings import Images, PixelTable
from components.ingest.tables.settings import Table
from components.ingest.text.language import Language
from components.ingest.text.personal import Personal
from components.ingest.text.settings import NearDuplicates, Quality
from modelmill.errors import UserError
from modelmill.settings import Section, Task
from modelmill.sources import check_uri, nearest

Format = Literal[
    "csv", "tsv", "jsonl", "parquet", "squad", "imdb", "text", "html",
    "image", "zip", "tar", "webdataset", "idx", "cifar",
]  # fmt: skip

COMPRESSIONS = {".gz": "gzip", ".tgz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".zip": "zip",
    ".tar": "tar",
    ".tgz": "tar",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"), "image"),
}
_DELIMITED = ("csv", "tsv")


def format_of(name: str) -> Format | None:
    """Return the format that a file's name tells, also under .gz, .bz2, .xz and .zst."""
    lowered = name.lower()
    for ending in COMPRESSIONS:
        lowered = lowered.removesuffix(ending)
    if re.search(r"idx[13]-ubyte$", lowered):
        return "idx"
    if re.search(r"(data|test)_batch(_\d+)?\.bin$|cifar-10-binary\.(tar|tgz)$", lowered):
        return "cifar"
    return next((kind for ending, kind in _FORMATS.items() if lowered.endswith(ending)), None)


class Columns(Section):
    """The names that a source gives to its columns or keys."""

    text: str = "text"
    """The column that holds the text."""
    pair: str = "pair"
    """The column that holds the second text. For pair-classification."""
    target: str = "target"
    """The column that holds what is to be answered. For sequence-to-sequence."""
    question: str = "question"
    """The column that holds what is asked. For question-answering."""
    context: str = "context"
    """The column that holds the text that the answers stand in. For question-answering."""
    answers: str = "answers"
    """The column that holds the answers: SQuAD's lists `{text: […], answer_start: […]}`, a list of both, JSON of
    either, or a text that stands in the context; nothing where a question has no answer. For question-answering."""
    label: str = "label"
    """The column that holds the label; read for labelled sources only."""
    image: str = "image"
    """The column that holds the bytes of pictures. For Parquet."""
    group: str | None = None
    """A column whose equal values never part between two splits, such as a user, a document or a site."""
    time: str | None = None
    """A column with the time of each row, ISO 8601 or a number; for `split.by: time`."""


class Source(Section):
    """Files of one kind, read in the same way."""

    uri: str
    """A path, a glob, a folder, package://module/path, s3://bucket/key or s3://bucket/prefix/, https://host/path, or
    hf://datasets/owner/name/path."""
    format: Format | None = None
    """What the files hold; told by their names if left out, also under .gz, .bz2, .xz and .zst. An html file is one
    document, of which the main text is taken; `squad` and `imdb` are those datasets as they are published."""
    columns: Columns = Columns()
    """The columns to read."""
    label: str | None = Field(default=None, min_length=1)
    """The label of all rows, where no column holds it: a source for each class, also of plain text."""
    encoding: str = "auto"
    """Of the characters, a name that Python knows. `auto` looks at the beginning of each file: a byte order mark, UTF-8
    where more lines speak for it than against it, else what it most likely is."""
    skip_rows: int = Field(default=0, ge=0)
    """Lines before the header, or before the data where `header` names the columns. Not for Parquet."""
    header: list[str] | None = Field(default=None, min_length=1)
    """The columns' names, in order, where the file does not say them. For csv and tsv."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Other names for columns, by the name that the file gives them: so that sources agree. For tables."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """Between two fields; a comma (csv) or a tab (tsv) if left out."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of the rows to take, by a hash of each cleaned text: the same rows everywhere, equal texts together."""
    max_rows: int | None = Field(default=None, ge=1)
    """Rows of this source that a dataset keeps at most, after duplicates are gone, drawn by a hash of each."""
    pixels: PixelTable = PixelTable()
    """Where label and pixels stand in a CSV file with a picture a row."""
    document: Literal["line", "block", "file"] = "line"
    """What of a text file is a document: each line, each block between blank lines, or the whole file."""
    licence: str | None = Field(default=None, min_length=1)
    """Under which licence the files may be used, for the model card, as in `MIT`."""
    quoting: bool = True
    """Whether a field may stand in double quotes; false takes a quote as it stands. For csv and tsv."""

    @property
    def known_format(self) -> Format | None:
        """The format, where the settings or the URI tell it."""
        # What follows a question mark is for the server.
        name = self.uri.partition("?")[0] if self.uri.startswith(("http://", "https://")) else self.uri
        return self.format or format_of(name)

    @field_validator("uri")
    @classmethod
    def _could_be_a_source(cls, uri: str) -> str:
        try:
            check_uri(uri)
        except UserError as error:
            raise ValueError(str(error)) from None
        return uri

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        if encoding == "auto":
            return encoding
        try:
            "a".encode(encoding)
        except (LookupError, UnicodeError):
            common = [
                "auto",
                "utf-8",
                "utf-16",
                "latin-1",
                "cp1252",
                "gb18030",
                "big5",
                "shift_jis",
                "euc-kr",
                "koi8-r",
            ]
            hint = nearest(encoding, common) or "; one of them is 'utf-8'"
            raise ValueError(f"unknown encoding {encoding!r}{hint}") from None
        return encoding

    @model_validator(mode="after")
    def _options_fit_the_format(self) -> Self:
        kind = self.known_format
        if kind is not None and kind not in _DELIMITED:
            for name, given in (("header", self.header), ("delimiter", self.delimiter), ("quoting", not self.quoting)):
                if given:
                    raise ValueError(f"{name} is for csv and tsv, and the format is {kind}; leave it out or set format")
        if kind is not None and kind != "text" and self.document != "line":
            raise ValueError(f"document is for text, and the format is {kind}; leave it out or set format")
        if kind in ("parquet", "html") and self.skip_rows:
            raise ValueError(f"skip_rows ({self.skip_rows}) is not for {kind}; leave it out")
        if self.delimiter is not None and (self.delimiter in '"\r\n' or not self.delimiter.isascii()):
            raise ValueError(f"delimiter {self.delimiter!r} must be one ASCII character and no quote or line end")
        renamed = list(self.rename.values())
        if len(set(renamed)) < len(renamed):
            double = next(name for name in renamed if renamed.count(name) > 1)
            raise ValueError(f"rename gives {renamed.count(double)} columns the name {double!r}; give each its own")
        if self.header is not None and len(set(self.header)) < len(self.header):
            double = next(name for name in self.header if self.header.count(name) > 1)
            raise ValueError(f"header names {double!r} {self.header.count(double)} times; give each column its own")
        return self


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
FOR_TABLES = frozenset({"labelled", "label", "split", "max_bad_rows", "table"})
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
        return self

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
