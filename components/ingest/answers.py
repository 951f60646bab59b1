"""Answers to questions, which are parts of a context: as files have them, and where they are once that is clean."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from components.ingest.text.personal import Personal, mask
from components.ingest.text.repair import repair
from modelmill.text import clean

ANSWERS = pa.list_(pa.struct([("text", pa.string()), ("start", pa.int32())]))
"""Texts and the characters of the context at which they start; none where a question has no answer."""

# Cleaning may cut a space, or a tag, where the text before an answer ends. What stands farther from where that text
# says is the same words in another place.
_NEAR = 16
_SHOWN = Personal(action="keep")

Answers = list[tuple[str, int]]
Found = tuple[Answers, str, str]
"""Answers, and a reason and a detail where there is something wrong with them."""


def read_answers(value: Any, context: str) -> Found:
    """Return the answers that a row holds, each once: SQuAD's two lists, a list of mappings, JSON of either, or a text.

    A text alone is where it stands first in the context. The reasons: `missing_answers`, `bad_answers`,
    `answer_not_in_context`.
    """
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            return [], "bad_answers", f"not JSON: {error}"
    if value is None:
        return [], "missing_answers", "null, or no such key; a question without an answer has an empty list"
    if value in ("", [], {}):
        return [], "", ""
    pairs = [(value, context.find(value))] if isinstance(value, str) else _pairs(value)
    if pairs is None:
        return [], "bad_answers", f"neither {{text: […], answer_start: […]}} nor a list of both: {str(value)[:80]}"
    reason, said = next((wrong for pair in pairs if (wrong := _wrong(*pair, context))[0]), ("", ""))
    return ([] if reason else list(dict.fromkeys(pairs))), reason, said


def _wrong(text: Any, start: Any, context: str) -> tuple[str, str]:
    """Return a reason and a detail where an answer is none."""
    if not isinstance(text, str) or isinstance(start, bool) or not isinstance(start, int):
        return "bad_answers", f"an answer is a text and a number, not {str(text)[:40]!r} and {str(start)[:20]!r}"
    if not text.strip():
        return "bad_answers", f"an empty answer at {start}; a question without an answer has none at all"
    if start < 0 or context[start : start + len(text)] != text:
        there = context[max(start, 0) : max(start, 0) + len(text)]
        return "answer_not_in_context", f"{text[:60]!r} should be at {start}, and there is {there[:60]!r}"
    return "", ""


def found_again(answers: Answers, raw: str, context: str, *, repaired: bool, personal: Personal = _SHOWN) -> Found:
    """Return where answers of the raw context stand in the cleaned one, near their place; or `answer_lost`."""
    if raw == context:
        return answers, "", ""
    found: Answers = []
    for text, start in answers:
        wanted, until = _clean(text, repaired, personal), _clean(raw[: start + len(text)], repaired, personal)
        place = _nearest(context, wanted, len(until) - len(wanted)) if wanted else -1
        if place < 0:
            return (
                [],
                "answer_lost",
                f"{wanted[:60]!r} is not near its place in the context any more once that is clean",
            )
        found.append((wanted, place))
    return list(dict.fromkeys(found)), "", ""


def _pairs(value: Any) -> Answers | None:
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start", value.get("start"))
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            return None
        return list(zip(texts, starts, strict=True))
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        return None
    return [(one.get("text"), one.get("answer_start", one.get("start"))) for one in value]


def _clean(text: str, repaired: bool, personal: Personal) -> str:
    text = clean(repair([text])[0][0] if repaired else text)
    return text if personal.action == "keep" else mask([text], personal).texts[0]


def _nearest(context: str, wanted: str, expected: int) -> int:
    """Return the start of the occurrence nearest to a place, -1 for none that is near."""
    after = context.find(wanted, max(0, expected), max(0, expected) + _NEAR + len(wanted))
    before = context.rfind(wanted, max(0, expected - _NEAR), max(0, expected) + len(wanted))
    there = [place for place in (before, after) if place >= 0]
    return min(there, key=lambda place: abs(place - expected), default=-1)
