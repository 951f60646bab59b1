"""What is known of a version when it asks to be champion: its verdict, from a report that the store vouches for.

MLflow's tags only point there: a tag can be written by anyone, a report is named by the digest of its content.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from modelmill.digest import digest
from modelmill.errors import ModelmillError
from modelmill.registry.approval import Demand
from modelmill.registry.versions import MODEL_TAG, Registry
from modelmill.store import Store

REPORT_TAG = "modelmill.report"
"""Address of the report with the verdict."""
VERDICT_TAG = "modelmill.verdict"
VERSION_TAG = "modelmill.version"
"""Which version a pipeline's run ended with; REPORT_TAG and VERDICT_TAG stand there beside it."""
CHAMPION_TAG = "modelmill.champion_judged"
"""The champion that the version was judged beside, for people; the report says the same."""
APPROVAL_TAG = "modelmill.approval"
"""Whether the version needs an approval; see `Demand`."""
APPROVED_TAG = "modelmill.approved_by"
GOLDEN_TAG = "modelmill.golden"
"""Address of the golden rows."""
JUDGED_BESIDE = "champion_judged"
"""Name, in a report's lineage, of the champion that its verdict was given beside; '' for none."""
NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was decided on a version, and beside which champion."""

    version: str
    model: str
    """Its address."""
    decision: str = ""
    """'' where nothing was decided."""
    reasons: tuple[str, ...] = ()
    champion: str = ""
    """Version that was champion then; '' for none."""
    report: str = ""
    approval: Demand = "none"

    @property
    def digest(self) -> str:
        """What an approval is given for."""
        told = {"model": self.model, "decision": self.decision, "reasons": self.reasons, "champion": self.champion}
        return digest(told)


def judgement(registry: Registry, store: Store, version: str) -> Judgement:
    """Return what is known of a version.

    Raises:
        UserError: there is no such version.
        ModelmillError: its report is missing, was changed, or is of another model; or MLflow does not answer.
    """
    tags = registry.tags(version)
    found = Judgement(
        version=version,
        model=tags.get(MODEL_TAG, ""),
        report=tags.get(REPORT_TAG, ""),
        approval="required" if tags.get(APPROVAL_TAG) == "required" else "none",
    )
    if not found.report:
        return found
    told = _report(store, found.report)
    verdict, beside = told.get("verdict"), told.get("lineage", {}).get(JUDGED_BESIDE)
    if told.get("model") != found.model:
        raise ModelmillError(
            f"{registry.name} version {version}: its tag {REPORT_TAG} names a report on {told.get('model')}, and its "
            f"model is {found.model}; run its recipe again, which registers the right one"
        )
    if not verdict or beside is None:
        return found
    return replace(found, decision=verdict["decision"], reasons=tuple(verdict["reasons"]), champion=beside)


def _report(store: Store, address: str) -> dict[str, Any]:
    """Return a report as it was written, by whichever version of modelmill."""
    files = store.get_addressed(address).get("files", {})
    if "report.json" not in files:
        raise ModelmillError(f"{address}: holds no report.json; run the recipe again")
    found: dict[str, Any] = json.loads(store.get_blob(files["report.json"]["sha256"]))
    return found
