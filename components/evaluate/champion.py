"""Measure the champion on the rows that its challenger is measured on, once: what was measured is remembered."""

from components.evaluate.run import EvaluateOutputs, NoAnswers, run
from components.evaluate.settings import EvaluateSettings
from modelmill.digest import digest
from modelmill.errors import UserError
from modelmill.step import Step
from modelmill.store.backend import NotFound
from modelmill.version import code_digest


def measure_champion(
    step: Step, settings: EvaluateSettings, champion: str, labelled: str, challenger: str
) -> EvaluateOutputs:
    """Return the report on the champion at an address, '' where there is nothing to compare.

    That is so without a champion, where it is the challenger itself, and where it cannot be measured: it no longer
    loads, gives no finite answers, or knows other labels or columns than these rows have. Then the summary's `why_not`
    says why; a model is never kept from being registered by the one that it is to replace.

    Raises:
        ModelmillError: the store does not answer.
    """
    if not champion or champion == challenger:
        return EvaluateOutputs(report="", summary={})
    told = {"model": champion, "dataset": labelled, "settings": settings.model_dump(mode="json"), "code": code_digest()}
    key = f"measured/{digest(told)}.json"
    try:
        known = step.store.get_manifest(key)
        return EvaluateOutputs(report=known["report"], summary=known["summary"])
    except NotFound:
        pass
    try:
        made = run(step, settings, champion, labelled)
    except (UserError, NotFound, NoAnswers) as error:
        return EvaluateOutputs(report="", summary={"why_not": str(error)})
    step.store.claim(key, {"report": made.report, "summary": made.summary})
    return made
