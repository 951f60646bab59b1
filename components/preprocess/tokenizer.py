"""Train a tokenizer so that the same texts in the same order always give the same file."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from components.preprocess.settings import TokenizerSettings
from modelmill.errors import UserError
from modelmill.models.tokenizer import SPECIAL_TOKENS, Tokenizer

# A part of a corpus this long tells the frequent words as well as the whole.
MAX_TEXTS = 1_000_000
# Of the vocabulary, how much may go to single characters; each may need two entries, at a word's start and inside.
_ALPHABET_SHARE = 0.25
# A pair seen once is no pattern.
_MIN_FREQUENCY = 2


def train_tokenizer(settings: TokenizerSettings, texts: Iterable[str]) -> Tokenizer:
    """Learn a vocabulary from texts, which are read once.

    Raises:
        UserError: the texts hold no character at all.
    """
    kept = list(islice(texts, MAX_TEXTS))
    backend = _wordpiece(settings, kept) if settings.kind == "wordpiece" else _bpe(settings, kept)
    special = {role: backend.token_to_id(token) for role, token in SPECIAL_TOKENS.items()}
    _frame(backend, special)
    return Tokenizer(backend=backend, special=special)


def _wordpiece(settings: TokenizerSettings, texts: list[str]) -> Any:
    from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend

    def empty(model: Any) -> Any:
        backend = Backend(model)
        backend.normalizer = normalizers.BertNormalizer(lowercase=settings.lowercase)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return backend

    special = list(SPECIAL_TOKENS.values())
    unknown = SPECIAL_TOKENS["unk"]
    learner = empty(models.WordPiece(unk_token=unknown))
    alphabet = _alphabet(learner.normalizer, texts, settings.vocabulary)
    # The trainer numbers what it meets in the order of a hash table that is seeded anew in every process, and settles
    # ties by number. What is named beforehand has its number; so every single character is.
    inside = [f"##{character}" for character in alphabet if _joins(learner.pre_tokenizer, character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings.vocabulary,
        min_frequency=_MIN_FREQUENCY,
        special_tokens=[*special, *inside],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer, length=len(texts))
    # Built again from the bare vocabulary: in the learner the characters named beforehand count as special.
    backend = empty(models.WordPiece(vocab=learner.get_vocab(), unk_token=unknown))
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


def _bpe(settings: TokenizerSettings, texts: list[str]) -> Any:
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    backend = Backend(models.BPE())
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), *([normalizers.Lowercase()] if settings.lowercase else [])]
    )
    # With a space in front the first word of a text is the same token as anywhere else.
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        min_frequency=_MIN_FREQUENCY,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer, length=len(texts))
    return backend


def _frame(backend: Any, special: dict[str, int]) -> None:
    """Put [CLS] before and [SEP] after each text, for those who encode with special tokens."""
    from tokenizers import processors

    first, last = SPECIAL_TOKENS["cls"], SPECIAL_TOKENS["sep"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0",
        pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1",
        special_tokens=[(first, special["cls"]), (last, special["sep"])],
    )


def _alphabet(normalizer: Any, texts: list[str], vocabulary: int) -> list[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    characters = [character for character in counts if not character.isspace()]
    if not characters:
        raise UserError(f"a tokenizer cannot be trained: 0 characters in {len(texts):,} texts; check ingest.corpus")
    characters.sort(key=lambda character: (-counts[character], character))
    return sorted(characters[: int(vocabulary * _ALPHABET_SHARE)])


def _joins(pre_tokenizer: Any, character: str) -> bool:
    """Whether a character can stand inside a word: punctuation and Chinese characters are words of their own."""
    return len(pre_tokenizer.pre_tokenize_str(f"a{character}a")) == 1
