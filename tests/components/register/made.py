"""What register is given, made small: a model of two files, a report on it, the data that it came from."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from components.register.run import Evidence
from components.register.settings import RegisterSettings
from modelmill.dataset import encode, open_dataset, write_made
from modelmill.models.folder import save_files, save_model
from modelmill.registry.approval import Demand
from modelmill.sources import pin
from modelmill.store import Store
from tests import samples
from tests.modelmill.evaluation.made import report


def settings(
    name: str, approval: Demand = "none", promote: Literal["by_command", "by_verdict"] = "by_command"
) -> RegisterSettings:
    return RegisterSettings(
        name=name,
        approval=approval,
        promote=promote,
        task="text-classification",
        recipe="reviews",
        recipe_digest="0" * 64,
        steps=("resolve", "ingest"),
    )


def evidence(
    store: Store, folder: Path, seed: int = 0, at_least: float = 0.6, right: float = 1.0, weights: int = 1000
) -> Evidence:
    """Put a model and all behind it into the store; another seed makes another model of the same data.

    `right` is the share of test rows that it labels as they are, `weights` the size of its weights in bytes.
    """
    source = folder / "reviews.csv"
    source.write_text("text,label\nfine,positive\n")
    labelled = samples.write_labelled(store, {"test": samples.reviews(40), "train": samples.reviews(80, 1)})
    ledger = {"files": {str(source): {"read": 120, "kept": 120, "dropped": {}}}}
    page = store.put_blob(b"<html>")
    made = {"inputs": json.loads(pin([str(source)])), "ledger": ledger}
    made_at = write_made(store, labelled, {**made, "report": {"sha256": page.sha256, "bytes": page.bytes}})
    model = folder / f"model-{seed}"
    model.mkdir()
    (model / "model.safetensors").write_bytes(np.random.default_rng(seed).bytes(weights))
    (model / "config.json").write_text("{}")
    meta = {"task": "text-classification", "labels": ["negative", "positive"], "lineage": {"labelled": labelled}}
    address = save_model(store, model, meta)
    rows = open_dataset(store, labelled).table("test", ["id", "label"])
    truth_N = rows["label"].to_numpy()
    given_N = np.where(np.arange(len(truth_N)) < right * len(truth_N), truth_N, 1 - truth_N)
    columns = {"id": rows["id"], "label": truth_N, "predicted": given_N}
    probability = pa.array([[0.25, 0.75]] * len(truth_N), pa.list_(pa.float64(), 2))
    table = pa.table({**columns, "probability": probability})
    measured = report(at_least=at_least).adding(model=address, dataset=labelled)
    files = {"report.json": measured.to_json().encode(), "predictions.parquet": encode(table)}
    kept = save_files(store, "reports", files, {"kind": "report"})
    return Evidence(
        report=kept,
        comparison="",
        model=address,
        corpus="",
        labelled=labelled,
        made_corpus="",
        made_labelled=made_at,
    )
