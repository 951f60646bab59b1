from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sacrebleu

from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from components.finetune.run import run as finetune
from components.finetune.settings import FinetuneSettings
from modelmill.errors import UserError
from modelmill.evaluation.checks import Threshold
from modelmill.evaluation.document import Report
from modelmill.models.folder import read_files
from modelmill.store import Store, open_store
from tests import samples

SPLITS = {
    "train": [*samples.reversals(200, 0), ("a question", "the answer"), ("another question", "the answer")],
    "validation": samples.reversals(20, 1),
    "test": samples.reversals(40, 2),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path, str, str]:
    """A model that has learned a little, and the rows that it is measured on."""
    folder = tmp_path_factory.mktemp("targets")
    store = open_store(str(folder / "store"))
    told = {
        "task": "sequence-to-sequence",
        "model": {"family": "transformer", "layers": 1, "width": 32, "heads": 2},
        "epochs": 4,
        "lr": 0.005,
        "batch_rows": 16,
        "precision": "fp32",
        "max_tokens": 12,
        "max_target_tokens": 12,
    }
    tokens = samples.target_tokens(store, folder, SPLITS)
    model = finetune(samples.step_of(store, folder), FinetuneSettings.model_validate(told), tokens, "", "").model
    return store, folder, model, samples.write_targets(store, SPLITS)


def measured(made: tuple[Store, Path, str, str], **told: Any) -> tuple[Report, dict[str, bytes], dict[str, Any]]:
    store, folder, model, labelled = made
    settings = EvaluateSettings(task="sequence-to-sequence", **told)
    done = run(samples.step_of(store, folder), settings, model, labelled)
    files, _ = read_files(store, done.report)
    return Report.read(files["report.json"]), files, done.summary


def test_answers_are_measured_by_sacrebleu_beside_baselines(made: tuple[Store, Path, str, str]) -> None:
    thresholds = {"chrf": Threshold(min=1.0), "bleu": Threshold(min=99.0), "perplexity": Threshold(max=30.0)}
    report, files, summary = measured(made, thresholds=thresholds, must_beat=("copy",))
    table = pq.read_table(pa.BufferReader(files["predictions.parquet"]))
    by_id = dict(zip(table["id"].to_pylist(), table["answer"].to_pylist(), strict=True))
    pairs = SPLITS["test"]
    answers = [by_id[samples._id(source)] for source, _ in pairs]
    references = [target for _, target in pairs]
    test = report.metrics["test"]
    assert test["chrf"] == pytest.approx(sacrebleu.corpus_chrf(answers, [references]).score, abs=1e-5)
    assert test["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, [references]).score, abs=1e-5)
    copied = sacrebleu.corpus_chrf([source for source, _ in pairs], [references]).score
    frequent = sacrebleu.corpus_chrf(["the answer"] * 40, [references]).score
    assert report.metrics["copy"]["chrf"] == pytest.approx(copied, abs=1e-5)
    assert report.metrics["frequent"]["chrf"] == pytest.approx(frequent, abs=1e-5)
    loss = np.sum(table["nats"].to_numpy()) / np.sum(table["tokens"].to_numpy())
    assert test["loss"] == pytest.approx(loss, rel=1e-4)
    assert test["perplexity"] == pytest.approx(np.exp(loss), rel=1e-4)
    for name, value in test.items():
        assert report.intervals[name][0] < value < report.intervals[name][1]
    asked = [(check.metric, check.against) for check in report.checks]
    assert asked == [("chrf", None), ("bleu", None), ("perplexity", None), ("chrf", "copy"), ("chrf", "frequent")]
    assert not report.checks[1].passed
    assert summary["chrf"] == test["chrf"]
    assert report.targets is not None
    assert len(report.targets.samples) == len(report.targets.worst) == 10
    worst = [one.chrf for one in report.targets.worst]
    assert worst == sorted(worst)
    assert worst[0] == pytest.approx(min(table["chrf"].to_pylist()), abs=1e-4)


def test_the_page_shows_answers_references_and_how_they_were_measured(made: tuple[Store, Path, str, str]) -> None:
    report, files, _ = measured(made)
    page = files["report.html"].decode()
    assert report.targets is not None
    for said in (
        report.targets.samples[0].source,
        report.targets.samples[0].reference,
        report.targets.signatures["chrf"],
        "Most frequent target",
        "no repeat ngram",
    ):
        assert said in page


def test_too_few_rows_are_refused(made: tuple[Store, Path, str, str]) -> None:
    store, folder, model, _ = made
    labelled = samples.write_targets(store, {**SPLITS, "test": SPLITS["test"][:1]})
    with pytest.raises(UserError, match="1 rows in the test split, at least 2"):
        run(samples.step_of(store, folder), EvaluateSettings(task="sequence-to-sequence"), model, labelled)


def test_what_an_answer_costs_is_told_and_held_against_thresholds(made: tuple[Store, Path, str, str]) -> None:
    report, files, summary = measured(made, thresholds={"latency_p99_ms": Threshold(max=60_000.0)})
    assert report.probes is not None
    assert report.probes.cost is not None
    assert report.probes.robustness is None
    assert [check.metric for check in report.checks if check.kind == "threshold"] == ["latency_p99_ms"]
    assert summary["latency_p99_ms"] == report.probes.cost.speeds[0].p99_ms
    assert "What an answer costs" in files["report.html"].decode()
