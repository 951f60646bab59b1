"""Measure a language model on held-out documents of its corpus, and let it speak.

They are the corpus's own validation split, which pretraining looks at and never chooses by: it keeps its last weights.
"""

# D documents

import math
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from components.evaluate import words
from components.evaluate.probe import cost_figures, probed
from components.evaluate.settings import EvaluateSettings
from components.evaluate.slices import with_slices
from components.evaluate.subject import NoAnswers, Subject, check_finite
from modelmill.dataset import encode, open_dataset
from modelmill.errors import UserError
from modelmill.evaluation.checks import checks
from modelmill.evaluation.document import Data, Report, Sample, Split
from modelmill.evaluation.intervals import of_ratio
from modelmill.evaluation.metrics import DECIMALS
from modelmill.evaluation.report import render
from modelmill.models.folder import fetch_model, save_files
from modelmill.step import Step

if TYPE_CHECKING:
    from modelmill.models.language_predictor import CausalPredictor, Losses, MaskedPredictor

HELD_OUT = "validation"
"""The split that is measured."""
# Documents between two signs of progress; and the most that are measured: four digits of the loss.
_CHUNK = 256
_MOST = 20_000
# Documents whose beginnings are continued, and characters of each, where a recipe gives no prompts.
_PROMPTS, _PROMPT_CHARACTERS = 5, 24
# Documents whose beginnings are asked in turn while answers are timed.
_TIMED = 256
# BERT, section 3.1 (arXiv:1810.04805).
_MASK_RATE = 0.15


def measure_language(step: Step, settings: EvaluateSettings, model: str, corpus: str) -> tuple[str, dict[str, Any]]:
    """Measure the model at an address on the held-out documents of a corpus; return the report's address, a summary.

    Raises:
        UserError: there is no held-out document, or a prompt is longer than the model reads.
        NoAnswers: the model's figures are not finite.
    """
    from modelmill.models.predict import load_predictor

    if settings.lm_eval is not None:
        from components.evaluate.harness import check_installed

        check_installed()
    dataset = open_dataset(step.store, corpus)
    count = dataset.rows(HELD_OUT)
    if not count:
        raise UserError(f"{corpus}: 0 documents in the {HELD_OUT} split of {dataset.rows('train')}; give more text")
    table = dataset.table(HELD_OUT, ["id", "text"]).slice(0, _MOST)
    texts = table["text"].to_pylist()
    folder = step.scratch / "model"
    facts = fetch_model(step.store, model, folder)
    predictor: Any = load_predictor(folder)
    if settings.task == "word-embeddings":
        return words.measure(step, settings, predictor, words.Held(model, corpus, facts, dataset, table, folder))
    losses = _losses(step, predictor, texts)
    check_finite(np.isfinite(losses.nats_D), table["id"].to_pylist(), "loss", "held-out documents", "pretrain.lr")
    if not losses.tokens_D.sum():
        raise NoAnswers(f"{corpus}: 0 tokens to predict in {len(texts):,} held-out documents; give longer ones")
    bytes_D = np.array([len(text.encode()) for text in texts])
    figures, spans = _figures(settings, losses, bytes_D)
    samples = _samples(step, settings, predictor, texts)
    report = Report(
        task=settings.task,
        model=model,
        dataset=corpus,
        test_rows=len(texts),
        labels=(),
        metrics={"test": figures},
        intervals=spans,
        per_class=(),
        confusion=(),
        calibration_error=0.0,
        checks=tuple(checks({"test": figures}, spans, settings.thresholds, (), len(texts))),
        data=Data(splits={name: Split(rows=dataset.rows(name)) for name in dataset.splits}),
        ask=samples[0].prompt if samples else "",
        samples=samples,
        sampling={**asdict(predictor.sampling)} if settings.task == "causal-lm" else {"mask_rate": _MASK_RATE},
        lineage=facts.get("lineage", {}),
    )
    report = probed(step, settings, report, _asked(settings, predictor, folder, texts))
    step.figures({**figures, **cost_figures(report)})
    passed = f"{sum(check.passed for check in report.checks)} of {len(report.checks)}"
    summary = {**figures, **cost_figures(report), "test_rows": len(texts), "checks_passed": passed}
    summary["metrics"] = report.metrics
    return _save(step, settings, report, table["id"], losses, bytes_D), summary


