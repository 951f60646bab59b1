"""Runs modelmill's ingest once over a corpus, for the benchmark; prints the seconds, and where it lists what it kept.

    python -m benchmarks.ingest_once FOLDER OUT [alone]

With `alone` nothing is done after ingest, so that the peak of memory is its own.
"""

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks import english
from benchmarks.ingest_text import QUALITY
from components.ingest.feed import order_of
from components.ingest.rows import Listed
from components.ingest.run import run
from components.ingest.settings import IngestSettings
from components.ingest.work import content_id, work
from components.ingest.work_parts import Batch
from components.ingest.workers import workers
from modelmill.cores import usable_cores
from modelmill.dataset import open_dataset, read_made
from modelmill.events import Events
from modelmill.home import share_cores
from modelmill.sources import pin
from modelmill.step import Step
from modelmill.store import open_store


def main(source: str, out: Path, *, alone: bool) -> None:
    """Ingest the files of a folder into a store beside."""
    share_cores()
    scratch = out / "scratch"
    scratch.mkdir(parents=True)
    step = Step(name="ingest", store=open_store(str(out / "store")), scratch=scratch, events=Events("ingest", None))
    settings = IngestSettings.model_validate(
        {"task": "text-classification", "corpus": [{"uri": source}], "quality": QUALITY, "max_bad_rows": 0}
    )
    start = time.perf_counter()
    made = run(step, settings, pin([source]))
    seconds = time.perf_counter() - start
    dropped = read_made(step.store, made.made_corpus)["ledger"]["dropped"]
    if alone:
        print(json.dumps({"seconds": seconds, "dropped": dropped}))
        return
    dataset = open_dataset(step.store, made.corpus)
    there = {
        one for split in dataset.splits for batch in dataset.batches(split, ["id"]) for one in batch["id"].to_pylist()
    }
    answer = _answer(settings, Path(source), there)
    (out / "kept.json").write_text(json.dumps(answer))
    print(json.dumps({"seconds": seconds, "kept": str(out / "kept.json"), "dropped": dropped}))


def _answer(settings: IngestSettings, source: Path, there: set[str]) -> dict[str, list[str]]:
    """Return which documents were kept, and which the rules dropped, by the ids that the benchmark gave them.

    A dataset knows a row by its text alone, so the documents are cleaned once more.
    """
    order = order_of(settings, Listed(source=settings.corpus_sources[0], labelled=False, files=[]))
    names = [document["id"] for document in english.read(source)]
    kept, passed = [], set()
    with workers(little=False, cores=usable_cores()) as hands:
        for worked in hands.map(partial(work, order), _batches(source)):
            for number, text in zip(worked.numbers.tolist(), worked.payload["text"].to_pylist(), strict=True):
                passed.add(number)
                if content_id(text).hex() in there:
                    kept.append(names[number])
    judged = [name for number, name in enumerate(names) if number not in passed]
    return {"kept": kept, "judged": judged}


def _batches(source: Path) -> Iterator[Batch]:
    documents = enumerate(english.read(source))
    while some := list(islice(documents, 1000)):
        numbers, texts = [number for number, _ in some], [document["text"] for _, document in some]
        yield Batch(numbers=numbers, texts=texts, labels=[None] * len(texts))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), alone=sys.argv[3:] == ["alone"])
