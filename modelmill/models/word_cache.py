"""Token ids of texts, each different word computed once: a language has few of them. Needs no torch."""

# N texts of a batch, W words of all of them, U different words of them, S tokens of all of them

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]

# Different words kept, some 100 MB; more of them are begun anew.
_MOST = 1_000_000
# Normalisers that change a character by itself or by those beside it, and a space by none of them.
_WITHIN_WORDS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer"}
# A space after anything else. RE2's own \s knows fewer spaces than Python's and Rust's.
_SPACE_AFTER_WORD = r"([^\s\x0b\x1c-\x1f\x{85}\pZ]) "


@dataclass
class WordCache:
    """What the words of texts become under a `tokenizers` tokenizer that takes them one by one."""

    backend: Any
    cut: Callable[[pa.Array], pa.Array]
    """Cuts texts where no token and no rule of the tokenizer reaches across; Arrow does it, outside Python."""
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
            return cls(backend, _at_spaces)
        by_rule = pre["type"] == "ByteLevel" and pre.get("use_regex", True)
        return cls(backend, _before_spaces) if by_rule else None

    def encoded(self, texts: Iterable[str] | pa.Array) -> tuple[Integers, Integers]:
        """Return the ids [S] of texts, end to end, and how many each text has [N]."""
        given = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
        words_N = self.cut(given.cast(pa.large_string()))
        coded_W = words_N.flatten().dictionary_encode()
        number_W = self._numbered(coded_W.dictionary.to_pylist())[coded_W.indices.to_numpy()]
        start_W = self._ends[number_W]
        length_W = self._ends[number_W + 1] - start_W
        end_W = np.cumsum(length_W)
        place_S = np.repeat(start_W - (end_W - length_W), length_W) + np.arange(int(length_W.sum()))
        # Every text has a word, though it may be an empty one.
        last_N = np.cumsum(pc.list_value_length(words_N).to_numpy())
        end_N = np.concatenate([[0], end_W])[last_N]
        return self._ids[place_S], np.diff(end_N, prepend=0)

    def _numbered(self, words: Sequence[str]) -> Integers:
        """Return the places [U] of different words among those known, the new ones computed."""
        new = [word for word in words if word not in self._numbers]
        if len(self._numbers) + len(new) > _MOST:
            self._numbers, self._ids, self._ends = {}, self._ids[:0], self._ends[:1]
            new = list(words)
        if new:
            self._learn(new)
        return np.fromiter(map(self._numbers.__getitem__, words), dtype=np.int64, count=len(words))

    def _learn(self, new: Sequence[str]) -> None:
        found = [encoding.ids for encoding in self.backend.encode_batch_fast(new, add_special_tokens=False)]
        lengths = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        self._ends = np.concatenate([self._ends, self._ends[-1] + np.cumsum(lengths)])
        self._ids = np.concatenate([self._ids, np.fromiter(chain.from_iterable(found), np.int64, int(lengths.sum()))])
        self._numbers.update(zip(new, range(len(self._numbers), len(self._numbers) + len(new)), strict=True))


def _at_spaces(texts_N: pa.Array) -> pa.Array:
    """Cut at spaces and leave them out: a space is no part of any word."""
    return pc.split_pattern(texts_N, " ")


def _before_spaces(texts_N: pa.Array) -> pa.Array:
    """Cut before the first space after anything else: a space belongs to the word after it."""
    unused = (mark for mark in map(chr, range(0xD800)) if mark not in "\\ ")
    mark = next(mark for mark in unused if not pc.any(pc.match_substring(texts_N, mark)).as_py())
    marked_N = pc.replace_substring_regex(texts_N, _SPACE_AFTER_WORD, rf"\1{mark} ")
    return pc.split_pattern(marked_N, mark)


def _parts(normalizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if normalizer is None:
        return []
    if normalizer["type"] != "Sequence":
        return [normalizer]
    return [part for inner in normalizer["normalizers"] for part in _parts(inner)]
