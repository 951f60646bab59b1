"""Writes a commented recipe for a person's own data, by a few questions or by flags."""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from string import Template
from typing import Any, BinaryIO

from modelmill.errors import UserError

_FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# Enough rows to tell a label from a text; reading them is instant.
_LOOKED_AT = 1000
_LABEL_NAMES = ("label", "class", "sentiment", "category", "target", "y")
# More distinct numbers than this are a measurement to be cut into bins, not classes.
_MOST_CLASSES = 20


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The first rows of a table, and what they are stored as."""

    file: Path
    format: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]


def write_recipe(
    data: str | None, output: Path, *, name: str | None, text: str | None, label: str | None, ask: bool
) -> dict[str, str]:
    """Write the recipe and return what was chosen: source, text and label column, name.

    Raises:
        UserError: no data was named, it has no readable table, a column is not there, or the output exists already.
    """
    if output.exists():
        raise UserError(f"{output}: exists already; name another file with -o, or remove it")
    if not output.parent.is_dir():
        raise UserError(f"{output}: there is no folder {output.parent}")
    source = data or (_ask("Your data (a CSV, JSON Lines or Parquet file, or a folder of them)", "") if ask else "")
    if not source:
        raise UserError("init: name your data, as in: modelmill init reviews.csv --text text --label label")
    sample = look(Path(source))
    text_column = _column(sample, text, "text", _guess_text(sample), ask)
    label_column = _column(sample, label, "label", _guess_label(sample, text_column), ask)
    chosen = name or _slug(Path(source).name)
    if ask and name is None:
        chosen = _slug(_ask("Name of recipe and model", chosen))
    output.write_text(
        _TEMPLATE.substitute(
            name=chosen,
            uri=json.dumps(relpath(Path(source).resolve(), output.parent.resolve())),
            format=sample.format,
            text=json.dumps(text_column),
            label=json.dumps(label_column),
            rule=_label_rule(sample, label_column),
            columns=", ".join(sample.columns),
        )
    )
    return {"source": source, "text": text_column, "label": label_column, "name": chosen}


def look(path: Path) -> Sample:
    """Read the first rows of a file, or of the first table in a folder.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if path.is_dir():
        tables = sorted(file for file in path.rglob("*") if file.is_file() and _format(file))
        if not tables:
            raise UserError(f"{path}: holds no CSV, TSV, JSON Lines or Parquet file")
        return look(tables[0])
    if not path.is_file():
        raise UserError(f"{path}: there is no such file or folder")
    kind = _format(path)
    if kind is None:
        endings = ", ".join(_FORMATS)
        raise UserError(f"{path}: its name ends in none of {endings} (also with .gz, .bz2 or .xz)")
    try:
        columns, rows = _first_parquet(path) if kind == "parquet" else _first_lines(path, kind)
    except (OSError, ValueError, csv.Error, EOFError) as error:
        raise UserError(f"{path}: cannot be read as {kind}: {error}") from error
    if not rows:
        raise UserError(f"{path}: has 0 rows")
    return Sample(file=path, format=kind, columns=tuple(columns), rows=tuple(rows))


def _format(path: Path) -> str | None:
    suffixes = path.suffixes
    if suffixes and suffixes[-1] in _OPENERS:
        suffixes = suffixes[:-1]
    return _FORMATS.get(suffixes[-1].lower()) if suffixes else None


def _first_lines(path: Path, kind: str) -> tuple[Sequence[str], list[dict[str, Any]]]:
    opener: Callable[[Path], BinaryIO] = _OPENERS.get(path.suffix, lambda file: file.open("rb"))
    with opener(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="") as lines:
        if kind == "jsonl":
            found = [json.loads(line) for line in itertools.islice(lines, _LOOKED_AT) if line.strip()]
            if not all(isinstance(row, dict) for row in found):
                raise ValueError("a line is not a JSON object")
            return list(dict.fromkeys(key for row in found for key in row)), found
        reader = csv.DictReader(lines, delimiter="\t" if kind == "tsv" else ",")
        rows = list(itertools.islice(reader, _LOOKED_AT))
        return reader.fieldnames or [], rows


