"""Text to token ids, for preparing data and for serving alike, so that the two cannot drift apart. Needs no torch."""

# N texts of a batch, T tokens of one text

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelmill.errors import UserError

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
"""The names that BERT gives to its special tokens, by their role."""

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tokenizer:
    """A `tokenizers` tokenizer that neither pads nor truncates, and the ids of its special tokens by role."""

    backend: Any
    special: dict[str, int]

    @property
    def vocabulary(self) -> int:
        """How many ids there are."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def documents(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text, whole, without special tokens."""
        encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def rows(self, texts: Sequence[str], max_tokens: int) -> list[Ids]:
        """Return the ids of each text as a model reads one: [CLS] text [SEP], the text cut so that all fit."""
        return [self.row(document_T, max_tokens) for document_T in self.documents(texts)]

    def row(self, document_T: Ids, max_tokens: int) -> Ids:
        """Return [CLS] document [SEP], the document cut so that at most `max_tokens` ids come out."""
        return np.concatenate([[self.special["cls"]], document_T[: max_tokens - 2], [self.special["sep"]]])


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a model's folder: tokenizer.json and, for the names of special tokens, its configuration.

    Raises:
        UserError: the folder has no tokenizer.json, it does not parse, or a special token is missing.
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
    special = {}
    for role, token in _special_names(folder).items():
        token_id = backend.token_to_id(token)
        if token_id is None:
            raise UserError(f"{path}: no {role} token {token!r} among its {backend.get_vocab_size()} tokens")
        special[role] = token_id
    return Tokenizer(backend=backend, special=special)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> list[Path]:
    """Write a folder that `AutoTokenizer.from_pretrained` opens, with the same ids; return its files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / TOKENIZER_FILE, folder / CONFIG_FILE]
    tokenizer.backend.save(str(files[0]))
    names = {f"{role}_token": tokenizer.backend.id_to_token(token_id) for role, token_id in tokenizer.special.items()}
    config = {
        # The class that takes tokenizer.json as it is, whatever the family of the model.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        **names,
    }
    files[1].write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return files


def _special_names(folder: Path) -> dict[str, str]:
    path = folder / CONFIG_FILE
    config: dict[str, Any] = {}
    if path.is_file():
        try:
            config = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: not JSON: {error}") from error
    names = {}
    for role, usual in SPECIAL_TOKENS.items():
        token = config.get(f"{role}_token") or usual
        # An added token is written as an object, a plain one as a string.
        names[role] = token["content"] if isinstance(token, dict) else token
    return names
