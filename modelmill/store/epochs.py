"""The store's epochs: a random mark that is made once, and raised before anything is deleted that a cache may name.

`epoch.json` holds the mark, and each `epochs/<number>.json` raises it. Where it is known from which raw files something
was made that goes, `epochs-of/<digest of their pins>/<number>.json` raises it for runs on these files alone. A run goes
on under the epoch that it began in.
"""

import uuid
from typing import TYPE_CHECKING

from modelmill.errors import ModelmillError

if TYPE_CHECKING:
    from modelmill.store import Store

EPOCH_KEY = "epoch.json"
RAISED = "epochs"
RAISED_OF = "epochs-of"


def epochs(store: "Store") -> list[str]:
    """Return all epochs that the store has had since its mark was made, the present one last."""
    if not store.has_manifest(EPOCH_KEY):
        store.claim(EPOCH_KEY, {"epoch": uuid.uuid4().hex})
    mark = store.get_manifest(EPOCH_KEY).get("epoch")
    if not isinstance(mark, str) or not mark:
        raise ModelmillError(f"{store.place(EPOCH_KEY)}: holds no epoch; delete it and run again")
    raised = (key.rpartition("/")[2].removesuffix(".json") for key in store.keys(f"{RAISED}/"))
    return [mark, *(f"{mark}-{number}" for number in raised)]


def raise_epoch(store: "Store", why: str, sources: str = "") -> None:
    """Begin a new epoch: from now on every step of a new run is a miss of the cache.

    With the digest of pinned sources only the steps of runs on these.
    """
    folder = f"{RAISED_OF}/{sources}" if sources else RAISED
    store.append(folder, {"id": uuid.uuid4().hex, "why": why}, after=len(list(store.keys(f"{folder}/"))))


def raised_for(store: "Store", sources: str) -> int:
    """Return how often the epoch was raised for runs on sources alone, given the digest of their pins."""
    return len(list(store.keys(f"{RAISED_OF}/{sources}/")))
