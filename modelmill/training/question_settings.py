"""How a question and a long context become rows, and how an answer is chosen. Needs no torch."""

from pydantic import Field

from modelmill.settings import Section


class Questions(Section):
    """Of question answering: windows over a context that is longer than a row, and the choice of a span."""

    stride: int = Field(default=64, ge=0)
    """Tokens that two neighbouring windows of a context share."""
    max_question_tokens: int = Field(default=64, ge=1)
    """A longer question is cut to this many tokens, and counted."""
    # 30: BERT's run_squad.py.
    max_answer_tokens: int = Field(default=30, ge=1)
    """Tokens of the longest span that is given as an answer."""
    n_best: int = Field(default=20, ge=1, le=100)
    """Spans that each window puts up, among which an answer's score is its probability."""
    null_threshold: float = 0.0
    """No answer is given where [CLS] scores more than the best span by this, in logits, as BERT does for SQuAD 2
    (appendix of arXiv:1810.04805, 4.3); counts where some training question has no answer."""


def window_room(questions: Questions, max_tokens: int, question_tokens: int | None = None) -> int:
    """Return how many tokens of the context a row of `max_tokens` holds beside a question, the longest one at first."""
    most = questions.max_question_tokens
    return max_tokens - 3 - (most if question_tokens is None else min(question_tokens, most))


def misfit(questions: Questions, max_tokens: int) -> str:
    """Return which setting leaves the windows no room to move, with both numbers; '' where all is well."""
    room = window_room(questions, max_tokens)
    if room < 1:
        return (
            f"finetune.questions.max_question_tokens: {questions.max_question_tokens} and 3 special tokens leave no "
            f"room for a context in rows of {max_tokens} tokens; lower it, or raise preprocess.max_tokens"
        )
    if questions.stride >= room:
        return (
            f"finetune.questions.stride: {questions.stride} tokens shared by two windows, and beside the longest "
            f"question a window holds {room}; lower it below {room}, or raise preprocess.max_tokens ({max_tokens})"
        )
    return ""
