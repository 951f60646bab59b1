"""Chinese cut into words by jieba, from its own dictionary. Needs no torch."""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

from modelmill.errors import ModelmillError


def words(text: str) -> list[str]:
    """Return a text's words in order; joined without anything between them they are the text.

    Raises:
        ModelmillError: jieba is not installed.
    """
    found: list[str] = _jieba().lcut(text)
    return found


def segmented(texts: Sequence[str]) -> list[list[str]]:
    """Return the words of each text."""
    return [words(text) for text in texts]


@cache
def _jieba() -> Any:
    try:
        with warnings.catch_warnings():
            # Its regular expressions are written in a way that Python no longer likes.
            warnings.simplefilter("ignore")
            import jieba
    except ImportError as error:
        raise ModelmillError(
            "the tokenizer cuts Chinese into words with jieba, which is not installed: pip install 'jieba>=0.42'"
        ) from error
    cutter = jieba.Tokenizer()
    # What `initialize` does, but for its cache: a file of any name's making in the folder for temporary files.
    cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True
    return cutter
