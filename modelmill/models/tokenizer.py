"""Text to token ids, for preparing data and for serving alike, so that the two cannot drift apart. Needs no torch."""

# N texts, B rows of a batch, T tokens of one text or row

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelmill.errors import UserError
from modelmill.models.segment import segmented
from modelmill.models.special import CONFIG_FILE, TOKENIZER_FILE, read_json, special_tokens
from modelmill.models.word_cache import WordCache

SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
"""The names that BERT gives to its special tokens, by their role."""

Ids = npt.NDArray[np.int64]

# Fewer texts are not worth remembering their words.
_MANY = 64


@dataclass(frozen=True)
class Tokenizer:
    """A `tokenizers` tokenizer that neither pads nor truncates, and the ids of its special tokens by role."""

    backend: Any
    special: dict[str, int]
    """`cls` begins a text and `sep` ends it, whatever the family calls them; a role that no token has is left out."""
    segment: str = ""
    """`jieba`: texts are cut into its words before the backend sees them."""
    named: Mapping[str, str] = field(default_factory=dict)
    """Special tokens by transformers' keys for them, where they are a published model's: `bos_token` and others."""

    @property
    def vocabulary(self) -> int:
        """How many ids there are."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def documents(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text, whole, without special tokens."""
        ids_S, length_N = self.encoded(texts)
        return np.split(ids_S, np.cumsum(length_N)[:-1]) if len(texts) else []

    def encoded(self, texts: Sequence[str] | pa.Array) -> tuple[Ids, Ids]:
        """Return the ids [S] of texts, end to end and without special tokens, and how many each text has [N]."""
        if len(texts) >= _MANY and self._cache is not None:
            return self._cache.encoded(texts)
        whole = not self.segment
        plain: list[str] = texts.to_pylist() if isinstance(texts, pa.Array) else list(texts)
        cut = plain if whole else segmented(plain)
        encodings = self.backend.encode_batch_fast(cut, is_pretokenized=not whole, add_special_tokens=False)
        found = [encoding.ids for encoding in encodings]
        length_N = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        return np.fromiter(chain.from_iterable(found), dtype=np.int64, count=int(length_N.sum())), length_N

    @cached_property
    def _cache(self) -> WordCache | None:
        return None if self.segment else WordCache.of(self.backend)

    def offsets(self, texts: Sequence[str]) -> list[tuple[Ids, Ids, Ids]]:
        """Return the ids of each text, whole, without special tokens, and the characters where each token starts, ends.

        Raises:
            UserError: texts are cut into words first, whose tokens know no place in the text.
        """
        check_places(self.segment)
        made = []
        # Not `encode_batch_fast`, which is fast for not keeping the places.
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=False)
        for text, encoding in zip(texts, encodings, strict=True):
            places = [_trimmed(text, start, end) for start, end in encoding.offsets]
            places_T2 = np.array(places, dtype=np.int64).reshape(-1, 2)
            made.append((np.array(encoding.ids, dtype=np.int64), places_T2[:, 0], places_T2[:, 1]))
        return made

    def text(self, ids_T: Ids) -> str:
        """Return the text that tokens stand for, special tokens left out."""
        text: str = self.backend.decode(ids_T.tolist(), skip_special_tokens=True)
        return text

    def rows(self, texts: Sequence[str], max_tokens: int) -> list[Ids]:
        """Return the ids of each text as a model reads one: [CLS] text [SEP], the text cut so that all fit."""
        return [self.row(document_T, max_tokens) for document_T in self.documents(texts)]

    def row(self, document_T: Ids, max_tokens: int) -> Ids:
        """Return [CLS] document [SEP], the document cut so that at most `max_tokens` ids come out."""
        return framed(document_T, self.special, max_tokens)


def check_places(segment: str) -> None:
    """Check that a tokenizer's tokens know their places in a text.

    Raises:
        UserError: texts are cut into words first.
    """
    if segment:
        raise UserError(
            f"preprocess.tokenizer.segment: {segment} cuts texts into words, and a token's place is then that in a "
            "word and not in the text that an answer is cut out of; leave it out"
        )


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a token's place without the space before the word, which some tokenizers make a part of it."""
    while start < end - 1 and text[start].isspace():
        start += 1
    return start, end


