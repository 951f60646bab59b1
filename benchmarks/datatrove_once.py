"""Runs datatrove's pipeline once over JSON Lines, for the benchmark: FOLDER OUT; prints the seconds that it took.

The same rules as modelmill's side: Gopher's quality and repetition, C4, and MinHash of 14 x 8. What it needs to start
(imports, worker processes, spaCy) is measured on two documents and taken off.
"""

import gzip
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import C4QualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

_TASKS = 2
_BANDS = 14


def main(source: Path, out: Path) -> None:
    """Run the pipeline over the files in a folder."""
    few = out / "few"
    few.mkdir(parents=True)
    for path in sorted(source.glob("*.jsonl")):
        (few / path.name).write_text(path.open().readline())
    start = time.perf_counter()
    _pipeline(few, out / "start")
    start_up = time.perf_counter() - start
    start = time.perf_counter()
    _pipeline(source, out / "whole")
    seconds = time.perf_counter() - start - start_up
    there = {document["id"] for path in source.glob("*.jsonl") for document in map(json.loads, path.open())}
    passed = set(_ids(out / "whole" / "filtered"))
    answer = {"kept": sorted(_ids(out / "whole" / "kept")), "judged": sorted(there - passed)}
    (out / "kept.json").write_text(json.dumps(answer))
    print(json.dumps({"seconds": seconds, "start_up": start_up, "kept": str(out / "kept.json")}))


def _ids(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.jsonl.gz"):
        with gzip.open(path, "rt") as file:
            yield from (json.loads(line)["id"] for line in file)


def _pipeline(source: Path, out: Path) -> None:
    config = MinhashConfig(num_buckets=_BANDS, hashes_per_bucket=8, n_grams=5)
    filtered, kept = str(out / "filtered"), str(out / "kept")
    signatures, buckets, removed = str(out / "signatures"), str(out / "buckets"), str(out / "removed")
    stages = [
        (
            [
                JsonlReader(str(source)),
                GopherRepetitionFilter(),
                GopherQualityFilter(),
                C4QualityFilter(),
                JsonlWriter(filtered),
            ],
            _TASKS,
        ),
        ([JsonlReader(filtered), MinhashDedupSignature(output_folder=signatures, config=config)], _TASKS),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], _BANDS),
        ([MinhashDedupCluster(buckets, removed, config=config)], 1),
        ([JsonlReader(filtered), MinhashDedupFilter(removed), JsonlWriter(kept)], _TASKS),
    ]
    for number, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(
            pipeline=pipeline, tasks=tasks, workers=2, logging_dir=str(out / f"logs-{number}"), skip_completed=False
        ).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
