"""The base model that a recipe starts from, as the resolve step pinned it. Needs no torch."""

import json
from pathlib import Path

from modelmill.errors import ModelmillError
from modelmill.sources import fingerprint, locate


def base_folder(pinned: str) -> Path:
    """Return the folder of a base model from its pin, JSON of `uri` and `fingerprint`.

    Raises:
        UserError: the folder is not there.
        ModelmillError: its content is another one than was pinned.
    """
    pin = json.loads(pinned)
    uri, wanted = pin["uri"], pin["fingerprint"]
    found = fingerprint(uri)
    if found != wanted:
        raise ModelmillError(
            f"{uri}: the base model changed since the run began (fingerprint {found[:12]}, pinned {wanted[:12]}); "
            "run again"
        )
    return locate(uri)
