"""Questions that can be learned in seconds: what is the thing of a colour?"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.preprocess.outputs import PreprocessOutputs
from components.preprocess.run import run as preprocess
from components.preprocess.settings import PreprocessSettings, TokenizerSettings
from modelmill.dataset import DatasetWriter
from modelmill.digest import sha256_hex
from modelmill.settings import Task
from modelmill.store import Store
from tests import samples

TASK: Task = "question-answering"
COLOURS = ("red", "green", "blue", "black")
THINGS = ("house", "river", "tiger", "apple", "table", "cloud")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("context", pa.string()),
        ("answers", pa.list_(pa.struct([("text", pa.string()), ("start", pa.int32())]))),
    ]
)
Row = dict[str, Any]


def row(question: str, context: str, *answers: tuple[str, int]) -> Row:
    """Return a row as ingest makes one."""
    given = [{"text": text, "start": start} for text, start in answers]
    return {"id": sha256_hex((question + context).encode()), "question": question, "context": context, "answers": given}


def rows(count: int, seed: int = 0, unanswerable: float = 0.0, filler: int = 2) -> list[Row]:
    """Return questions about which thing has a colour; the answer stands between stars, so that little is to learn."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        colour, thing = chance.choice(COLOURS), chance.choice(THINGS)
        before = " ".join(chance.choices(samples.PLAIN, k=chance.randrange(1, filler + 1)))
        after = " ".join(chance.choices(samples.PLAIN, k=chance.randrange(1, filler + 1)))
        absent = chance.random() < unanswerable
        context = f"{before}. {after}." if absent else f"{before} * The {thing} * {after}."
        answers = [] if absent else [(f"The {thing}", context.index("The "))]
        made.append(row(f"what is {colour}?", context, *answers))
    return made


def write(store: Store, splits: Mapping[str, Sequence[Row]], kind: str = "labelled-questions") -> str:
    """Put questions into the store as ingest does; return the dataset's address."""
    writer = DatasetWriter(store, SCHEMA, {"kind": kind})
    for split, given in splits.items():
        writer.add(split, pa.Table.from_pylist(list(given), schema=SCHEMA))
    return writer.commit().address


def tokens(
    store: Store, folder: Path, splits: Mapping[str, Sequence[Row]], tokenizer: Mapping[str, Any] | None = None
) -> tuple[str, PreprocessOutputs]:
    """Return the address of questions, and what preprocessing made of them with a tokenizer of their own."""
    address = write(store, splits)
    settings = PreprocessSettings(
        task=TASK, tokenizer=TokenizerSettings.model_validate({"vocabulary": 300, **(tokenizer or {})})
    )
    return address, preprocess(samples.step_of(store, folder, "preprocess"), settings, "", address, "")
