"""What retention does to a store: it lists with times, and removes what is old; nothing else comes here."""

from collections.abc import Iterator

from modelmill.store import Store
from modelmill.store.backend import Entry


def entries(store: Store, prefix: str) -> Iterator[Entry]:
    """Yield the keys that start with a prefix, with their size and time, in any order; not all in memory."""
    return store._backend.entries(prefix)


def clock(store: Store) -> float:
    """Return the time by the store's own clock, which `Entry.modified` is told by."""
    return store._backend.now()


def remove_older(store: Store, key: str, than: float) -> bool:
    """Remove a key that was put or used before a time; return whether it was: others put and use at this moment."""
    return store._backend.delete_older(key, than)


def unfinished(store: Store) -> Iterator[Entry]:
    """Yield what was begun to be written and is no key: temporary files, or uploads in parts."""
    return store._backend.unfinished()


def remove_unfinished(store: Store, entry: Entry) -> None:
    """Remove one of those."""
    store._backend.delete_unfinished(entry)
