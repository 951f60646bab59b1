"""Measuring a classifier of pairs of texts."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from components.finetune.run import run as finetune
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import open_dataset
from modelmill.evaluation.document import Report
from modelmill.models.folder import fetch_model, read_files
from modelmill.models.predict import load_predictor
from modelmill.store import open_store
from tests import samples


def test_pairs_are_measured_beside_tfidf_of_both_texts(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    labelled, tokens = samples.pair_tokens(store, tmp_path)
    told = {"task": "pair-classification", "epochs": 1, "max_tokens": 32, "precision": "fp32"}
    shape = {"family": "bert", "layers": 1, "width": 32, "heads": 2}
    tuning = FinetuneSettings.model_validate({**told, "model": shape})
    model = finetune(samples.step_of(store, tmp_path), tuning, tokens, "", "").model
    settings = EvaluateSettings(task="pair-classification", must_beat=("majority", "tfidf"))

    made = run(samples.step_of(store, tmp_path, "evaluate"), settings, model, labelled)

    files, _ = read_files(store, made.report)
    report = Report.read(files["report.json"])
    assert report.test_rows == 60
    assert {"accuracy", "f1_macro", "roc_auc"} <= report.metrics["test"].keys()
    # The telling words of the first text mean nothing: only where both are counted apart is it this good.
    assert report.metrics["tfidf"]["accuracy"] > 0.9
    assert {check.against for check in report.checks} == {"majority", "tfidf"}
    rows = open_dataset(store, labelled).table("test", ["text", "pair"]).to_pylist()
    texts = {f"{row['text']} | {row['pair']}" for row in rows}
    assert {example.text for example in report.examples} <= texts
    fetch_model(store, model, tmp_path / "served")
    assert load_predictor(tmp_path / "served").predict([json.loads(report.ask)]).shape == (1, 2)
    table = pq.read_table(pa.BufferReader(files["predictions.parquet"]))
    served_NL = load_predictor(tmp_path / "served").predict(rows)
    np.testing.assert_allclose(np.array(table["probability"].to_pylist()), served_NL, atol=1e-5)
