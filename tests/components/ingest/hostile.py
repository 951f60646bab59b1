"""What is shared by the tests of files made to do harm: good rows to stand among, and what must come of a case."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelmill.dataset import open_dataset, read_made
from modelmill.errors import ModelmillError
from tests.components.ingest.tools import ingest

LINES = [f"This is line number {number} of a plain text." for number in range(40)]
GOOD = "".join(f"{line}\n" for line in LINES).encode()
CSV = "".join(f"{line}\n" for line in ["text", *LINES]).encode()
JSON = "".join(f"{json.dumps({'text': line})}\n" for line in LINES).encode()
NOISE = random.Random(0).randbytes(60_000).hex("\n", 30).encode()

Expected = str | dict[str, int]
Maker = Callable[[Path], Any]
Content = bytes | Maker
Case = tuple[str, Content, dict[str, Any], Expected]
"""File name, what makes it, settings of the source, and an error's pattern or the rows dropped by reason."""


def check_error(tmp_path: Path, message: str, **recipe: Any) -> None:
    with pytest.raises(ModelmillError, match=message) as caught:
        ingest(tmp_path, **recipe)

    assert len(str(caught.value)) < 2000
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]


def check_ledger(tmp_path: Path, expected: dict[str, int], **recipe: Any) -> None:
    outputs, store = ingest(tmp_path, **recipe)

    ledger = read_made(store, outputs.made_labelled or outputs.made_corpus)["ledger"]
    assert ledger["dropped"] == expected, ledger["dropped"]
    assert ledger["read"] == ledger["kept"] + sum(expected.values())
    dataset = open_dataset(store, outputs.labelled or outputs.corpus)
    assert ledger["kept"] == sum(map(dataset.rows, dataset.splits)) > 0


def make(path: Path, content: Content) -> str:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    return str(path)


def check(tmp_path: Path, expected: Expected, **recipe: Any) -> None:
    if isinstance(expected, str):
        check_error(tmp_path, expected, **recipe)
    else:
        check_ledger(tmp_path, expected, **recipe)
