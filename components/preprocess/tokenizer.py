"""Train a tokenizer so that the same texts in the same order always give the same file."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from components.preprocess.settings import TokenizerSettings
from modelmill.errors import UserError
from modelmill.models.segment import words
from modelmill.models.tokenizer import SPECIAL_TOKENS, Tokenizer

# A part of a corpus this long tells the frequent words as well as the whole.
MAX_TEXTS = 1_000_000
# Of the vocabulary, how much may go to single characters; each may need two entries, at a word's start and inside.
_ALPHABET_SHARE = 0.25
# A pair seen once is no pattern.
_MIN_FREQUENCY = 2
# Of SentencePiece; fixed, as its sums depend on it in their last digits.
_THREADS = 2


def train_tokenizer(settings: TokenizerSettings, texts: Iterable[str]) -> Tokenizer:
    """Learn a vocabulary from texts, which are read once.

    Raises:
        UserError: the texts hold no character at all.
    """
    kept = list(islice(texts, MAX_TEXTS))
    if not any(map(str.strip, kept)):
        raise UserError(f"a tokenizer cannot be trained: 0 characters in {len(kept):,} texts; check ingest.corpus")
    backend = _TRAINERS[settings.kind](settings, _words(kept) if settings.segment else kept)
    special = {role: backend.token_to_id(token) for role, token in SPECIAL_TOKENS.items()}
    _frame(backend, special)
    return Tokenizer(backend=backend, special=special, segment=settings.segment or "")


def _words(texts: list[str]) -> list[str]:
    """Return all words one by one: a trainer that sees no two of them together learns nothing across them."""
    return [word for text in texts for word in words(text)]


def _wordpiece(settings: TokenizerSettings, texts: list[str]) -> Any:
    from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend

    def empty(model: Any) -> Any:
        backend = Backend(model)
        backend.normalizer = normalizers.BertNormalizer(
            lowercase=settings.lowercase, handle_chinese_chars=not settings.segment
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return backend

    special = list(SPECIAL_TOKENS.values())
    unknown = SPECIAL_TOKENS["unk"]
    learner = empty(models.WordPiece(unk_token=unknown))
    alphabet = _alphabet(learner.normalizer, texts, settings.vocabulary)
    # The trainer numbers what it meets in the order of a hash table that is seeded anew in every process, and settles
    # ties by number. What is named beforehand has its number; so every single character is.
    inside = [f"##{character}" for character in alphabet if _joins(learner, character)]
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


def _whole_words(settings: TokenizerSettings, texts: list[str]) -> Any:
    from tokenizers import AddedToken, models, normalizers, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend

    special = list(SPECIAL_TOKENS.values())
    backend = Backend(models.WordLevel(unk_token=SPECIAL_TOKENS["unk"]))
    # Marks are words of their own, and unsegmented every Chinese character is.
    chinese = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=not settings.segment, strip_accents=False, lowercase=False
    )
    backend.normalizer = normalizers.Sequence([_normalizer(settings), chinese])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(
        vocab_size=settings.vocabulary,
        min_frequency=settings.min_count,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer, length=len(texts))
    return backend


def _bpe(settings: TokenizerSettings, texts: list[str]) -> Any:
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, trainers

    backend = Backend(models.BPE())
    backend.normalizer = _normalizer(settings)
    # With a space in front the first word of a text is the same token as anywhere else; it is taken off again.
    # Segmented, every word comes alone, and would get one.
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=not settings.segment)
    backend.decoder = decoders.ByteLevel()
    if not settings.segment:
        backend.decoder = decoders.Sequence([backend.decoder, decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        min_frequency=_MIN_FREQUENCY,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer, length=len(texts))
    return backend


def _unigram(settings: TokenizerSettings, texts: list[str]) -> Any:
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Backend

    normalizer = _normalizer(settings)
    special = list(SPECIAL_TOKENS.values())
    pieces = _unigram_pieces(settings, [normalizer.normalize_str(text) for text in texts])
    # The score of a special token is never read: none comes out of splitting.
    vocabulary = [*((token, 0.0) for token in special), *pieces]
    backend = Backend(models.Unigram(vocabulary, unk_id=special.index(SPECIAL_TOKENS["unk"])))
    backend.normalizer = normalizer
    # As in SentencePiece (arXiv:1808.06226) the space is a character of its own, and part of the word after it.
    scheme = "never" if settings.segment else "always"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return backend


def _unigram_pieces(settings: TokenizerSettings, texts: list[str]) -> list[tuple[str, float]]:
    """Return the pieces with their log-likelihoods, the likeliest first, as SentencePiece learns them.

    The trainer of `tokenizers` adds up and settles ties in the order of a hash table that is seeded anew in every
    process; SentencePiece's depends on the number of its threads only.
    """
    import sentencepiece

    counts = Counter(character for text in texts for character in text)
    kept = _most_frequent(counts, settings.vocabulary)
    if len(kept) < len(counts):
        # Every character that it sees gets a piece.
        unknown = re.compile(f"[^{re.escape(''.join(kept))}]+")
        texts = [part for text in texts for part in unknown.split(text) if part]
    if settings.segment:
        # It takes for a piece only what different characters come after, and nothing but an end comes after a word.
        texts = [*texts, *(f"{text} " for text in texts)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="unigram",
        # Its own vocabulary has the unknown token in it.
        vocab_size=settings.vocabulary - len(SPECIAL_TOKENS) + 1,
        # A small corpus has fewer pieces than are asked for.
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        add_dummy_prefix=not settings.segment,
        remove_extra_whitespaces=False,
        character_coverage=1.0,
        num_threads=_THREADS,
        max_sentence_length=1 << 30,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    made = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [(made.id_to_piece(number), made.get_score(number)) for number in range(1, made.get_piece_size())]


def _normalizer(settings: TokenizerSettings) -> Any:
    from tokenizers import normalizers

    return normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if settings.lowercase else [])])


_TRAINERS: Mapping[str, Callable[[TokenizerSettings, list[str]], Any]] = {
    "wordpiece": _wordpiece,
    "bpe": _bpe,
    "unigram": _unigram,
    "words": _whole_words,
}


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
    return sorted(_most_frequent({one: count for one, count in counts.items() if not one.isspace()}, vocabulary))


def _most_frequent(counts: Mapping[str, int], vocabulary: int) -> list[str]:
    """Return the characters that a vocabulary of this size has room for."""
    characters = sorted(counts, key=lambda character: (-counts[character], character))
    return characters[: int(vocabulary * _ALPHABET_SHARE)]


def _joins(backend: Any, character: str) -> bool:
    """Whether a character can stand inside a word: punctuation and unsegmented Chinese are words of their own."""
    return len(backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(f"a{character}a"))) == 1
