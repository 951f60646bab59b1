"""The table that a recipe accepted before: what it was, and how the one at hand becomes the next."""

import json
from dataclasses import dataclass
from typing import Self

from components.ingest.tables.schema import Schema
from modelmill.accepted import accept
from modelmill.store import Store


@dataclass(frozen=True, kw_only=True)
class Before:
    """What resolve told of the tables of a recipe."""

    recipe: str
    """'' where there is no table to remember."""
    address: str
    """Of the schema that the table at hand is compared with, '' where there is none."""
    schema: Schema | None

    @classmethod
    def read(cls, store: Store, told: str) -> Self:
        """Return what resolve's output `before` says, with the schema.

        Raises:
            NotFound: the store does not hold it.
        """
        value = json.loads(told) if told else {"recipe": "", "schema": ""}
        address = value["schema"]
        schema = Schema.from_dict(store.get_addressed(address)) if address else None
        return cls(recipe=value["recipe"], address=address, schema=schema)

    def accept(self, store: Store, found: Schema, sources: str) -> str:
        """Keep what was found in the sources, for the next table to be compared with; return its address."""
        address = store.put_addressed("schemas", found.to_dict())
        if self.recipe:
            accept(store, self.recipe, sources=sources, schema=address, before=self.address)
        return address