def _first_parquet(path: Path) -> tuple[Sequence[str], list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    batch = next(file.iter_batches(batch_size=_LOOKED_AT), None)
    return file.schema_arrow.names, batch.to_pylist() if batch is not None else []


def _column(sample: Sample, given: str | None, what: str, guess: str, ask: bool) -> str:
    if given is None and ask:
        given = _ask(f"Column with the {what} ({', '.join(sample.columns)})", guess)
    column = given or guess
    if column not in sample.columns:
        raise UserError(f"{sample.file}: there is no column {column!r}; its columns are {', '.join(sample.columns)}")
    return column


def _ask(question: str, default: str) -> str:
    import typer

    return str(typer.prompt(question, default=default or None)).strip()


def _guess_text(sample: Sample) -> str:
    """The column with the longest values."""
    return max(sample.columns, key=lambda column: sum(len(str(row.get(column) or "")) for row in sample.rows))


def _guess_label(sample: Sample, text: str) -> str:
    """A column with a label's name, else the one with the fewest distinct values, two at the least."""
    others = [column for column in sample.columns if column != text]
    for name in _LABEL_NAMES:
        for column in others:
            if column.lower() == name:
                return column
    counts = {column: len({str(row.get(column)) for row in sample.rows}) for column in others}
    fitting = [column for column in others if counts[column] > 1]
    return min(fitting, key=counts.__getitem__) if fitting else ""


def _label_rule(sample: Sample, column: str) -> str:
    values = [row.get(column) for row in sample.rows if row.get(column) not in (None, "")]
    try:
        numbers = sorted(float(str(value)) for value in values)
    except ValueError:
        return ""
    if len(set(numbers)) <= _MOST_CLASSES:
        return ""
    low, middle, high = numbers[0], numbers[len(numbers) // 2], numbers[-1]
    return (
        "  # The label is a number of many values: it is cut into classes. Bins are half-open, the last one closed;\n"
        "  # these come from the first rows' least, middle and greatest value. A value in no bin is a bad row, or,\n"
        "  # with `neutral: drop`, left out.\n"
        f"  label: {{bins: {{low: [{low:g}, {middle:g}], high: [{middle:g}, {high:g}]}}, neutral: drop}}\n"
    )


def _slug(name: str) -> str:
    stem = name.split(".", maxsplit=1)[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:63] or "my-model"


_TEMPLATE = Template("""\
# A modelmill recipe. Check it with `modelmill validate`, run it with `modelmill run`.
# `modelmill schema > recipe.schema.json` gives editors the keys:
# yaml-language-server: $$schema=recipe.schema.json
version: 1
name: $name
task: text-classification

ingest:
  # Text without labels, to learn the language of your field from before the labels. `labelled: train` is the text of
  # the training rows below (never of validation or test); add files of plain text, a document a line:
  #   - {uri: notes.txt, format: text}
  corpus:
    - labelled: train
  # Rows with a label. A path counts from this file; `package://module/file` and `s3://bucket/key` work too.
  labelled:
    - uri: $uri
      format: $format
      columns: {text: $text, label: $label}   # of: $columns
$rule  # Which rows train, choose and judge is decided by a hash of each text: the same everywhere, for ever.
  split: {train: 0.8, validation: 0.1, test: 0.1}
  # More bad rows than this share of a file stop the run; fewer are counted, by reason, in the report.
  max_bad_rows: 0.01

preprocess:
  max_tokens: 128        # longer texts are cut, in tokens
  # A tokenizer of your own, trained on the corpus; a base model brings its own instead.
  tokenizer: {kind: wordpiece, vocabulary: 8000}

# A small BERT from random weights. To go on from a model that you have, say in place of `model`
# (and leave `tokenizer` above out): `base: path/to/a/transformers/folder`.
pretrain:
  objective: masked-lm
  model: {family: bert, layers: 4, width: 256, heads: 4}
  steps: 300

finetune:
  epochs: 3

evaluate:
  # What the model must reach on the test rows to become champion, on the lower end of its 95 % interval:
  # thresholds: {accuracy: {min: 0.8}}
  must_beat: [majority, tfidf]

register:
  name: $name
""")
