"""Who acts on the registry: what its history says of a promotion."""

import getpass
import os
import subprocess

USER_VARIABLE = "MODELMILL_USER"
_LONGEST = 200


def who() -> str:
    """Return who runs this: MODELMILL_USER, else git's user.email, else the login name, else 'unknown'."""
    found = os.environ.get(USER_VARIABLE, "").strip() or _git_email() or _login()
    return " ".join(found.split())[:_LONGEST]


def _git_email() -> str:
    try:
        done = subprocess.run(["git", "config", "user.email"], check=False, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A container's user may have a number and no name.
        return "unknown"
