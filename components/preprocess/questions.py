"""Turn questions and their contexts into tokens, whole, with the place of each token in the context.

The windows over a long context are training's: another length or stride takes no text in hand again.
"""

# D rows, T tokens of a text

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from components.preprocess import text
from components.preprocess.outputs import Inputs, PreprocessOutputs
from components.preprocess.quality import quality
from components.preprocess.settings import PreprocessSettings, TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.dataset import Dataset, DatasetWriter, open_dataset, write_made
from modelmill.errors import ModelmillError
from modelmill.models.base import base_folder
from modelmill.models.tokenizer import Tokenizer, check_places, load_tokenizer, save_tokenizer
from modelmill.step import Step
from modelmill.version import code_digest

# Rows tokenized at a time; a context has a few hundred tokens.
_BATCH = 1024
_SHARD_TOKENS = 1 << 22
_ANSWERS = pa.list_(pa.struct([("text", pa.string()), ("start", pa.int32())]))
_PLACES = pa.list_(pa.int32())


def run(step: Step, settings: PreprocessSettings, inputs: Inputs) -> PreprocessOutputs:
    """Tokenize questions and contexts with the base model's tokenizer, or with one trained here; the corpus as ever.

    Raises:
        UserError: the base model has no usable tokenizer, or the tokenizer cuts texts into words first.
        ModelmillError: a dataset or the base model is not what it was, or an answer is not where its row says.
    """
    if settings.tokenizer is not None:
        check_places(settings.tokenizer.segment or "")
    tokenizer = _tokenizer(step, settings, inputs)
    check_places(tokenizer.segment)
    corpus = PreprocessOutputs(corpus="", labelled="", made_corpus="", made_labelled="", summary={})
    if inputs.corpus:
        corpus = text.run(step, settings, Inputs(corpus=inputs.corpus, labelled="", base=inputs.base))
    source = open_dataset(step.store, inputs.labelled)
    split = "validation" if source.rows("validation") else "train"
    measured = quality(tokenizer, _contexts(source, split))
    summary: dict[str, Any] = {
        "vocabulary": tokenizer.vocabulary,
        **{f"tokenizer_{name}": value for name, value in measured.items()},
        **corpus.summary,
    }
    dataset, report = _write(step, source, tokenizer)
    summary |= {f"labelled_{name}": value for name, value in report.items()}
    made = {
        "inputs": asdict(inputs),
        "settings": settings.model_dump(mode="json"),
        "code": code_digest(),
        "report": report,
    }
    return PreprocessOutputs(
        corpus=corpus.corpus,
        labelled=dataset.address,
        made_corpus=corpus.made_corpus,
        made_labelled=write_made(step.store, dataset.address, made),
        summary=summary,
    )


def _tokenizer(step: Step, settings: PreprocessSettings, inputs: Inputs) -> Tokenizer:
    if settings.tokenizer is None and inputs.base:
        return load_tokenizer(base_folder(inputs.base))
    source = open_dataset(step.store, inputs.corpus or inputs.labelled)
    step.progress("training the tokenizer", 0, 1, "vocabulary")
    columns = ["text"] if inputs.corpus else ["question", "context"]
    texts = chain.from_iterable(
        batch[name].to_pylist() for batch in source.batches("train", columns, rows=_BATCH) for name in columns
    )
    tokenizer = train_tokenizer(settings.tokenizer or TokenizerSettings(), texts)
    step.progress("training the tokenizer", 1, 1, "vocabulary")
    step.check_stop()
    return tokenizer


def _contexts(source: Dataset, split: str) -> Iterator[str]:
    return chain.from_iterable(
        batch["context"].to_pylist() for batch in source.batches(split, ["context"], rows=_BATCH)
    )


def _write(step: Step, source: Dataset, tokenizer: Tokenizer) -> tuple[Dataset, dict[str, float]]:
    files = save_tokenizer(tokenizer, step.scratch / "tokenizer")
    attachments = {f"tokenizer/{path.name}": step.store.put_blob_file(path) for path in files}
    ids_type = pa.list_(pa.from_numpy_dtype(np.min_scalar_type(tokenizer.vocabulary - 1)))
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("question_ids", ids_type),
            ("context_ids", ids_type),
            ("context_starts", _PLACES),
            ("context_ends", _PLACES),
            # What an answer is cut out of, for validation.
            ("context", pa.string()),
            ("answers", _ANSWERS),
        ]
    )
    meta = {"kind": "question-tokens", "vocabulary": tokenizer.vocabulary, "special": tokenizer.special}
    writer = DatasetWriter(step.store, schema, meta, attachments)
    counts = {"rows": 0, "unanswerable": 0, "tokens": 0, "longest_question": 0, "longest_context": 0}
    total = sum(map(source.rows, source.splits))
    for split in source.splits:
        waiting: list[pa.Table] = []
        tokens = 0
        for batch in source.batches(split, ["id", "question", "context", "answers"], rows=_BATCH):
            waiting.append(_table(batch, tokenizer, schema, counts))
            tokens += len(waiting[-1]["context_ids"].combine_chunks().flatten())
            step.progress("tokenizing the questions", counts["rows"], total, "questions")
            step.check_stop()
            if tokens >= _SHARD_TOKENS:
                writer.add(split, pa.concat_tables(waiting))
                waiting, tokens = [], 0
        if waiting:
            writer.add(split, pa.concat_tables(waiting))
    share = counts.pop("unanswerable") / max(counts["rows"], 1)
    return writer.commit(), {**counts, "unanswerable_share": round(share, 6)}


def _table(batch: pa.RecordBatch, tokenizer: Tokenizer, schema: pa.Schema, counts: dict[str, int]) -> pa.Table:
    contexts, answers = batch["context"].to_pylist(), batch["answers"].to_pylist()
    for row_id, context, given in zip(batch["id"].to_pylist(), contexts, answers, strict=True):
        _check(row_id, context, given)
    question_ids = tokenizer.documents(batch["question"].to_pylist())
    placed = tokenizer.offsets(contexts)
    counts["rows"] += len(contexts)
    counts["unanswerable"] += sum(not given for given in answers)
    counts["tokens"] += sum(map(len, question_ids)) + sum(len(ids_T) for ids_T, _, _ in placed)
    counts["longest_question"] = max(counts["longest_question"], *map(len, question_ids))
    counts["longest_context"] = max(counts["longest_context"], *(len(ids_T) for ids_T, _, _ in placed))
    columns = [
        batch["id"],
        question_ids,
        [ids_T for ids_T, _, _ in placed],
        [starts_T for _, starts_T, _ in placed],
        [ends_T for _, _, ends_T in placed],
        contexts,
        answers,
    ]
    return pa.table([pa.array(one, field.type) for one, field in zip(columns, schema, strict=True)], schema=schema)


def _check(row_id: str, context: str, given: Sequence[dict[str, Any]]) -> None:
    for answer in given:
        start, said = answer["start"], answer["text"]
        if not said or start < 0 or context[start : start + len(said)] != said:
            raise ModelmillError(
                f"question {row_id}: the answer {said[:80]!r} should start at character {start} of a context of "
                f"{len(context)}, where {context[max(start, 0) : max(start, 0) + len(said)][:80]!r} is; ingest the "
                "questions again"
            )
