"""Which code this is: the digest of what runs, and the git commit it came from."""

import os
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from modelmill.digest import digest, sha256_hex

_ROOT = Path(__file__).resolve().parent.parent
COMMIT_VARIABLE = "MODELMILL_COMMIT"
"""The commit that an image was built from, which sets it."""


@cache
def code_digest() -> str:
    """Return the digest of the code that steps run and of the packages under it, as 64 hexadecimal digits.

    It goes into the image's name, so a changed line or a changed lock is a cache miss. `pipelines` is left out: it
    starts steps and never runs inside one.
    """
    sources = {
        path.relative_to(_ROOT).as_posix(): sha256_hex(path.read_bytes())
        for package in ("modelmill", "components")
        for path in sorted((_ROOT / package).rglob("*"))
        if path.suffix in {".py", ".html", ".css"}
    }
    return digest({"sources": sources, "packages": _packages()})


def _packages() -> str | list[str]:
    lock = _ROOT / "requirements.lock"
    if lock.is_file():
        return sha256_hex(lock.read_bytes())
    return sorted(f"{part.name}=={part.version}" for part in metadata.distributions())


@cache
def git_commit() -> str:
    """Return the commit of the code's checkout, with `-dirty` after changes, or of its image; '' if none is known."""
    told = os.environ.get(COMMIT_VARIABLE, "")
    try:
        top = _git("rev-parse", "--show-toplevel")
        if Path(top).resolve() != _ROOT:
            return told
        return _git("rev-parse", "HEAD") + ("-dirty" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return told


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(_ROOT), *arguments], check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()
