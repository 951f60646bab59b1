"""What a recipe asks for beside the figures: robustness, explanations, cost, the harness; and the checks on cost."""

from components.evaluate.settings import EvaluateSettings
from components.evaluate.subject import Subject
from modelmill.evaluation.checks import cost_checks
from modelmill.evaluation.document import Report
from modelmill.evaluation.probes import Probes
from modelmill.step import Step


def probed(step: Step, settings: EvaluateSettings, report: Report, subject: Subject) -> Report:
    """Return a report with all that the settings ask for beside its figures.

    Raises:
        ModelmillError: an answer to a changed row is not finite.
    """
    # What they need is heavy, and most recipes ask for none.
    found = Probes()
    if settings.robustness:
        from components.evaluate.robustness import robustness_of

        found = found.model_copy(update={"robustness": robustness_of(step, settings.robustness, subject)})
    if settings.explain:
        from components.evaluate.explain import explanations_of

        found = found.model_copy(update={"explanations": explanations_of(step, settings.explain, subject)})
    if settings.measures_cost:
        from components.evaluate.cost import cost_of

        found = found.model_copy(update={"cost": cost_of(step, subject.predictor, subject.folder, subject.inputs)})
    if settings.lm_eval is not None:
        from components.evaluate.harness import harness_of

        results = harness_of(step, settings.lm_eval, settings.lm_eval_pinned, subject.predictor)
        found = found.model_copy(update={"harness": results})
    if found == Probes():
        return report
    checks = [*report.checks, *(cost_checks(found.cost, settings.thresholds) if found.cost else [])]
    return report.adding(probes=found, checks=[check.model_dump(mode="json") for check in checks])


def cost_figures(report: Report) -> dict[str, float]:
    """Return the figures of cost by the names that thresholds have for them; none where cost was not measured."""
    cost = report.probes.cost if report.probes else None
    if cost is None:
        return {}
    return {"latency_p99_ms": cost.speeds[0].p99_ms, "size_mb": round(cost.bytes / 1e6, 6)}
