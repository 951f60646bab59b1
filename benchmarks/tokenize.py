"""100 MB of English become token ids: modelmill's preprocessing beside datasets.map with the same tokenizer.

    python -m benchmarks.tokenize --json [--megabytes 100] [--rounds 5]

Both read the same Parquet of texts and write their ids, with the same trained WordPiece tokenizer and without special
tokens: modelmill into its store, `datasets` by `map(batched=True, num_proc=2)` into its cache. Start-up is not counted.
The ids must be the same, row by row.
"""

import argparse
import hashlib
import time
from pathlib import Path
from typing import Any

from benchmarks import english
from benchmarks.measure import alternate, begin, options, report, step_in


def main() -> None:
    """Run the rounds and print the figures; as a child of itself, run one side once."""
    asked = options(__doc__)
    asked.add_argument("--megabytes", type=float, default=100)
    begin(asked.parse_args(), _measure, {"ours": _ours, "datasets": _datasets})


def _measure(folder: Path, given: argparse.Namespace) -> None:
    address = _prepare(folder, given.megabytes)
    made = alternate("benchmarks.tokenize", [folder, address], given.rounds, ("ours", "datasets"), "MB/s")
    digests = {side: each["ids"] for side, each in made.facts.items()}
    if digests["ours"] != digests["datasets"]:
        raise SystemExit(f"the ids differ: {digests}")
    report(
        "tokenize",
        unit="MB/s",
        ours=made.rates["ours"],
        peer=made.rates["datasets"],
        peer_name="datasets.map(batched=True, num_proc=2) with PreTrainedTokenizerFast",
        megabytes=given.megabytes,
        tokens=made.facts["ours"]["tokens"],
        same_ids=True,
        peak_memory_mb=made.memory,
    )


def _prepare(folder: Path, megabytes: float) -> str:
    """Write the texts as a dataset, and a tokenizer trained on some of them; return the dataset's address."""
    import pyarrow as pa

    from components.preprocess.settings import TokenizerSettings
    from components.preprocess.tokenizer import train_tokenizer
    from modelmill.dataset import DatasetWriter
    from modelmill.models.tokenizer import save_tokenizer

    texts = [document["text"] for document in english.documents(megabytes)]
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    writer = DatasetWriter(step_in(folder, "ingest").store, schema, {"kind": "text"})
    for start in range(0, len(texts), 4096):
        part = texts[start : start + 4096]
        ids = [f"{start + place:08d}" for place in range(len(part))]
        writer.add("train", pa.table({"id": ids, "text": part}, schema=schema))
    base = folder / "base"
    save_tokenizer(train_tokenizer(TokenizerSettings(vocabulary=8000), iter(texts[:2000])), base)
    return writer.commit().address


def _size(folder: Path, address: str) -> float:
    return sum(len(text.encode()) for text in _texts(folder, address)) / 1e6


def _texts(folder: Path, address: str) -> list[str]:
    from modelmill.dataset import open_dataset
    from modelmill.store import open_store

    table = open_dataset(open_store(str(folder / "store")), address).table("train", ["text"])
    return [text.as_py() for text in table["text"]]


def _digest(rows: Any) -> tuple[str, int]:
    """Return the digest of lists of ids, and how many ids there are."""
    import numpy as np

    digest, tokens = hashlib.sha256(), 0
    for row in rows:
        ids = np.asarray(row, dtype=np.int64)
        digest.update(len(ids).to_bytes(8, "little") + ids.tobytes())
        tokens += len(ids)
    return digest.hexdigest(), tokens


def _ours(folder: Path, address: str, _given: argparse.Namespace) -> dict[str, Any]:
    from components.preprocess.run import run as preprocess
    from components.preprocess.settings import PreprocessSettings
    from modelmill.dataset import open_dataset
    from modelmill.digest import canonical_json
    from modelmill.sources import fingerprint

    base = str(folder / "base")
    pin = canonical_json({"uri": base, "fingerprint": fingerprint(base)})
    size = _size(folder, address)
    step = step_in(folder, "preprocess")
    settings = PreprocessSettings.model_validate({"task": "masked-lm"})
    began = time.perf_counter()
    made = preprocess(step, settings, address, "", pin)
    seconds = time.perf_counter() - began
    table = open_dataset(step.store, made.corpus).table("train", ["input_ids"])
    ids, tokens = _digest(row.values.to_numpy() for row in table["input_ids"])
    return {"rate": size / seconds, "ids": ids, "tokens": tokens}


def _datasets(folder: Path, address: str, given: argparse.Namespace) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import AutoTokenizer

    texts = _texts(folder, address)
    size = sum(len(text.encode()) for text in texts) / 1e6
    parquet = folder / f"texts-{given.seed}.parquet"
    Dataset.from_dict({"text": texts}).to_parquet(parquet)
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    read = Dataset.from_parquet(str(parquet), cache_dir=str(folder / f"cache-{given.seed}"))

    def encoded(batch: dict[str, list[str]]) -> dict[str, Any]:
        return {"input_ids": tokenizer(batch["text"], add_special_tokens=False)["input_ids"]}

    began = time.perf_counter()
    made = read.map(encoded, batched=True, num_proc=2, remove_columns=["text"])
    seconds = time.perf_counter() - began
    ids, tokens = _digest(row["input_ids"] for row in made)
    return {"rate": size / seconds, "ids": ids, "tokens": tokens}


if __name__ == "__main__":
    main()