def _asked(settings: EvaluateSettings, predictor: Any, folder: Path, texts: list[str]) -> Subject:
    """Return what a language model is asked while its cost is measured: beginnings of documents, of a masked one with a
    word to fill in."""
    beginnings = [_beginning(text) for text in texts[:_TIMED]]
    if settings.task == "masked-lm":
        mask = predictor.tokenizer.backend.id_to_token(predictor.tokenizer.special["mask"])
        beginnings = [f"{mask} {text}" for text in beginnings]
    return Subject(predictor=predictor, folder=folder, inputs=beginnings)


def _losses(step: Step, predictor: "CausalPredictor | MaskedPredictor", texts: list[str]) -> "Losses":
    from modelmill.models.language_predictor import Losses, MaskedPredictor

    parts = []
    for start in range(0, len(texts), _CHUNK):
        step.check_stop()
        step.progress("scoring held-out documents", start, len(texts), "documents")
        chunk = texts[start : start + _CHUNK]
        if isinstance(predictor, MaskedPredictor):
            parts.append(predictor.losses(chunk, _MASK_RATE))
        else:
            parts.append(predictor.losses(chunk))
    step.progress("scoring held-out documents", len(texts), len(texts), "documents")
    return Losses(
        nats_D=np.concatenate([part.nats_D for part in parts]),
        tokens_D=np.concatenate([part.tokens_D for part in parts]),
        right_D=np.concatenate([part.right_D for part in parts]),
    )


def _figures(
    settings: EvaluateSettings, losses: "Losses", bytes_D: Any
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return the figures and their 95 % intervals: loss in nats a predicted token, the end of a document included."""
    loss, low, high = of_ratio(losses.nats_D, losses.tokens_D)
    found = {"loss": (loss, low, high), "perplexity": (math.exp(loss), math.exp(low), math.exp(high))}
    found["accuracy"] = of_ratio(losses.right_D, losses.tokens_D)
    if settings.task == "causal-lm":
        # Comparable between tokenizers, as the loss is not.
        found["bits_per_byte"] = of_ratio(losses.nats_D / math.log(2), bytes_D)
    figures = {name: round(value, DECIMALS) for name, (value, _, _) in found.items()}
    return figures, {name: (round(low, DECIMALS), round(high, DECIMALS)) for name, (_, low, high) in found.items()}


def _samples(step: Step, settings: EvaluateSettings, predictor: Any, texts: list[str]) -> tuple[Sample, ...]:
    """Return what the model makes of prompts: the recipe's, or for a causal one the beginnings of documents."""
    prompts = list(settings.prompts)
    if not prompts and settings.task == "causal-lm":
        prompts = list(islice((_beginning(text) for text in texts), _PROMPTS))
    step.progress("continuing prompts", 0, len(prompts), "prompts")
    answers = [str(answer) for answer in predictor.predict(prompts)] if prompts else []
    return tuple(Sample(prompt=prompt, answer=answer) for prompt, answer in zip(prompts, answers, strict=True))


def _beginning(text: str) -> str:
    cut = text[:_PROMPT_CHARACTERS]
    return cut.rsplit(maxsplit=1)[0] if len(text) > len(cut) and " " in cut.strip() else cut


def _save(step: Step, settings: EvaluateSettings, report: Report, ids: Any, losses: "Losses", bytes_D: Any) -> str:
    table = pa.table(
        {
            "id": ids,
            "nats": pa.array(losses.nats_D.astype(np.float32)),
            "tokens": pa.array(losses.tokens_D.astype(np.int32)),
            "right": pa.array(losses.right_D.astype(np.int32)),
            "bytes": pa.array(bytes_D.astype(np.int32)),
        }
    )
    report, table = with_slices(step, settings, HELD_OUT, report, table)
    files = {
        "report.json": report.to_json().encode(),
        "report.html": render(report).encode(),
        "predictions.parquet": encode(table),
    }
    meta = {"task": report.task, "model": report.model, "dataset": report.dataset, "labels": []}
    return save_files(step.store, "reports", files, meta)
