"""How well a tokenizer suits texts: how short it makes them, what it does not know, whether they come back."""

import re
from collections.abc import Iterable
from itertools import islice

from modelmill.models.segment import words
from modelmill.models.tokenizer import Tokenizer

# Enough for three digits of every figure.
MOST_TEXTS = 2000
# A run of letters and digits is a word, and so is every Chinese character, and every mark that is neither.
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+|[^\w\s]")


def quality(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, float]:
    """Return the figures of a tokenizer on the first of some texts; none without a text that has tokens.

    `bytes_per_token`; `fertility`, tokens a word, where words are runs of letters and digits, single Chinese characters
    (words of jieba where the tokenizer has it) and marks; `unknown_share` of the tokens; `round_trip`, the share of
    texts that decode back exactly, which no tokenizer that changes letters can make 1.
    """
    kept = list(islice(texts, MOST_TEXTS))
    documents = tokenizer.documents(kept)
    tokens = sum(map(len, documents))
    if not tokens:
        return {}
    unknown = sum(int((ids_T == tokenizer.special.get("unk", -1)).sum()) for ids_T in documents)
    exact = sum(tokenizer.text(ids_T) == text for ids_T, text in zip(documents, kept, strict=True))
    return {
        "bytes_per_token": round(sum(len(text.encode()) for text in kept) / tokens, 4),
        "fertility": round(tokens / max(sum(_count(text, tokenizer) for text in kept), 1), 4),
        "unknown_share": round(unknown / tokens, 6),
        "round_trip": round(exact / len(kept), 6),
    }


def _count(text: str, tokenizer: Tokenizer) -> int:
    return sum(not word.isspace() for word in words(text)) if tokenizer.segment else len(_WORD.findall(text))
