"""The two kinds of error that reach a person, and their exit codes."""

import os
import re

# What the names of environment variables give away; TOKENIZERS_PARALLELISM is none.
_SECRET = re.compile(
    r"SECRET|PASSWORD|PASSWD|TOKEN(?!IZ)|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE|^MODELMILL_NOTIFY$", re.IGNORECASE
)
# A shorter value may be a word of any sentence.
_SECRET_CHARACTERS = 6


class ModelmillError(Exception):
    """Something failed; the message names the file, row or key, both numbers, and the way out."""

    exit_code = 1


class UserError(ModelmillError):
    """The user's input is wrong: a recipe, a source, the data, or the command line."""

    exit_code = 2


class InputRefused(UserError):  # noqa: N818 - it is what becomes of a row, not of a run
    """A row that a model is asked about is not what it reads; `reason` is one word, to be counted."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Interrupted(ModelmillError):  # noqa: N818 - it is a wish that was followed
    """The step was asked to stop (SIGTERM or Ctrl-C) and has saved what it could."""


def without_credentials(text: str) -> str:
    """Return a text in which no URI holds a user name or password."""
    return re.sub(r"(?<=://)[^/@\s'\"]+@", "", text)


def is_secret(variable: str) -> bool:
    """Return whether an environment variable holds a secret, by its name; one that ends in _FILE names a file."""
    return _SECRET.search(variable) is not None and not variable.upper().endswith("_FILE")


def without_secrets(text: str) -> str:
    """Return a text without credentials in URIs and without the values of this process's secret variables.

    It is for what leaves the process in failure, where a library's message may hold anything.
    """
    held = {word for name, value in os.environ.items() if is_secret(name) for word in value.split()}
    for word in sorted(held, key=len, reverse=True):
        if len(word) >= _SECRET_CHARACTERS:
            text = text.replace(word, "***")
    return without_credentials(text)
