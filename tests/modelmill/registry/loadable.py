"""A registered version that loads and answers, as one must that a rollback returns to."""

import json
from pathlib import Path

from modelmill.models.folder import save_model
from modelmill.registry.judgement import REPORT_TAG, VERDICT_TAG
from modelmill.registry.promotion import Promotions
from modelmill.tracking import Tracking
from tests import answering
from tests.modelmill.registry.made import report


def loadable_version(of: Promotions, folder: Path, beside: str = "") -> str:
    """Register a small table model in the MLflow that the environment names, and return its version."""
    answering.table_model(folder)
    facts = json.loads((folder / "modelmill.json").read_text())
    # Another folder, another model.
    address = save_model(of.store, folder, {**facts, "lineage": {"labelled": folder.name}})
    tags = {VERDICT_TAG: "promote", REPORT_TAG: report(of.store, address, "promote", beside)}
    run = Tracking.connect().open_step("register")
    return of.registry.add(address, folder, run=run, example={"area": 120.5, "rooms": 4}, tags=tags)
