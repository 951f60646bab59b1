"""What a running step reads stays: its inputs count as put now, again and again while it runs, however old they are."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelmill.errors import ModelmillError
from modelmill.references import references
from modelmill.store import Store

log = logging.getLogger(__name__)

# `gc` leaves what is younger than a day where anything runs.
EVERY_SECONDS = 6 * 3600.0


@contextmanager
def in_use(store: Store, value: Any, every: float = EVERY_SECONDS) -> Iterator[None]:
    """Keep the manifests that a value names young while the block lasts, and so all that they lead to.

    One that is not there is no error here: whoever opens it says so. Nor is a store that does not answer now.
    """
    keys = sorted({f"{one.name}.json" for one in references(value) if one.kind == "address"})
    over = threading.Event()

    def refresh() -> None:
        try:
            for key in keys:
                store.refresh(key)
        except ModelmillError as error:
            log.warning("what this step reads could not be marked as in use: %s", error)

    def beat() -> None:
        while not over.wait(every):
            refresh()

    refresh()
    thread = threading.Thread(target=beat, name="in-use", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