def framed(document_T: npt.NDArray[Any], special: Mapping[str, int], max_tokens: int) -> npt.NDArray[Any]:
    """Return [CLS] document [SEP], the document cut so that at most `max_tokens` ids come out, of the same type."""
    body_T = document_T[: max_tokens - 2]
    row_T = np.empty(len(body_T) + 2, dtype=document_T.dtype)
    row_T[0], row_T[1:-1], row_T[-1] = special["cls"], body_T, special["sep"]
    return row_T


def framed_pair(
    text_T: npt.NDArray[Any], pair_T: npt.NDArray[Any], special: Mapping[str, int], max_tokens: int
) -> tuple[npt.NDArray[Any], int]:
    """Return [CLS] text [SEP] pair [SEP], at most `max_tokens` ids of the text's type, and where the pair begins.

    The longer of the two is cut first: until both are as long, or all fits; then both alike, as transformers'
    `longest_first` does.
    """
    keep, keep_pair = pair_lengths(len(text_T), len(pair_T), max_tokens)
    sep = [special["sep"]]
    parts = ([special["cls"]], text_T[:keep], sep, pair_T[:keep_pair], sep)
    return np.concatenate(parts, dtype=text_T.dtype, casting="unsafe"), keep + 2


def pair_lengths(text: int, pair: int, max_tokens: int) -> tuple[int, int]:
    """Return how many tokens of a text and of its pair are kept, so that with three special ones they fit."""
    room = max_tokens - 3
    if text + pair <= room:
        return text, pair
    short, long = sorted((text, pair))
    short, long = (short, room - short) if short <= room // 2 else (room // 2, room - room // 2)
    return (short, long) if text <= pair else (long, short)


def segments(second_B: npt.NDArray[Any], length_B: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return 1 at the tokens of a row's second text, to the row's end, and 0 elsewhere: [B, T], T the longest row."""
    place_T = np.arange(int(length_B.max()))
    second_BT: npt.NDArray[Any] = (place_T >= second_B[:, None]) & (place_T < length_B[:, None])
    return second_BT.astype(np.int64)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a model's folder: tokenizer.json and, for the names of special tokens, its configuration.

    Raises:
        UserError: the folder has no tokenizer.json, it does not parse, or it lacks a special token that its
            configuration names.
    """
    from tokenizers import Tokenizer as Backend

    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise UserError(f"{path}: no such file; save the tokenizer with transformers' save_pretrained, which writes it")
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise UserError(f"{path}: not a tokenizer of the `tokenizers` library: {error}") from error
    # Sentence encoders carry padding and truncation of their own in the file.
    backend.no_padding()
    backend.no_truncation()
    special, named = special_tokens(folder, backend)
    return Tokenizer(backend=backend, special=special, segment=segment_of(folder), named=named)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> list[Path]:
    """Write a folder that `AutoTokenizer.from_pretrained` opens, with the same ids; return its files.

    transformers knows no segmentation: of a tokenizer that has one it gives the same ids for jieba's words
    (`is_split_into_words=True`), and `load_tokenizer` gives them for texts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / TOKENIZER_FILE, folder / CONFIG_FILE]
    tokenizer.backend.save(str(files[0]))
    special = tokenizer.special.items()
    names = tokenizer.named or {f"{role}_token": tokenizer.backend.id_to_token(token_id) for role, token_id in special}
    config = {
        # The class that takes tokenizer.json as it is, whatever the family of the model.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        # Only BERT's families tell the two texts of a pair apart by types.
        "model_input_names": ["input_ids", *([] if "bos_token" in names else ["token_type_ids"]), "attention_mask"],
        **({"segment": tokenizer.segment} if tokenizer.segment else {}),
        **names,
    }
    files[1].write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return files


def segment_of(folder: Path) -> str:
    """Return what cuts texts into words before the tokenizer of a folder, '' for nothing.

    Raises:
        UserError: its configuration does not parse, or names something unknown.
    """
    segment = read_json(folder / CONFIG_FILE).get("segment") or ""
    if segment not in {"", "jieba"}:
        raise UserError(f"{folder / CONFIG_FILE}: segment {segment!r} is not known; 'jieba' is")
    return str(segment)
