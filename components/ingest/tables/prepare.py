"""The first pass over tables: all rows are read, and what they are is found out before any of them is converted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from components.ingest.formats import Format, format_of
from components.ingest.payload import Payload, Target, table_payload
from components.ingest.rows import Listed, Opened
from components.ingest.settings import SOURCE, IngestSettings
from components.ingest.tables.checks import check_columns, check_target, constant_columns
from components.ingest.tables.drift import Finding, compare, settle
from components.ingest.tables.profile import Profile
from components.ingest.tables.read import read_table
from components.ingest.tables.rows import TableRows
from components.ingest.tables.schema import Schema, infer
from components.ingest.tables.settings import NUMERIC, Table
from components.ingest.tables.spill import SpilledFile, spill
from components.ingest.workers import Workers
from modelmill.errors import UserError
from modelmill.sources import SourceFile, nearest, open_raw, shown
from modelmill.step import Step


@dataclass(frozen=True, kw_only=True)
class PreparedTable:
    """What is known of the tables of all sources before their rows are converted."""

    files: Mapping[str, Sequence[SpilledFile]]
    """By the URI of the source."""
    found: Schema
    """Of all columns, as they stand there."""
    schema: Schema
    """Of the columns that are kept."""
    constant: Sequence[str]
    """Columns that say the same in every row and are left out for it."""
    moved: Sequence[Finding]
    """How the table differs from the one that was accepted before."""
    payload: Payload

    @property
    def meta(self) -> dict[str, Any]:
        """What the dataset says of its columns: no figures, which training must take from its own rows."""
        kinds = {name: self.schema.columns[name].kind for name in self.schema.features}
        return {"target": self.schema.target, "features": kinds}


def prepare(
    step: Step, settings: IngestSettings, listed: Sequence[Listed], workers: Workers, before: Schema | None
) -> PreparedTable:
    """Read all tables and find out what they are; `before` is the table that was accepted before, if there is one.

    Raises:
        UserError: a file cannot be read, the files have different columns, the target cannot be learned, or the table
            has moved farther than the settings allow.
        ModelmillError: a source was changed while it was read.
    """
    assert settings.table is not None
    reading = _Reading(step=step, table=settings.table)
    profile = Profile()
    for part in workers.map(partial(_profiled, settings.table), reading.batches(listed)):
        profile.merge(part)
        step.check_stop()
    check_columns(reading.columns)
    if not profile.rows:
        raise UserError(f"{_places(listed)}: 0 rows could be read; correct the source, skip_rows or header")
    found = infer(profile, _told(profile, settings))
    kept = found.without(_beside(found, settings))
    check_target(kept)
    _check_task(found, settings)
    moved = [] if before is None else compare(_alike(before, settings.table), found, settings.table.drift)
    settle(moved, settings.table.drift)
    constant = _constant(kept, settings.table)
    schema = kept.without(constant)
    return PreparedTable(
        files=reading.files,
        found=found,
        schema=schema,
        constant=constant,
        moved=moved,
        payload=_payload(schema, settings),
    )


def _told(profile: Profile, settings: IngestSettings) -> Table:
    """Return the settings with the target of a regression as a number, where most of its values are numbers.

    The few others are bad rows then, where inference would see names.
    """
    assert settings.table is not None
    table, target = settings.table, profile.columns.get(settings.table.target)
    declared = table.column(table.target)
    if settings.task != "table-regression" or target is None or declared.known_kind is not None:
        return table
    if 2 * target.numbers < target.filled:
        return table
    kind = "integer" if target.numbers == target.integers else "number"
    known = {**table.columns, table.target: declared.model_copy(update={"kind": kind})}
    return table.model_copy(update={"columns": known})


def _constant(found: Schema, table: Table) -> list[str]:
    """Return the columns to leave out; what the recipe has a word on is kept, and judged by it."""
    if table.constant == "keep":
        return []
    judged = {name for name, column in found.columns.items() if column.missing and table.missing == "fail"}
    return [name for name in constant_columns(found) if name not in judged and name not in table.columns]


def _beside(found: Schema, settings: IngestSettings) -> list[str]:
    """Return the columns that are kept for slicing alone, which are no features.

    Raises:
        UserError: one is not there, or a feature is called as what is made of the sources' names.
    """
    for name in settings.slice_columns:
        if name not in found.columns:
            said = f"no column {name!r} among {len(found.columns)}{nearest(name, list(found.columns))}"
            raise UserError(f"ingest.slice_columns: {said}; correct it, or `header` if the file has none")
    if SOURCE in settings.slice_names and SOURCE in found.columns:
        raise UserError(
            f"column {SOURCE!r} is called as the sources' names are; give it another one by rename: "
            f"{{{SOURCE}: NAME}}, name it in table.ignore, or leave the names out"
        )
    return [name for name in settings.slice_columns if name not in {found.group, found.time}]


def _profiled(table: Table, rows: Any) -> Profile:
    profile = Profile()
    profile.add(rows, table)
    return profile


@dataclass(kw_only=True)
class _Reading:
    step: Step
    table: Table
    files: dict[str, list[SpilledFile]] = field(default_factory=dict)
    columns: dict[str, Sequence[str]] = field(default_factory=dict)
    """The columns of each file of a format that names them once."""

    def batches(self, listed: Sequence[Listed]) -> Iterator[Any]:
        total = sum(file.bytes for one in listed for file in one.files)
        done = 0
        for one in listed:
            spilled = self.files.setdefault(one.source.uri, [])
            for file in one.files:
                path = self.step.scratch / f"table-{len(self.files)}-{len(spilled)}.arrow"
                with open_raw(file) as raw:
                    opened = Opened(file=file, source=one.source, raw=raw, labelled=True, scratch=self.step.scratch)
                    kind = _format(one, file)
                    for rows in spill(path, read_table(opened, kind, self.table.ignore)):
                        self._note(file, kind, rows)
                        yield rows.table
                        self.step.progress("looking at tables", done + raw.taken, total, "B")
                    raw.finish()
                spilled.append(SpilledFile(uri=file.uri, bytes=file.bytes, path=path))
                done += file.bytes

    def _note(self, file: SourceFile, kind: Format, rows: TableRows) -> None:
        if kind != "jsonl":
            self.columns.setdefault(file.uri, rows.table.schema.names)


def _format(listed: Listed, file: SourceFile) -> Format:
    kind = listed.source.format or format_of(file.name)
    if kind is None:
        raise UserError(f"{file.uri}: the name tells no format; set format to csv, tsv, jsonl or parquet")
    return kind


def _places(listed: Sequence[Listed]) -> str:
    return ", ".join(shown(one.source.uri) for one in listed)


def _check_task(found: Schema, settings: IngestSettings) -> None:
    target = found.columns[found.target]
    if settings.task == "table-regression" and target.kind not in NUMERIC:
        raise UserError(
            f"target: column {found.target!r} is of kind {target.kind}, and table-regression predicts a number; "
            "correct target or missing_values, or learn classes by task: table-classification"
        )


def _alike(before: Schema, table: Table) -> Schema:
    """Return what was accepted before without the columns that are not read any more: they were left out, not lost."""
    return before.without(table.ignore)


def _payload(schema: Schema, settings: IngestSettings) -> Payload:
    assert settings.table is not None
    arrow, target = schema.arrow(), None
    column = schema.columns[schema.target]
    if settings.task == "table-regression" and column.low is not None and column.high is not None:
        target = Target(name=schema.target, low=column.low, high=column.high)
    return table_payload(
        [arrow.field(name) for name in schema.features],
        target,
        # A free text may say anything about anyone.
        shown=[name for name in schema.features if schema.columns[name].kind != "text"],
        outlier=settings.table.outliers == "flag",
    )
