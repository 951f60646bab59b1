"""Scores a whole input: shard by shard, so that what is done is not done again, and never the whole of it in memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modelmill
from modelmill.errors import UserError
from modelmill.models.interface import Interface
from modelmill.scoring.ask import Answered, Asking, answered
from modelmill.scoring.columns import Columns, answer_types, refused_table
from modelmill.scoring.output import Output, counted
from modelmill.scoring.read import Reading, format_of
from modelmill.scoring.rows import Row
from modelmill.sources import list_files, listed, shown

Told = Callable[[float, int, int], None]
"""Hears bytes of the input that are done, of how many, and rows that this run has scored."""

# A shard is what a killed run loses: minutes of work, also where an answer is written token by token.
_SHARD_ROWS, _WRITTEN_SHARD_ROWS = 20_000, 1000
_SHARD_BYTES = 64 << 20
# Rows that are asked about at a time: where one is refused all are asked again by halves, so few where that is dear.
_CHUNK = {"image": 64, "table": 4096, "text": 512, "written": 32}
_CHUNK_BYTES = 16 << 20
# Every picture of a folder is a file; they are counted together.
_TOGETHER = "*"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be scored, and what of it stands beside the answers."""

    input: str
    """A path, a folder, a pattern, `s3://bucket/key`, or `s3://bucket/prefix/`."""
    output: str
    """A folder, or `s3://bucket/prefix`."""
    format: str | None = None
    """Of the input's files; left out, their names tell it."""
    columns: Mapping[str, str] | None = None
    """The input's column that is read in the place of one of the model's, by the model's name."""
    keep: Sequence[str] | None = None
    """The input's columns that stand beside the answers; left out, all that hold no bytes."""
    shard_rows: int | None = None
    """Of a part, at most."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What came of it."""

    manifest: Mapping[str, Any]
    rows: int
    """That this run has scored; the others were done before."""


@dataclass(frozen=True, kw_only=True)
class _Work:
    reading: Reading
    asking: Asking
    columns: Columns
    output: Output
    predictor: Any
    shard_rows: int
    chunk: int
    told: Told


def score(
    request: Request, model: str, facts: Mapping[str, Any], served: Interface, load: Callable[[], Any], scratch: Path,
    told: Told,
) -> Scored:  # fmt: skip
    """Score an input and return the manifest; the same call goes on with what an unfinished one has left.

    `model` is the address that the model's content has, `load` makes the predictor: it is not called where nothing is
    to be done.

    Raises:
        UserError: the input, its columns or the output are not what they must be; or the output is of another model
            or input.
        ModelmillError: a file was changed while it was read, or the output cannot be written.
    """
    files = [file for file in list_files(request.input) if file.bytes]
    form = format_of(files, request.format, images="image" in served.columns)
    settings = _settings(request, served, form)
    output = Output(request.output)
    _check_apart(request.input, output.uri)
    fingerprint = listed(files)
    reading = Reading(files, form, scratch)
    there = reading.schema()
    asking = Asking.of(served, facts, there, request.columns or {}, texts=form in {"csv", "tsv"})
    answers = answer_types(served, facts.get("labels", ()))
    several = form == "jsonl" or (len(files) > 1 and form in {"csv", "tsv", "parquet"})
    columns = Columns.of(there, answers, request.keep, several=several)
    output.claim({"model": model, "input": fingerprint, "settings": settings, "modelmill": modelmill.__version__})
    manifest = output.manifest()
    if manifest is not None:
        return Scored(manifest=manifest, rows=0)
    work = _Work(
        reading=reading, asking=asking, columns=columns, output=output, predictor=load(),
        shard_rows=settings["shard_rows"], chunk=_CHUNK[_way(served, facts)], told=told,
    )  # fmt: skip
    records, rows = _shards(work)
    counts = counted(records)
    if not counts["rows"]:
        raise UserError(f"{shown(request.input)}: 0 rows in its {len(files)} files; name an input that holds rows")
    manifest = {
        "model": model,
        "input": fingerprint,
        "settings": settings,
        "columns": {name: str(kind) for name, kind in zip(*_schema(columns), strict=True)},
        **counts,
        "parts": {name: part for record in records for name, part in record["parts"].items()},
    }
    output.finish(manifest)
    return Scored(manifest=manifest, rows=rows)


def _settings(request: Request, served: Interface, form: str) -> dict[str, Any]:
    """Return what of a request decides what the parts hold."""
    return {
        "format": form,
        "columns": dict(request.columns or {}),
        "keep": list(request.keep) if request.keep else None,
        "shard_rows": _shard_rows(request, served),
    }


def _shards(work: _Work) -> tuple[list[dict[str, Any]], int]:
    """Score what is not done yet; return all shards' records, and how many rows were scored."""
    records = work.output.done()
    file, after = records[-1]["next"] if records else (0, 0)
    scored = 0
    rows = work.reading.rows(file, after)
    passed = work.reading.done
    while shard := _take(rows, work.shard_rows):
        found: list[Answered] = []
        for chunk in _chunks([row for _, row in shard], work.chunk):
            found += answered(chunk, work.asking, work.predictor)
            # The shard is read, and answered in part.
            done = passed + (work.reading.done - passed) * len(found) / len(shard)
            work.told(done, work.reading.total, scored + len(found))
        passed = work.reading.done
        scored += len(found)
        right = [one for one in found if one.answer is not None]
        wrong = [one.row for one in found if one.answer is None]
        table = work.columns.table([one.row for one in right], [one.answer or {} for one in right])
        place, last = shard[-1]
        record = {"files": _counts(found, work.reading.form), "next": [place, last.number]}
        records.append(work.output.put(len(records), table, refused_table(wrong), record))
    return records, scored


def _take(rows: Iterator[tuple[int, Row]], most: int) -> list[tuple[int, Row]]:
    taken: list[tuple[int, Row]] = []
    size = 0
    while len(taken) < most and size < _SHARD_BYTES and (row := next(rows, None)) is not None:
        taken.append(row)
        size += row[1].size
    return taken


def _chunks(rows: Sequence[Row], most: int) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == most or size + row.size > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += row.size
    if chunk:
        yield chunk


def _counts(found: Sequence[Answered], form: str) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for one in found:
        name = _TOGETHER if form == "images" else one.row.file
        of_file = counts.setdefault(name, {"read": 0, "answered": 0, "refused": {}})
        of_file["read"] += 1
        if one.answer is not None:
            of_file["answered"] += 1
        else:
            of_file["refused"][one.row.reason] = of_file["refused"].get(one.row.reason, 0) + 1
    return counts


def _way(served: Interface, facts: Mapping[str, Any]) -> str:
    if "image" in served.columns:
        return "image"
    if "features" in facts:
        return "table"
    return "text" if served.classes or served.record else "written"


def _shard_rows(request: Request, served: Interface) -> int:
    if request.shard_rows is None:
        return _WRITTEN_SHARD_ROWS if served.text else _SHARD_ROWS
    if request.shard_rows < 1:
        raise UserError(f"--shard-rows {request.shard_rows}: a part has at least 1 row")
    return request.shard_rows


def _check_apart(source: str, output: str) -> None:
    inside = "://" not in source and "://" not in output and Path(output).is_relative_to(Path(source).absolute())
    if inside or output.rstrip("/") == source.rstrip("/") or ("://" in source and output.startswith(source)):
        raise UserError(f"{output}: lies in the input, which its parts would change; choose another --output")


def _schema(columns: Columns) -> tuple[list[str], list[Any]]:
    schema = columns.table([], []).schema
    return schema.names, schema.types
