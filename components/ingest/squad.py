"""Reads SQuAD as it is published (1.1, arXiv:1606.05250, and 2.0, arXiv:1806.03822): a JSON file, a row a question."""

import json
from collections.abc import Iterator
from typing import Any

from components.ingest.rows import Opened, Rows, Sorter
from components.ingest.streams import utf8

# The published files have 40 MB; a larger one would not fit into memory as objects.
_BYTES = 512 << 20


def read_squad(opened: Opened) -> Iterator[Rows]:
    """Yield the questions, numbered from 1, with their contexts and answers; one without an answer has none.

    Raises:
        UserError: the file is not such JSON.
        ModelmillError: the file was changed while it was read.
    """
    stream = utf8(opened)
    content = stream.read(_BYTES)
    if len(content) == _BYTES and stream.read(1):
        raise opened.broken(f"more than {_BYTES} bytes; SQuAD's files have 40 MB", 0)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise opened.broken(f"not JSON: {error}", 0) from error
    sorter = Sorter(extra=("question", "answers"))
    number = 0
    for paragraph in _paragraphs(opened, document):
        for asked in paragraph.get("qas") or []:
            number += 1
            if not isinstance(asked, dict):
                sorter.reject(number, "bad_json", str(asked)[:200], "a question is an object")
                continue
            answers = [] if asked.get("is_impossible") is True else asked.get("answers")
            sorter.add(number, paragraph.get("context"), question=asked.get("question"), answers=answers)
            yield from sorter.batches()
    yield sorter.rows()


def _paragraphs(opened: Opened, document: Any) -> Iterator[dict[str, Any]]:
    articles = document.get("data") if isinstance(document, dict) else None
    if not isinstance(articles, list):
        raise opened.broken("no SQuAD file: it is an object with a list `data` of articles", 0)
    for place, article in enumerate(articles):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list) or not all(isinstance(one, dict) for one in paragraphs):
            raise opened.broken(f"no SQuAD file: article {place + 1} of {len(articles)} has no list of paragraphs", 0)
        yield from paragraphs
