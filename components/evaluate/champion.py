"""Measure the champion on the rows that its challenger is measured on, once: what was measured is remembered."""

from collections.abc import Mapping
from typing import Any

from components.evaluate.rows import check_features
from components.evaluate.run import EvaluateOutputs, run
from components.evaluate.settings import EvaluateSettings
from components.evaluate.subject import NoAnswers
from modelmill.dataset import Dataset, open_dataset
from modelmill.digest import digest
from modelmill.errors import UserError
from modelmill.step import Step
from modelmill.store.backend import Changed, NotFound
from modelmill.version import code_digest


def measure_champion(
    step: Step, settings: EvaluateSettings, champion: str, labelled: str, challenger: str
) -> EvaluateOutputs:
    """Return the report on the champion at an address, '' where there is nothing to compare.

    That is so without a champion, where it is the challenger itself, and where it cannot be measured: it has another
    task, other labels, another target or other columns than these rows, it no longer loads, or it gives no finite
    answers. Then the summary's `why_not` says why; a model is never kept from being registered by the one that it is to
    replace. What it says of itself is looked at before its weights are fetched.

    Raises:
        ModelmillError: the store does not answer.
    """
    if not champion or champion == challenger:
        return EvaluateOutputs(report="", summary={})
    told = {"model": champion, "dataset": labelled, "settings": settings.model_dump(mode="json"), "code": code_digest()}
    key = f"measured/{digest(told)}.json"
    try:
        known = step.store.get_manifest(key)
        # Both stay while this run goes on.
        if step.store.refresh(key) and step.store.refresh(f"{known['report']}.json"):
            return EvaluateOutputs(report=known["report"], summary=known["summary"])
    except NotFound:
        pass
    dataset = open_dataset(step.store, labelled)
    try:
        check_alike(settings, step.store.get_addressed(champion)["meta"], dataset)
        made = run(step, settings, champion, labelled)
    except (UserError, NotFound, Changed, NoAnswers) as error:
        return EvaluateOutputs(report="", summary={"why_not": str(error)})
    step.store.claim(key, {"report": made.report, "summary": made.summary})
    return made


def check_alike(settings: EvaluateSettings, facts: Mapping[str, Any], dataset: Dataset) -> None:
    """Check that a champion answers what these rows ask, by what it says of itself.

    Raises:
        UserError: it has another task, other labels, another target, or reads other columns.
    """
    there, is_table = dataset.meta, dataset.meta["kind"] == "labelled-table"
    for what, theirs, ours in (
        ("task", facts.get("task"), settings.task),
        ("labels", list(facts.get("labels") or ()), list(there.get("labels") or ())),
        *([("target", facts.get("target"), there["target"])] if is_table else []),
    ):
        if theirs != ours:
            raise UserError(
                f"the champion has the {what} {theirs}, and this recipe the {what} {ours}: no figure of one says "
                "anything of the other; register the model under another name, or promote it with --force --reason"
            )
    if is_table:
        check_features(facts, dataset)
