"""The special tokens of a model's folder, by what they are for: families name them differently, and have not all.

BERT has [CLS] … [SEP], RoBERTa and BART <s> … </s>, Llama the same without padding and mask, GPT-2 one <|endoftext|> for
both ends, T5 an end and no beginning. Needs no torch.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelmill.errors import UserError

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
MODEL_CONFIG_FILE = "config.json"

# What transformers calls the token of a role, and what it is usually called where no file says: the first wins.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "pad": ("pad_token",),
    "unk": ("unk_token",),
    "cls": ("cls_token", "bos_token"),
    "sep": ("sep_token", "eos_token"),
    "mask": ("mask_token",),
}
_USUAL: Mapping[str, tuple[str, ...]] = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}
_MEANT: Mapping[str, str] = {
    "pad": "fills rows up",
    "unk": "stands for what is unknown",
    "cls": "begins a text",
    "sep": "ends a text",
    "mask": "hides a token",
}


def special_tokens(folder: Path, backend: Any) -> tuple[dict[str, int], dict[str, str]]:
    """Return the ids of a folder's special tokens by role, and their texts by transformers' keys.

    Said by tokenizer_config.json or special_tokens_map.json, else by what such tokens are usually called, else by the
    ids in the model's config.json. Where nothing pads, the end of a text does, which is then never read.

    Raises:
        UserError: a file does not parse, or names a token that the tokenizer has not.
    """
    named = _named(folder, backend)
    config = read_json(folder / MODEL_CONFIG_FILE)
    special: dict[str, int] = {}
    for role, keys in _KEYS.items():
        token = next((named[key] for key in keys if key in named), None)
        if token is None:
            usual = (name for name in _USUAL[role] if backend.token_to_id(name) is not None)
            token = next(usual, None) or _by_id(config, keys, backend)
            if token is None:
                continue
            named[keys[0] if token in _USUAL[role] else keys[-1]] = token
        special[role] = backend.token_to_id(token)
    if "sep" in special:
        special.setdefault("pad", special["sep"])
    return special, named


def check_roles(folder: Path | str, special: Mapping[str, int], roles: Sequence[str], what: str) -> None:
    """Check that a tokenizer has the special tokens that something needs.

    Raises:
        UserError: it lacks one.
    """
    for role in roles:
        if role not in special:
            has = ", ".join(sorted(special)) or "none"
            raise UserError(
                f"{folder}: its tokenizer has no {role} token, which {_MEANT[role]} and {what} needs ({len(special)} "
                f"special tokens there: {has}); name another base, or a model of your own shape with "
                "preprocess.tokenizer"
            )


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds, nothing where it is not there.

    Raises:
        UserError: it does not parse, or holds no mapping.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds {type(found).__name__}, and a mapping is wanted; save it again")
    return found


def _named(folder: Path, backend: Any) -> dict[str, str]:
    """Return the special tokens that the tokenizer's own files name, by transformers' keys."""
    named = {}
    files = [folder / "special_tokens_map.json", folder / CONFIG_FILE]
    said = [(path, key, token) for path in files for key, token in read_json(path).items()]
    for path, key, token in said:
        if not token or not any(key in keys for keys in _KEYS.values()):
            continue
        # An added token is written as an object, a plain one as a string.
        text = token["content"] if isinstance(token, dict) else str(token)
        if backend.token_to_id(text) is None:
            role = key.removesuffix("_token")
            raise UserError(f"{path}: no {role} token {text!r} among its {backend.get_vocab_size()} tokens")
        named[key] = text
    return named


def _by_id(config: Mapping[str, Any], keys: Sequence[str], backend: Any) -> str | None:
    """Return the token of a role by the id that a model's configuration gives to it."""
    for key in keys:
        number = config.get(f"{key}_id")
        # Of several ends the first is the document's.
        number = number[0] if isinstance(number, list) and number else number
        if isinstance(number, int) and 0 <= number < backend.get_vocab_size():
            token: str | None = backend.id_to_token(number)
            if token is not None:
                return token
    return None
