"""Turn text into tokens: the corpus packed to full rows, the labelled texts row by row."""

# N rows, T tokens of a row

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from components.preprocess.outputs import Inputs, PreprocessOutputs
from components.preprocess.pack import Packer
from components.preprocess.settings import PreprocessSettings, TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.dataset import Dataset, DatasetWriter, open_dataset, write_made
from modelmill.errors import UserError
from modelmill.models.base import base_folder
from modelmill.models.tokenizer import Ids, Tokenizer, load_tokenizer, save_tokenizer
from modelmill.step import Step
from modelmill.store import Blob
from modelmill.version import code_digest

# Texts tokenized at a time, and rows of a shard: 65,536 rows of 128 tokens are 16 MB before compression.
_BATCH = 4096
_SHARD = 65_536


def run(step: Step, settings: PreprocessSettings, inputs: Inputs) -> PreprocessOutputs:
    """Tokenize texts with the base model's tokenizer, or with one trained here.

    Raises:
        UserError: the corpus fills no row, or the base model has no usable tokenizer.
        ModelmillError: a dataset or the base model is not what it was.
    """
    work = _Work.prepare(step, settings, asdict(inputs))
    summary: dict[str, Any] = {"vocabulary": work.tokenizer.vocabulary, "max_tokens": settings.max_tokens}
    packed, made_packed = work.pack(inputs.corpus, summary) if inputs.corpus else ("", "")
    rows, made_rows = work.label(inputs.labelled, summary) if inputs.labelled else ("", "")
    return PreprocessOutputs(
        corpus=packed, labelled=rows, made_corpus=made_packed, made_labelled=made_rows, summary=summary
    )


@dataclass
class _Counts:
    """What tokenizing saw."""

    texts: int = 0
    bytes: int = 0
    tokens: int = 0
    unknown: int = 0
    truncated: int = 0

    def figures(self) -> dict[str, float]:
        tokens = max(self.tokens, 1)
        return {
            "tokens": self.tokens,
            "bytes_per_token": round(self.bytes / tokens, 4),
            "unknown_share": round(self.unknown / tokens, 6),
        }


