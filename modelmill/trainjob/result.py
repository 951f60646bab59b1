"""What a step made, handed from the first of its nodes to the step that waits: by the store, which both have."""

import json
import logging
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from modelmill.digest import canonical_json
from modelmill.store import NotFound, Store
from modelmill.trainjob.spec import JOB_VARIABLE

if TYPE_CHECKING:
    from modelmill.command import Result

log = logging.getLogger(__name__)


def hand_back(store: Store, result: "Result") -> None:
    """Put a result where the waiting step reads it; anywhere but in a TrainJob there is none who waits.

    One that is there already stays: it came of the same training, under the same lease.

    Raises:
        ModelmillError: the store cannot be written.
    """
    name = os.environ.get(JOB_VARIABLE)
    if name and not store.put_work(_key(name), canonical_json(asdict(result)).encode()):
        log.warning("%s: a result is there already, and stays", store.place(_key(name)))


def taken(store: Store, name: str) -> "Result | None":
    """Return what a TrainJob made, or None while it has made nothing.

    Raises:
        ModelmillError: the store cannot be read.
    """
    from modelmill.command import Result

    try:
        return Result(**json.loads(store.get_work(_key(name))))
    except NotFound:
        return None


def _key(name: str) -> str:
    return f"work/{name}/result.json"
