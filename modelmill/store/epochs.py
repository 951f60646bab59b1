"""The store's epochs: a random mark that is made once, and raised before anything is deleted that a cache may name.

`epoch.json` holds the mark, and each `epochs/<number>.json` raises it. A run goes on under the epoch that it began in.
"""

import uuid
from typing import TYPE_CHECKING

from modelmill.errors import ModelmillError

if TYPE_CHECKING:
    from modelmill.store import Store

EPOCH_KEY = "epoch.json"
RAISED = "epochs"


def epochs(store: "Store") -> list[str]:
    """Return all epochs that the store has had since its mark was made, the present one last."""
    if not store.has_manifest(EPOCH_KEY):
        store.claim(EPOCH_KEY, {"epoch": uuid.uuid4().hex})
    mark = store.get_manifest(EPOCH_KEY).get("epoch")
    if not isinstance(mark, str) or not mark:
        raise ModelmillError(f"{store.place(EPOCH_KEY)}: holds no epoch; delete it and run again")
    raised = (key.rpartition("/")[2].removesuffix(".json") for key in store.keys(f"{RAISED}/"))
    return [mark, *(f"{mark}-{number}" for number in raised)]


def raise_epoch(store: "Store", why: str) -> None:
    """Begin a new epoch: from now on every step of a new run is a miss of the cache."""
    store.append(RAISED, {"id": uuid.uuid4().hex, "why": why}, after=len(epochs(store)) - 1)
