"""What a recipe may say of a source: where its files are, what they hold, and how they are read."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from components.ingest.formats import DELIMITED, Format, format_of
from components.ingest.images.settings import PixelTable
from modelmill.errors import UserError
from modelmill.settings import Section
from modelmill.sources import check_uri, nearest


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
    name: str | None = Field(default=None, min_length=1, max_length=100)
    """What the source is called where evaluation measures each source's rows by themselves, by `slices: [source]`."""
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
        if kind is not None and kind not in DELIMITED:
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
