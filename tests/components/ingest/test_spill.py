import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from components.ingest import spill as spilling
from components.ingest.payload import TEXT
from components.ingest.spill import Spill, bucket_bits, unpacked_size
from components.ingest.text.personal import Personal
from components.ingest.text.settings import NearDuplicates
from components.ingest.work import Order, work
from components.ingest.work_parts import Batch

ORDER = Order(
    labelled=False,
    label=None,
    min_chars=1,
    max_chars=100,
    sample=1,
    quality=None,
    near=NearDuplicates(action="off"),
    repair=False,
    personal=Personal(action="keep"),
    language=None,
    by_time=False,
)


@pytest.mark.parametrize(("bits", "buffer_bytes"), [(0, 1 << 26), (0, 500), (3, 500), (8, 8000)])
def test_a_spill_gives_back_what_it_took_in_the_order_of_the_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, buffer_bytes: int
) -> None:
    monkeypatch.setattr(spilling, "_BUFFER_BYTES", buffer_bytes)
    numbers = random.Random(0)
    texts = [f"text {numbers.randrange(300)}" for _ in range(500)]
    spill = Spill(tmp_path, bits, TEXT)
    for start in range(0, 500, 50):
        batch = Batch(numbers=range(start, start + 50), texts=texts[start : start + 50], labels=[None] * 50)
        spill.add(work(ORDER, batch), labelled=False, file=start, numbers=np.arange(start, start + 50) + 1000)

    for _ in range(2):
        buckets = [bucket.combine_chunks() for bucket in spill.tables()]

        ids = [set(bucket["id"].to_pylist()) for bucket in buckets]
        assert all(max(before) < min(after) for before, after in pairwise(ids))
        found = {
            row["number"]: (row["text"], row["file"], row["row"]) for table in buckets for row in table.to_pylist()
        }
        assert found == {row + 1000: (text, row // 50 * 50, row) for row, text in enumerate(texts)}
    spill.clear()
    assert list(tmp_path.iterdir()) == []


def test_more_data_makes_more_buckets_up_to_what_can_be_open_at_once() -> None:
    assert bucket_bits(10) == 0
    assert bucket_bits(100 << 20) == 2
    assert bucket_bits(unpacked_size([("a.csv.gz", 100 << 20)])) == 4
    assert bucket_bits(1 << 45) == 8
