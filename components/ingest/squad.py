"""Reads SQuAD as it is published (1.1, arXiv:1606.05250, and 2.0, arXiv:1806.03822): a JSON file, a row a question."""

import json
import re
from collections.abc import Iterator
from typing import Any

from components.ingest.rows import Opened, Rows, Sorter, printable
from components.ingest.streams import utf8

# The published files have 40 MB; a larger one would not fit into memory as objects.
_BYTES = 512 << 20
# What `surrogateescape` makes of bytes that are not UTF-8, and the other halves, which only JSON's escapes can say.
_SPOILED = re.compile("[\udc80-\udcff]")
_OTHER_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def read_squad(opened: Opened) -> Iterator[Rows]:
    """Yield the questions, numbered from 1, with their contexts and answers; one without an answer has none.

    What is not UTF-8 costs the questions that it is a part of.

    Raises:
        UserError: the file is not such JSON.
        ModelmillError: the file was changed while it was read.
    """
    stream = utf8(opened)
    content = stream.read(_BYTES)
    if len(content) == _BYTES and stream.read(1):
        raise opened.broken(f"more than {_BYTES} bytes; SQuAD's files have 40 MB", 0)
    try:
        document = _parsed(content)
    except (ValueError, RecursionError) as error:
        raise opened.broken(f"not JSON: {error}", 0) from error
    sorter = Sorter(extra=("question", "answers"))
    number = 0
    for paragraph in _paragraphs(opened, document):
        for asked in paragraph.get("qas") or []:
            number += 1
            _add(sorter, number, paragraph.get("context"), asked)
            yield from sorter.batches()
    yield sorter.rows()


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content.decode())
    except UnicodeDecodeError:
        return json.loads(content.decode(errors="surrogateescape"), object_hook=_with_bytes)


def _with_bytes(read: dict[str, Any]) -> dict[str, Any]:
    """Return an object in which each text that is not UTF-8 is bytes again.

    Raises:
        ValueError: a key is not UTF-8, so that what it names would be missing without a word.
    """
    for key in read:
        if _SPOILED.search(key):
            raise ValueError(f"the key {key!a} is not UTF-8")
    return {key: _bytes_of(value) if isinstance(value, str) else value for key, value in read.items()}


def _bytes_of(text: str) -> str | bytes:
    if not _SPOILED.search(text):
        return text
    return _OTHER_HALVES.sub("\ufffd", text).encode(errors="surrogateescape")


def _add(sorter: Sorter, number: int, context: Any, asked: Any) -> None:
    if not isinstance(asked, dict):
        sorter.reject(number, "bad_json", repr(asked)[:200], "a question is an object")
        return
    question, answers = asked.get("question"), asked.get("answers")
    if asked.get("is_impossible") is True:
        if answers:
            detail = "is_impossible is true, and there are answers; one of the two is wrong"
            sorter.reject(number, "bad_answers", printable(question), detail)
            return
        answers = []
    fields = [one for one in answers if isinstance(one, dict)] if isinstance(answers, list) else []
    wrong = next((value for one in fields for value in one.values() if isinstance(value, bytes)), None)
    sorter.add(number, context, question=question, answers=answers if wrong is None else wrong)


def _paragraphs(opened: Opened, document: Any) -> Iterator[dict[str, Any]]:
    articles = document.get("data") if isinstance(document, dict) else None
    if not isinstance(articles, list):
        raise opened.broken("no SQuAD file: it is an object with a list `data` of articles", 0)
    for place, article in enumerate(articles):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list) or not all(isinstance(one, dict) for one in paragraphs):
            raise opened.broken(f"no SQuAD file: article {place + 1} of {len(articles)} has no list of paragraphs", 0)
        yield from paragraphs
