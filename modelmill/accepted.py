"""Which tables were accepted, by recipe: what the next one is compared with.

A chain of manifests, `accepted/<recipe>/<number>.json`, each put by a conditional put and never changed. Each names the
sources that were read, the schema that was found in them, and the schema that they were compared with. The same sources
are therefore always compared with the same schema: a run that is repeated, or answered from a cache, is the same run.
"""

from typing import Any

from modelmill.digest import sha256_hex
from modelmill.store import Store


def schema_before(store: Store, recipe: str, sources: str) -> str:
    """Return the address of the schema that a recipe's sources, as `modelmill.sources.pin` gave them, compare with.

    That of the table that was accepted last, '' for the first one.
    """
    entries = _entries(store, recipe)
    same = [entry for entry in entries if entry["sources"] == sha256_hex(sources)]
    if same:
        return str(same[-1]["before"])
    return str(entries[-1]["schema"]) if entries else ""


def accept(store: Store, recipe: str, *, sources: str, schema: str, before: str) -> None:
    """Remember a table, by the address of its schema; one that is remembered already is not added again."""
    entry = {"sources": sha256_hex(sources), "schema": schema, "before": before}
    entries = _entries(store, recipe)
    if entry in entries:
        return
    store.append(f"accepted/{recipe}", entry, after=len(entries))


def _entries(store: Store, recipe: str) -> list[dict[str, Any]]:
    return [store.get_manifest(key) for key in store.keys(f"accepted/{recipe}/")]
