"""Where training on some data starts from is decided once for these data."""

import json
from pathlib import Path

from modelmill.digest import canonical_json
from modelmill.models.folder import save_files
from modelmill.pins import Pins
from modelmill.store import Store, open_store
from modelmill.warm import decided, start

BASE = canonical_json({"uri": "package://some/model", "fingerprint": "f" * 64})


def pins(sources: str) -> Pins:
    return Pins(sources=canonical_json({"shop.csv": sources}), base=BASE, teacher="", before="")


def champion(store: Store, content: bytes) -> str:
    return save_files(store, "models", {"config.json": content}, {})


def test_data_that_were_trained_on_start_where_they_did_and_new_data_start_from_the_champion(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert decided(store, "shop", pins("monday")) is None
    # No champion yet: the recipe's own base.
    assert start(store, "shop", pins("monday"), "") == BASE
    first = champion(store, b"first")
    # The model of Monday's data became champion, and on Tuesday the data are the same: nothing is trained again.
    assert start(store, "shop", pins("monday"), first) == BASE
    # On Wednesday they are new.
    assert json.loads(start(store, "shop", pins("wednesday"), first))["uri"] == first
    assert decided(store, "shop", pins("wednesday")) == start(store, "shop", pins("wednesday"), "")
    second = champion(store, b"second")
    assert json.loads(start(store, "shop", pins("wednesday"), second))["uri"] == first
    assert json.loads(start(store, "shop", pins("thursday"), second))["uri"] == second


def test_another_model_of_the_registry_decides_for_itself(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert start(store, "shop", pins("monday"), "") == BASE
    other = champion(store, b"other")
    assert json.loads(start(store, "other", pins("monday"), other))["uri"] == other


def test_a_champion_that_is_in_the_store_no_longer_is_no_start(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert start(store, "shop", pins("monday"), f"models/{'0' * 64}") == BASE