@dataclass(kw_only=True)
class _Work:
    step: Step
    settings: PreprocessSettings
    inputs: dict[str, str]
    tokenizer: Tokenizer
    attachments: dict[str, Blob] = field(default_factory=dict)

    @classmethod
    def prepare(cls, step: Step, settings: PreprocessSettings, inputs: dict[str, str]) -> "_Work":
        tokenizer = _tokenizer(step, settings, inputs)
        files = save_tokenizer(tokenizer, step.scratch / "tokenizer")
        attachments = {f"tokenizer/{path.name}": step.store.put_blob_file(path) for path in files}
        return cls(step=step, settings=settings, inputs=inputs, tokenizer=tokenizer, attachments=attachments)

    def pack(self, address: str, summary: dict[str, Any]) -> tuple[str, str]:
        """Write the packed corpus; return its address and that of what made it."""
        source = open_dataset(self.step.store, address)
        meta: dict[str, Any] = {"kind": "packed-tokens"}
        writer = self._writer(self._packed_schema(), meta)
        counts = _Counts()
        report = {}
        for split in source.splits:
            packer = Packer(
                max_tokens=self.settings.max_tokens,
                first=self.tokenizer.special["cls"],
                end=self.tokenizer.special["sep"],
            )
            for rows_NT in packer.pack(self._documents(source, split, counts), _SHARD):
                writer.add(split, self._packed(rows_NT))
            report[split] = packer.figures()
        train = report["train"]
        if not train["rows"]:
            raise UserError(
                f"ingest.corpus: {train['documents']} documents hold {train['tokens']} tokens, and one row takes "
                f"{self.settings.max_tokens}: give more text, or lower preprocess.max_tokens"
            )
        share = {name: train[name] for name in ("utilisation", "cut_share")}
        meta.update(share)
        figures = counts.figures()
        summary |= {"corpus_rows": train["rows"], **{f"corpus_{key}": figures[key] for key in figures}, **share}
        return self._commit(writer, {"splits": report, **figures})

    def label(self, address: str, summary: dict[str, Any]) -> tuple[str, str]:
        """Write the labelled rows; return their address and that of what made them."""
        source = open_dataset(self.step.store, address)
        total = sum(map(source.rows, source.splits))
        item = pa.from_numpy_dtype(self._dtype)
        schema = pa.schema([("id", pa.string()), ("input_ids", pa.list_(item)), ("label", pa.int32())])
        writer = self._writer(schema, {"kind": "labelled-tokens", "labels": source.meta["labels"]})
        counts = _Counts()
        for split in source.splits:
            for batch in source.batches(split, ["id", "text", "label"], rows=_SHARD):
                parts = []
                for start in range(0, batch.num_rows, _BATCH):
                    parts.append(self._labelled(batch.slice(start, _BATCH), counts, schema))
                    self._progress("tokenizing labelled texts", counts.texts, total)
                writer.add(split, pa.concat_tables(parts))
        figures = {**counts.figures(), "truncated_share": round(counts.truncated / max(counts.texts, 1), 6)}
        summary |= {"labelled_rows": counts.texts, **{f"labelled_{key}": figures[key] for key in figures}}
        return self._commit(writer, {"rows": counts.texts, "truncated": counts.truncated, **figures})

    def _documents(self, source: Dataset, split: str, counts: _Counts) -> Iterator[Ids]:
        total = sum(map(source.rows, source.splits))
        for batch in source.batches(split, ["text"], rows=_BATCH):
            yield from self._encode(batch["text"].to_pylist(), counts)
            self._progress("tokenizing the corpus", counts.texts, total)

    def _encode(self, texts: list[str], counts: _Counts) -> list[Ids]:
        documents = self.tokenizer.documents(texts)
        counts.texts += len(texts)
        counts.bytes += sum(len(text.encode()) for text in texts)
        counts.tokens += sum(map(len, documents))
        counts.unknown += sum(int(np.count_nonzero(ids_T == self.tokenizer.special["unk"])) for ids_T in documents)
        return documents

    def _labelled(self, batch: pa.RecordBatch, counts: _Counts, schema: pa.Schema) -> pa.Table:
        documents = self._encode(batch["text"].to_pylist(), counts)
        counts.truncated += sum(len(ids_T) > self.settings.max_tokens - 2 for ids_T in documents)
        rows = [self.tokenizer.row(ids_T, self.settings.max_tokens).astype(self._dtype) for ids_T in documents]
        columns = {"id": batch["id"], "input_ids": pa.array(rows, schema.field("input_ids").type)}
        return pa.table({**columns, "label": batch["label"]}, schema=schema)

    def _packed(self, rows_NT: Ids) -> pa.Table:
        values = pa.array(rows_NT.astype(self._dtype).ravel())
        column = pa.FixedSizeListArray.from_arrays(values, self.settings.max_tokens)
        return pa.table({"input_ids": column}, schema=self._packed_schema())

    def _packed_schema(self) -> pa.Schema:
        return pa.schema([("input_ids", pa.list_(pa.from_numpy_dtype(self._dtype), self.settings.max_tokens))])

    @property
    def _dtype(self) -> np.dtype[Any]:
        """The smallest that holds every id."""
        return np.dtype(np.uint16 if self.tokenizer.vocabulary <= 1 << 16 else np.uint32)

    def _writer(self, schema: pa.Schema, meta: dict[str, Any]) -> DatasetWriter:
        # Filled in place: what packing comes to is known only at its end.
        meta["max_tokens"] = self.settings.max_tokens
        meta["vocabulary"] = self.tokenizer.vocabulary
        meta["special"] = self.tokenizer.special
        return DatasetWriter(self.step.store, schema, meta, self.attachments)

    def _commit(self, writer: DatasetWriter, report: dict[str, Any]) -> tuple[str, str]:
        dataset = writer.commit()
        made = {
            "inputs": self.inputs,
            "settings": self.settings.model_dump(mode="json"),
            "code": code_digest(),
            "report": report,
        }
        return dataset.address, write_made(self.step.store, dataset.address, made)

    def _progress(self, what: str, done: int, total: int) -> None:
        self.step.progress(what, done, total, "texts")
        self.step.check_stop()


def _tokenizer(step: Step, settings: PreprocessSettings, inputs: dict[str, str]) -> Tokenizer:
    if settings.tokenizer is None and inputs["base"]:
        return load_tokenizer(base_folder(inputs["base"]))
    address = inputs["corpus"] or inputs["labelled"]
    source = open_dataset(step.store, address)
    step.progress("training the tokenizer", 0, 1, "vocabulary")
    texts = (text for batch in source.batches("train", ["text"], rows=_BATCH) for text in batch["text"].to_pylist())
    tokenizer = train_tokenizer(settings.tokenizer or TokenizerSettings(), texts)
    step.progress("training the tokenizer", 1, 1, "vocabulary")
    step.check_stop()
    return tokenizer
