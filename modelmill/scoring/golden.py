"""Rows that a model is tried with: a file's, the test split of the dataset it learned from, or its input example."""

# N rows

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelmill.dataset import Dataset, open_dataset
from modelmill.errors import InputRefused, ModelmillError, UserError
from modelmill.models.interface import Interface
from modelmill.scoring.ask import Asking
from modelmill.scoring.read import Reading, format_of
from modelmill.sources import list_files, nearest, shown
from modelmill.store import Store

_KINDS = ("labelled-text", "labelled-pairs", "labelled-images", "labelled-table")


@dataclass(frozen=True, kw_only=True)
class Golden:
    """What a predictor is asked, and the truth where it is known."""

    source: str
    """Where the rows come from, for a report."""
    inputs: Sequence[Any]
    truth_N: npt.NDArray[Any] | None
    """The label's number of each row, or the number; None where it is not known."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which rows are wanted."""

    rows: str | None = None
    """A file; left out, the model's own test rows or example."""
    columns: Mapping[str, str] | None = None
    """The file's column for one of the model's."""
    label: str | None = None
    """The file's column that holds the truth."""
    most: int = 32
    """More are not read."""
    truth: bool = False
    """Whether rows without it are of no use."""


def golden_rows(wanted: Wanted, store: Store, folder: Path, facts: Mapping[str, Any], served: Interface) -> Golden:
    """Return rows to try a model with.

    Raises:
        UserError: there are none, or the file's are not what the model reads.
    """
    if wanted.rows is not None:
        return _of_file(wanted, facts, served)
    found = _of_lineage(wanted, store, facts)
    if found is None and not wanted.truth:
        found = _example(folder, served)
    if found is None:
        also = " and --label COLUMN" if wanted.truth else ""
        raise UserError(
            f"0 rows to try the model with: {store.uri} does not hold the dataset that it learned from; give --rows "
            f"FILE{also}"
        )
    return found


def _of_file(wanted: Wanted, facts: Mapping[str, Any], served: Interface) -> Golden:
    assert wanted.rows is not None
    files = [file for file in list_files(wanted.rows) if file.bytes]
    with tempfile.TemporaryDirectory(prefix="modelmill-rows-") as scratch:
        form = format_of(files, None, images="image" in served.columns)
        reading = Reading(files, form, Path(scratch))
        there = reading.schema()
        if wanted.truth and wanted.label not in there.names:
            raise UserError(
                f"{shown(wanted.rows)}: --label {wanted.label or '(left out)'}: no such column among the {len(there)}"
                f"{nearest(wanted.label or '', there.names)}; name the one that holds the truth"
            )
        asking = Asking.of(served, facts, there, wanted.columns or {}, texts=form in {"csv", "tsv"})
        inputs, truth = [], []
        for _, row in reading.rows():
            if row.reason:
                raise UserError(f"{row.file}, row {row.number}: {row.reason} {row.detail}; correct it")
            try:
                inputs.append(asking.question(row))
            except InputRefused as error:
                raise UserError(f"{row.file}, row {row.number}: {error}; correct it") from error
            if wanted.truth:
                truth.append(_true(facts, row.values.get(wanted.label or ""), f"{row.file}, row {row.number}"))
            if len(inputs) == wanted.most:
                break
    if not inputs:
        raise UserError(f"{shown(wanted.rows)}: 0 rows; give a file with some")
    return Golden(source=shown(wanted.rows), inputs=inputs, truth_N=np.array(truth) if wanted.truth else None)


def _true(facts: Mapping[str, Any], value: Any, where: str) -> float | int:
    labels = list(facts.get("labels", ()))
    if labels:
        if str(value) not in labels:
            raise UserError(f"{where}: {value!r} is none of the {len(labels)} labels{nearest(str(value), labels)}")
        return labels.index(str(value))
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"{where}: {value!r} is no number, which the model answers") from None


def _of_lineage(wanted: Wanted, store: Store, facts: Mapping[str, Any]) -> Golden | None:
    """Return rows of the test split of what the model learned from, where the store holds it as it was ingested."""
    lineage = facts.get("lineage")
    learned = lineage.get("labelled", "") if isinstance(lineage, Mapping) else ""
    if not learned:
        return None
    dataset = next((one for one in _sources(store, learned) if one.meta["kind"] in _KINDS), None)
    if dataset is None or not dataset.rows("test"):
        return None
    answer = "label" if "label" in dataset.schema.names else "target"
    taken: list[pa.Table] = []
    for batch in dataset.batches("test"):
        taken.append(pa.Table.from_batches([batch]))
        if sum(table.num_rows for table in taken) >= wanted.most:
            break
    table = pa.concat_tables(taken).slice(0, wanted.most)
    truth_N = table[answer].to_numpy()
    if answer == "label":
        ours = list(facts.get("labels", ()))
        if list(dataset.meta["labels"]) != ours:
            return None
        truth_N = truth_N.astype(np.int64)
    return Golden(source=f"test split of {dataset.address}", inputs=_inputs(dataset, table), truth_N=truth_N)


def _sources(store: Store, learned: str) -> list[Dataset]:
    """Return what a preprocessed dataset was made from, by the records of its making."""
    found = []
    for key in store.keys(f"made/{learned.partition('/')[2]}/"):
        try:
            inputs = store.get_manifest(key).get("inputs", {})
            found.append(open_dataset(store, inputs["labelled"]))
        except (ModelmillError, KeyError, TypeError, AttributeError):
            # Collected since, or a record of another kind.
            continue
    return found


def _inputs(dataset: Dataset, table: pa.Table) -> list[Any]:
    columns = {"labelled-pairs": ("text", "pair"), "labelled-images": ("image",), "labelled-table": ("features",)}
    chosen = columns.get(dataset.meta["kind"], ("text",))
    rows: list[dict[str, Any]] = table.select(list(chosen)).to_pylist()
    return rows if len(chosen) > 1 else [row[chosen[0]] for row in rows]


def _example(folder: Path, served: Interface) -> Golden | None:
    """Return the input example that a registered version carries beside its artifacts."""
    version = folder.parent.parent
    if folder.parent.name != "artifacts" or not (version / "MLmodel").is_file():
        return None
    from mlflow.models import Model

    described = Model.load(str(version))
    example = described.load_input_example(str(version)) if described.saved_input_example_info else None
    if example is None:
        return None
    return Golden(source="the version's input example", inputs=served.inputs(example), truth_N=None)
