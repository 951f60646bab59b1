"""From which raw files a thing was made: whose cache may name it, so that only theirs is not believed any more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from modelmill.digest import digest
from modelmill.references import ADDRESS
from modelmill.retention.mark import address_of
from modelmill.store import NotFound, Store
from modelmill.store.backend import Changed
from modelmill.store.removal import entries

Sources = frozenset[str]
"""Digests of what `modelmill.sources.pin` returned for the sources of a recipe."""


@dataclass(kw_only=True)
class Provenance:
    """Follows lineage back to the raw files; what was found is not looked for again."""

    store: Store
    _known: dict[str, Sources | None] = field(default_factory=dict, repr=False)

    def of(self, address: str) -> Sources | None:
        """Return the sources that a report, a model, a dataset, or what made one, comes from.

        None where nobody knows: something between is gone or damaged, or was not made from raw files.
        """
        if address not in self._known:
            try:
                self._known[address] = self._found(address, self.store.get_addressed(address))
            except (NotFound, Changed):
                self._known[address] = None
        return self._known[address]

    def _found(self, address: str, value: Mapping[str, Any]) -> Sources | None:
        kind, meta = address.partition("/")[0], value.get("meta") or {}
        if kind == "reports":
            # Of a verdict's report and others no cache knows: the steps that make them are never cached.
            return self._all([meta["dataset"]]) if "dataset" in meta else frozenset()
        if kind == "models":
            lineage = meta.get("lineage") or {}
            return self._all(filter(None, (lineage.get("labelled"), lineage.get("corpus"))))
        if kind == "datasets":
            # Several sources may have given the very same rows.
            made = entries(self.store, f"made/{address.partition('/')[2]}/")
            return self._all(filter(None, map(address_of, made)))
        inputs = value.get("inputs") or {}
        before = [one for one in inputs.values() if isinstance(one, str) and ADDRESS.fullmatch(one)]
        if before:
            return self._all(before)
        return frozenset({digest(inputs)}) if inputs else None

    def _all(self, addresses: Iterable[str]) -> Sources | None:
        found = [self.of(address) for address in addresses]
        known = [one for one in found if one is not None]
        return frozenset(chain.from_iterable(known)) if known and len(known) == len(found) else None
