"""Token ids of texts, each different word computed once: a language has few of them. Needs no torch."""

# N texts of a batch, W words of all of them, S tokens of all of them

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

# Different words kept, some 100 MB; more of them are begun anew.
_MOST = 1_000_000
# Normalisers that change a character by itself or by those beside it, and a space by none of them.
_WITHIN_WORDS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer"}
_BEFORE_A_SPACE = re.compile(r"(?<=\S)(?= )")


@dataclass
class WordCache:
    """What the words of texts become under a `tokenizers` tokenizer that takes them one by one."""

    backend: Any
    cut: Callable[[str], list[str]]
    """Cuts a text where no token and no rule of the tokenizer reaches across."""
    _numbers: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _ids: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64), init=False, repr=False)
    _ends: Integers = field(default_factory=lambda: np.zeros(1, dtype=np.int64), init=False, repr=False)
    """Where the ids of each word end, after a 0."""

    @classmethod
    def of(cls, backend: Any) -> "WordCache | None":
        """Return the cache of a tokenizer, or None of one whose words may depend on each other."""
        made = json.loads(backend.to_str())
        alone = not any(
            one["lstrip"] or one["rstrip"] or one["single_word"] or any(map(str.isspace, one["content"]))
            for one in made["added_tokens"]
        )
        within = {one["type"] for one in _parts(made["normalizer"])} <= _WITHIN_WORDS
        pre = made["pre_tokenizer"] or {"type": "none"}
        if not (alone and within):
            return None
        if pre["type"] == "BertPreTokenizer":
            # A space is no part of any word.
            return cls(backend, lambda text: text.split(" "))
        by_rule = pre["type"] == "ByteLevel" and pre.get("use_regex", True)
        return cls(backend, _before_spaces) if by_rule else None

    def encoded(self, texts: Sequence[str]) -> tuple[Integers, Integers]:
        """Return the ids [S] of texts, end to end, and how many each text has [N]."""
        cut = [self.cut(text) for text in texts]
        flat = list(chain.from_iterable(cut))
        self._learn(flat)
        number_W = np.fromiter(map(self._numbers.__getitem__, flat), dtype=np.int64, count=len(flat))
        start_W = self._ends[number_W]
        length_W = self._ends[number_W + 1] - start_W
        end_W = np.cumsum(length_W)
        place_S = np.repeat(start_W - (end_W - length_W), length_W) + np.arange(int(length_W.sum()))
        # Every text has a word, though it may be an empty one.
        words_N = np.fromiter(map(len, cut), dtype=np.int64, count=len(cut))
        end_N = np.concatenate([[0], end_W])[np.cumsum(words_N)]
        return self._ids[place_S], np.diff(end_N, prepend=0)

    def _learn(self, words: Sequence[str]) -> None:
        new = [word for word in dict.fromkeys(words) if word not in self._numbers]
        if len(self._numbers) + len(new) > _MOST:
            self._numbers, self._ids, self._ends = {}, self._ids[:0], self._ends[:1]
            new = list(dict.fromkeys(words))
        if not new:
            return
        found = [encoding.ids for encoding in self.backend.encode_batch_fast(new, add_special_tokens=False)]
        lengths = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        self._ends = np.concatenate([self._ends, self._ends[-1] + np.cumsum(lengths)])
        self._ids = np.concatenate([self._ids, np.fromiter(chain.from_iterable(found), np.int64, int(lengths.sum()))])
        self._numbers.update(zip(new, range(len(self._numbers), len(self._numbers) + len(new)), strict=True))


def _before_spaces(text: str) -> list[str]:
    """Cut before the first space after anything else: a space belongs to the word after it."""
    first, *others = text.split(" ")
    # Of two spaces together the first would be a word, which three of them are not.
    return [first, *(f" {word}" for word in others)] if all(others) else _BEFORE_A_SPACE.split(text)


def _parts(normalizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if normalizer is None:
        return []
    if normalizer["type"] != "Sequence":
        return [normalizer]
    return [part for inner in normalizer["normalizers"] for part in _parts(inner)]
