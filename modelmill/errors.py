"""The two kinds of error that reach a person, and their exit codes."""

import re


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
