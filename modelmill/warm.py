"""Where training on some data starts from, decided once for these data.

The champion of today was perhaps trained on the data of today. Were it what training starts from whenever a schedule
comes by, every tick would train once more on the same rows. So the first run that sees some data decides, from the
champion of that moment, and every later run on them starts from the same place and is answered from the cache.
"""

import json

from modelmill.digest import canonical_json, digest
from modelmill.pins import Pins
from modelmill.store import Store


def start(store: Store, registered: str, pins: Pins, champion: str) -> str:
    """Return the pin of what training starts from: the champion's, `''` for none, or that of the recipe's own base.

    Raises:
        ModelmillError: the store does not answer.
    """
    key = _key(registered, pins)
    if not store.has_manifest(key):
        pin = canonical_json({"uri": champion, "fingerprint": champion}) if champion else pins.base
        # Of two that decide at once one wins, and both follow it.
        store.claim(key, {"base": pin})
    return decided(store, registered, pins) or pins.base


def decided(store: Store, registered: str, pins: Pins) -> str | None:
    """Return the pin that was decided on for these data, None where nothing was, or where that model is gone.

    Raises:
        ModelmillError: the store does not answer.
    """
    key = _key(registered, pins)
    if not store.has_manifest(key):
        return None
    pin = str(store.get_manifest(key)["base"])
    uri = json.loads(pin)["uri"]
    return None if uri.startswith("models/") and not store.has_manifest(f"{uri}.json") else pin


def _key(registered: str, pins: Pins) -> str:
    return f"warm/{digest({'registered': registered, 'base': pins.base, 'sources': pins.sources})}.json"
