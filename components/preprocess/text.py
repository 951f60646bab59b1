"""Turn text into tokens, whole and without special tokens: what rows are made of them, training decides.

So another length of rows, or another way to pack them, takes no text in hand again.
"""

# D documents, T tokens of a document

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.preprocess.outputs import Inputs, PreprocessOutputs
from components.preprocess.quality import quality
from components.preprocess.settings import PreprocessSettings, TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.dataset import Dataset, DatasetWriter, open_dataset, write_made
from modelmill.models.base import base_folder
from modelmill.models.special import check_roles
from modelmill.models.tokenizer import Tokenizer, load_tokenizer, save_tokenizer
from modelmill.settings import Task
from modelmill.step import Step
from modelmill.store import Blob
from modelmill.version import code_digest

# Texts tokenized at a time, and tokens of a shard at the least: 16 MB before compression.
_BATCH = 4096
_SHARD_TOKENS = 1 << 23
# By what ingest's dataset holds: what the tokens' one is called, and for each column of text the one of its tokens.
_TOKENS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "text": ("corpus-tokens", {"text": "input_ids"}),
    "labelled-text": ("labelled-tokens", {"text": "input_ids"}),
    "labelled-pairs": ("pair-tokens", {"text": "input_ids", "pair": "pair_ids"}),
    "labelled-targets": ("target-tokens", {"text": "input_ids", "target": "target_ids"}),
}


def run(step: Step, settings: PreprocessSettings, inputs: Inputs) -> PreprocessOutputs:
    """Tokenize texts with the base model's tokenizer, or with one trained here.

    Raises:
        UserError: the base model has no usable tokenizer.
        ModelmillError: a dataset or the base model is not what it was.
    """
    work = _Work.prepare(step, settings, asdict(inputs))
    summary: dict[str, Any] = {"vocabulary": work.tokenizer.vocabulary, **work.quality}
    corpus, made_corpus = work.write("corpus", inputs.corpus, summary) if inputs.corpus else ("", "")
    labelled, made_labelled = work.write("labelled", inputs.labelled, summary) if inputs.labelled else ("", "")
    return PreprocessOutputs(
        corpus=corpus, labelled=labelled, made_corpus=made_corpus, made_labelled=made_labelled, summary=summary
    )


@dataclass
class _Counts:
    """What tokenizing saw."""

    texts: int = 0
    bytes: int = 0
    tokens: int = 0
    unknown: int = 0
    longest: int = 0

    def figures(self) -> dict[str, float]:
        tokens = max(self.tokens, 1)
        return {
            "texts": self.texts,
            "tokens": self.tokens,
            "longest": self.longest,
            "bytes_per_token": round(self.bytes / tokens, 4),
            "unknown_share": round(self.unknown / tokens, 6),
        }


