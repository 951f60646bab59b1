"""Clean, judge and deduplicate English text: modelmill's ingest beside datatrove's pipeline with the same rules.

    python -m benchmarks.ingest_text --json [--megabytes 1000] [--peer-megabytes 50] [--rounds 1]

Both get the same JSON Lines: Gopher's rules of quality and of repetition, C4's rules, and MinHash of 14 bands of 8 over
runs of five words, on all cores. datatrove gets a part, for it takes long; its start-up is not counted. Found copies
are counted by family: documents that a copy was made of, and its copies.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import english
from benchmarks.measure import report, run, say

# datatrove's own thresholds, where they differ from the paper's.
QUALITY = {"gopher": {}, "repetition": {}, "c4": {"min_line_words": 3, "min_sentences": 5}}


def main() -> None:
    """Run the rounds and print the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="the object alone, without a word on the way")
    options.add_argument("--megabytes", type=float, default=1000, help="of text for modelmill")
    options.add_argument("--peer-megabytes", type=float, default=50, help="of text for datatrove")
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--memory-at", type=float, nargs="*", default=[], help="megabytes to show peak memory at too")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), given)


def _measure(folder: Path, given: argparse.Namespace) -> None:
    ours, peer, memory = [], [], {}
    facts: dict[str, Any] = {}
    part, whole = folder / "part", folder / "whole"
    part_facts, whole_facts = english.write(part, given.peer_megabytes), english.write(whole, given.megabytes)
    for number in range(given.rounds):
        say(f"round {number + 1}: modelmill, {given.megabytes:g} MB")
        made = run([sys.executable, "-m", "benchmarks.ingest_once", whole, folder / f"ours-{number}"])
        ours.append(whole_facts["bytes"] / 1e6 / made.output["seconds"])
        facts |= {"seconds": round(made.output["seconds"], 1), "peak_memory_mb": made.peak_memory_mb}
        facts |= {f"ours_{name}": figure for name, figure in _found(whole, made.output["kept"]).items()}
        facts["ours_dropped"] = made.output["dropped"]
        say(
            f"round {number + 1}: {ours[-1]:.2f} MB/s, {made.peak_memory_mb} MB; datatrove, {given.peer_megabytes:g} MB"
        )
        other = run([sys.executable, "-m", "benchmarks.datatrove_once", part, folder / f"peer-{number}"])
        peer.append(part_facts["bytes"] / 1e6 / other.output["seconds"])
        # Copies are found, or not, in the same part by both.
        same = run([sys.executable, "-m", "benchmarks.ingest_once", part, folder / f"part-{number}"])
        found = _found(part, same.output["kept"])
        facts |= {f"ours_{name}_on_the_part": figure for name, figure in found.items()}
        facts |= {f"peer_{name}": figure for name, figure in _found(part, other.output["kept"]).items()}
        say(f"round {number + 1}: {peer[-1]:.3f} MB/s")
    for size in given.memory_at:
        path = folder / f"{size:g}"
        english.write(path, size)
        made = run([sys.executable, "-m", "benchmarks.ingest_once", path, folder / f"size-{size:g}", "alone"])
        memory[f"{size:g}"] = made.peak_memory_mb
        say(f"{size:g} MB: peak memory {made.peak_memory_mb} MB, {size / made.output['seconds']:.2f} MB/s")
    if memory:
        facts["peak_memory_mb_by_megabytes"] = memory
    report("ingest_text", unit="MB/s", ours=ours, peer=peer, peer_name="datatrove 0.10.1", megabytes=given.megabytes,
           peer_megabytes=given.peer_megabytes, **facts)  # fmt: skip


def _found(source: Path, kept_file: str) -> dict[str, float]:
    """Return recall and precision of the planted copies, given which documents were kept and which judged bad.

    Of a family of n documents that passed the rules n - 1 should go: more kept is a copy not found, none kept is one
    document too many taken out.
    """
    answer = json.loads(Path(kept_file).read_text())
    kept, judged = set(answer["kept"]), set(answer["judged"])
    there, left = Counter[str](), Counter[str]()
    for document in english.read(source):
        if document["id"] not in judged:
            there[document["family"]] += 1
            left[document["family"]] += document["id"] in kept
    copies = sum(count - 1 for count in there.values())
    found = sum(min(count - left[family], count - 1) for family, count in there.items())
    wrong = sum(left[family] == 0 for family in there)
    return {"recall": round(found / max(copies, 1), 4), "precision": round(found / max(found + wrong, 1), 4)}


if __name__ == "__main__":
    main()
