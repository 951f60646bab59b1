"""A table's rows as vectors of numbers, by transforms that are fitted on the training rows alone."""

# N rows, F numbers of a vector

import logging
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from components.preprocess.outputs import Inputs, PreprocessOutputs
from components.preprocess.settings import PreprocessSettings
from modelmill.dataset import Dataset, DatasetWriter, open_dataset, write_made
from modelmill.errors import UserError
from modelmill.step import Step
from modelmill.tables.transforms import FILE, Transforms, fit_transforms
from modelmill.version import code_digest

log = logging.getLogger(__name__)

# Rows of a shard: 65,536 vectors of 100 numbers are 26 MB.
_SHARD = 1 << 16


def run(step: Step, settings: PreprocessSettings, inputs: Inputs) -> PreprocessOutputs:
    """Fit the transforms on the training rows, and write every row as a vector.

    Raises:
        UserError: there are no training rows, a value is refused, or no column gives a number.
        ModelmillError: the dataset is not what it was.
    """
    source = open_dataset(step.store, inputs.labelled)
    if not source.rows("train"):
        raise UserError(
            f"{source.address}: 0 rows in the train split of {sum(map(source.rows, source.splits))}; raise "
            "ingest.split.train or give more rows"
        )
    step.progress("fitting the transforms", 0, source.rows("train"), "rows")
    train = source.table("train", ["id", "features"])
    transforms = fit_transforms(settings.tables, source.meta["features"], train["features"], train["id"].to_pylist())
    if transforms.left_out:
        said = ", ".join(f"{name} ({why})" for name, why in sorted(transforms.left_out.items()))
        log.warning("%d of %d columns are left out: %s", len(transforms.left_out), len(source.meta["features"]), said)
    step.check_stop()
    return _Work(step=step, source=source, transforms=transforms).write(settings, inputs)


@dataclass(kw_only=True)
class _Work:
    step: Step
    source: Dataset
    transforms: Transforms

    def write(self, settings: PreprocessSettings, inputs: Inputs) -> PreprocessOutputs:
        attachment = self.step.store.put_blob(self.transforms.to_json().encode())
        writer = DatasetWriter(self.step.store, self._schema(), self._meta(), {FILE: attachment})
        counts: Counter[str] = Counter()
        for split in self.source.splits:
            for batch in self.source.batches(split, rows=_SHARD):
                writer.add(split, self._vectors(batch, counts))
                self.step.check_stop()
        dataset = writer.commit()
        figures = {
            "rows": counts["rows"],
            "columns": len(self.transforms.columns),
            "columns_left_out": len(self.transforms.left_out),
            "features": len(self.transforms.names),
            "imputed": counts["missing"],
            "unknown_categories": counts["unknown"],
            "non_finite": counts["non_finite"],
        }
        made = {
            "inputs": asdict(inputs),
            "settings": settings.model_dump(mode="json"),
            "code": code_digest(),
            "report": {**figures, "left_out": self.transforms.left_out},
        }
        kept = write_made(self.step.store, dataset.address, made)
        return PreprocessOutputs(
            corpus="", labelled=dataset.address, made_corpus="", made_labelled=kept, summary=figures
        )

    def _meta(self) -> dict[str, Any]:
        meta = self.source.meta
        answer = {"labels": meta["labels"]} if "labels" in meta else {"target_figures": self._target_figures()}
        return {
            "kind": "labelled-rows",
            "names": list(self.transforms.names),
            "features": meta["features"],
            "target": meta["target"],
            # Cross-validation fits anew, from the rows as they were.
            "source": self.source.address,
            **answer,
        }

    def _target_figures(self) -> dict[str, float]:
        targets_N = self.source.table("train", ["target"])["target"].to_numpy()
        return {
            "mean": float(targets_N.mean()),
            "deviation": float(targets_N.std()),
            "min": float(targets_N.min()),
            "max": float(targets_N.max()),
        }

    def _schema(self) -> pa.Schema:
        vector = ("features", pa.list_(pa.float32(), len(self.transforms.names)))
        answer = ("label", pa.int32()) if "labels" in self.source.meta else ("target", pa.float64())
        return pa.schema([("id", pa.string()), vector, answer])

    def _vectors(self, batch: pa.RecordBatch, counts: Counter[str]) -> pa.Table:
        table = pa.table(batch)
        vectors_NF, seen = self.transforms.of_table(table["features"], table["id"].to_pylist())
        counts.update(seen)
        counts["rows"] += len(vectors_NF)
        self.step.progress("transforming", counts["rows"], self._total, "rows")
        features = pa.FixedSizeListArray.from_arrays(pa.array(vectors_NF.ravel()), vectors_NF.shape[1])
        answer = "label" if "label" in table.schema.names else "target"
        return pa.table({"id": table["id"], "features": features, answer: table[answer]}, schema=self._schema())

    @property
    def _total(self) -> int:
        return sum(map(self.source.rows, self.source.splits))
