"""Keys of the store: names of blobs, and what may be deleted."""

import re

from modelmill.errors import ModelmillError
from modelmill.store.backend import check_name

WORK = "work"
"""Where steps keep what is of use until they have ended."""
CHECKPOINT = re.compile(r"(checkpoints/[0-9a-f]{64}/|retention/(?=lease/))(step-[0-9]+|lease/[0-9]+)\.json")
"""Checkpoints of a run, and the marks of its lease; those of `gc`'s lease are of the same kind."""
_SHA256 = re.compile("[0-9a-f]{64}")


def blob_key(sha256: str) -> str:
    """Return where a blob lies.

    Raises:
        ModelmillError: it is no sha256.
    """
    if not is_sha256(sha256):
        raise ModelmillError(f"{sha256!r} is not a sha256 of 64 hexadecimal digits")
    return f"blobs/{sha256}"


def is_sha256(name: str) -> bool:
    """Return whether a name is a sha256."""
    return _SHA256.fullmatch(name) is not None


def work_key(key: str) -> str:
    """Return a key as it is; all that can be deleted goes through here.

    Raises:
        ModelmillError: it does not lie under `work/`.
    """
    if not check_name(key).startswith(f"{WORK}/"):
        raise ModelmillError(f"{key!r} does not lie under {WORK}/, where steps keep and delete what they have in work")
    return key
