"""How a model that writes sequences is asked for one. Needs no torch."""

from pydantic import Field

from modelmill.settings import Section


class Decoding(Section):
    """Greedy and beam search: the likeliest sequence that a few open ones lead to."""

    beams: int = Field(default=4, ge=1, le=64)
    """Sequences kept open at a time; with 1 the likeliest token is taken at every place (greedy)."""
    length_penalty: float = Field(default=1.0, ge=-10, le=10)
    """A beam's log-likelihood is divided by its length to this power: more than 0 makes long answers likelier, 0 leaves
    the sum, which is for short ones. Needs beams."""
    max_tokens: int | None = Field(default=None, ge=1, le=8192)
    """Tokens that an answer has at most; left out, `preprocess.max_target_tokens`."""
    no_repeat_ngram: int = Field(default=0, ge=0, le=64)
    """Runs of so many tokens that an answer never has twice (arXiv:1705.04304, section 2.5); 0 forbids none."""