@dataclass(kw_only=True)
class _Work:
    step: Step
    settings: PreprocessSettings
    inputs: dict[str, str]
    tokenizer: Tokenizer
    quality: dict[str, float]
    attachments: dict[str, Blob] = field(default_factory=dict)

    @classmethod
    def prepare(cls, step: Step, settings: PreprocessSettings, inputs: dict[str, str]) -> "_Work":
        tokenizer = _tokenizer(step, settings, inputs)
        whose = json.loads(inputs["base"])["uri"] if inputs["base"] else "preprocess.tokenizer"
        check_roles(whose, tokenizer.special, _roles(settings.task, inputs), settings.task)
        files = save_tokenizer(tokenizer, step.scratch / "tokenizer")
        attachments = {f"tokenizer/{path.name}": step.store.put_blob_file(path) for path in files}
        source = open_dataset(step.store, inputs["corpus"] or inputs["labelled"])
        measured = {f"tokenizer_{name}": value for name, value in quality(tokenizer, _texts(source)).items()}
        return cls(
            step=step, settings=settings, inputs=inputs, tokenizer=tokenizer, quality=measured, attachments=attachments
        )

    def write(self, what: str, address: str, summary: dict[str, Any]) -> tuple[str, str]:
        """Write the tokens of the corpus or of the labelled rows; return their address and that of what made them."""
        source = open_dataset(self.step.store, address)
        kept = [name for name in ("id", "label") if name in source.schema.names] if what == "labelled" else []
        kind, columns = _TOKENS[source.meta["kind"]]
        prefix = self.settings.prefix if kind == "target-tokens" else ""
        tokens = pa.list_(pa.from_numpy_dtype(self._dtype))
        schema = pa.schema([*((name, tokens) for name in columns.values()), *map(source.schema.field, kept)])
        meta = {
            "kind": kind,
            "vocabulary": self.tokenizer.vocabulary,
            "special": self.tokenizer.special,
            **({"labels": source.meta["labels"]} if "labels" in source.meta else {}),
            **({"prefix": prefix} if prefix else {}),
        }
        writer = DatasetWriter(self.step.store, schema, meta, self.attachments)
        counts, by_split = _Counts(), {}
        for split in source.splits:
            before = counts.texts, counts.tokens
            for table in self._shards(source, split, kept, counts, what, prefix):
                writer.add(split, table.cast(writer.schema))
            by_split[split] = {"texts": counts.texts - before[0], "tokens": counts.tokens - before[1]}
        figures = counts.figures()
        summary |= {f"{what}_{name}": value for name, value in figures.items()}
        return self._commit(writer, {**figures, "splits": by_split})

    def _shards(
        self, source: Dataset, split: str, kept: list[str], counts: _Counts, what: str, prefix: str
    ) -> Iterator[pa.Table]:
        """Yield tables of tokens; which rows stand in which depends on the texts alone."""
        total = sum(map(source.rows, source.splits)) * len(_TOKENS[source.meta["kind"]][1])
        waiting: list[pa.Table] = []
        tokens = 0
        columns = _TOKENS[source.meta["kind"]][1]
        for batch in source.batches(split, [*columns, *kept], rows=_BATCH):
            texts = {name: batch[text] for text, name in columns.items()}
            if prefix:
                texts["input_ids"] = pc.binary_join_element_wise(prefix, texts["input_ids"], "")
            ids = {name: self._encoded(column, counts) for name, column in texts.items()}
            waiting.append(pa.table({**ids, **{name: batch[name] for name in kept}}))
            tokens += sum(len(column.values) for column in ids.values())
            self.step.progress(f"tokenizing the {what} texts", counts.texts, total, "texts")
            self.step.check_stop()
            if tokens >= _SHARD_TOKENS:
                yield pa.concat_tables(waiting)
                waiting, tokens = [], 0
        if waiting:
            yield pa.concat_tables(waiting)

    def _encoded(self, texts: pa.Array, counts: _Counts) -> pa.ListArray:
        ids, length_D = self.tokenizer.encoded(texts)
        ids = ids.astype(self._dtype)
        counts.texts += len(texts)
        counts.bytes += pc.sum(pc.binary_length(texts)).as_py() or 0
        counts.tokens += len(ids)
        counts.unknown += int(np.count_nonzero(ids == self.tokenizer.special.get("unk", -1)))
        counts.longest = max(counts.longest, int(length_D.max(initial=0)))
        bounds = np.concatenate([[0], np.cumsum(length_D)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(bounds), pa.array(ids))

    @property
    def _dtype(self) -> np.dtype[Any]:
        """The smallest that holds every id."""
        return np.min_scalar_type(self.tokenizer.vocabulary - 1)

    def _commit(self, writer: DatasetWriter, report: dict[str, Any]) -> tuple[str, str]:
        dataset = writer.commit()
        made = {
            "inputs": self.inputs,
            "settings": self.settings.model_dump(mode="json"),
            "code": code_digest(),
            "report": {**report, **self.quality},
        }
        return dataset.address, write_made(self.step.store, dataset.address, made)


def _roles(task: Task, inputs: Mapping[str, str]) -> tuple[str, ...]:
    """Return the special tokens that rows of a task are framed with, and those that pretraining for it needs."""
    if task == "causal-lm":
        return ("cls", "sep")
    if task == "sequence-to-sequence":
        # T5's sequences have no beginning.
        return ("sep", "pad")
    # What is learned from labelled texts is pretrained by hiding tokens.
    return ("cls", "sep", "pad", *(["mask"] if inputs["corpus"] else []))


def _usual(task: Task) -> TokenizerSettings:
    return TokenizerSettings(kind="words" if task == "word-embeddings" else "wordpiece")


def _texts(source: Dataset) -> Iterator[str]:
    """Yield the validation texts, or the training texts where there are none of those."""
    split = "validation" if source.rows("validation") else "train"
    return _texts_of(source, split)


def _texts_of(source: Dataset, split: str) -> Iterator[str]:
    """Yield every text of a split; of a row with several, one after the other."""
    columns = list(_TOKENS[source.meta["kind"]][1])
    for batch in source.batches(split, columns, rows=_BATCH):
        yield from chain.from_iterable(zip(*(batch[name].to_pylist() for name in columns), strict=True))


def _tokenizer(step: Step, settings: PreprocessSettings, inputs: dict[str, str]) -> Tokenizer:
    if settings.tokenizer is None and inputs["base"]:
        return load_tokenizer(base_folder(inputs["base"]))
    address = inputs["corpus"] or inputs["labelled"]
    source = open_dataset(step.store, address)
    step.progress("training the tokenizer", 0, 1, "vocabulary")
    tokenizer = train_tokenizer(settings.tokenizer or _usual(settings.task), _texts_of(source, "train"))
    step.progress("training the tokenizer", 1, 1, "vocabulary")
    step.check_stop()
    return tokenizer
