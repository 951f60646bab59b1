"""Decides on a model and makes it a version: light, never cached, no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.register.settings import RegisterSettings
from modelmill.dataset import open_dataset, read_made
from modelmill.errors import ModelmillError
from modelmill.evaluation.document import Data, Report
from modelmill.evaluation.judge import judge
from modelmill.evaluation.report import render
from modelmill.models.folder import fetch_model, read_files, save_files
from modelmill.registry.versions import CHALLENGER, CHAMPION, Registry
from modelmill.step import Step
from modelmill.tracking import Tracking, log_cached_steps
from modelmill.version import code_digest, git_commit

# The column of a labelled dataset that holds what a predictor is asked; of several, a mapping of them.
_EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "text": ("text",),
    "labelled-text": ("text",),
    "labelled-pairs": ("text", "pair"),
    "labelled-targets": ("text",),
    "labelled-questions": ("question", "context"),
    "labelled-images": ("image",),
    "labelled-table": ("features",),
}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Addresses of what the model was made from and measured by; '' for what there is not."""

    report: str
    comparison: str
    """The report of the same fine-tune from random weights."""
    model: str
    corpus: str
    labelled: str
    made_corpus: str
    made_labelled: str
    champion: str = ""
    """The report on the champion, measured on the same rows."""
    champion_version: str = ""
    """Which version that is."""


@dataclass(frozen=True, kw_only=True)
class RegisterOutputs:
    """What was decided and made."""

    verdict: str
    version: str
    report: str
    """Address of the report with the verdict in it."""
    summary: dict[str, Any]


def run(
    step: Step, settings: RegisterSettings, evidence: Evidence, summaries: Mapping[str, dict[str, Any]]
) -> RegisterOutputs:
    """Decide from the reports, register the model, set its aliases, and finish the report and the tracking run.

    `summaries` holds the training steps' figures by step, for the report.

    Raises:
        ModelmillError: the report is of another model, or MLflow refuses.
    """
    report = _report(step, evidence)
    tracking = Tracking.connect()
    log_cached_steps(tracking, settings.steps)
    registry = Registry(client=tracking.client, name=settings.name)
    version = registry.find(evidence.model)
    champion = registry.alias(CHAMPION)
    decided, comparison = judge(
        step.store,
        report,
        evidence.report,
        champion=champion if champion != version else None,
        measured=evidence.champion,
        version=evidence.champion_version,
        asked=settings.against_champion,
    )
    lineage = _lineage(settings, evidence)
    if version is None:
        version = _add(step, registry, tracking, evidence, lineage)
    registry.set_alias(CHALLENGER, version)
    if champion is None and decided.decision == "promote":
        registry.set_alias(CHAMPION, version)
    aliases = registry.aliases(version)
    final = report.adding(
        verdict=decided,
        comparison=comparison,
        registered={"name": settings.name, "version": version, "aliases": list(aliases)},
        data=_data(step, report, evidence),
        training={**report.training, **summaries},
        lineage={**lineage, "finetune" if evidence.labelled else "pretrain": dict(report.lineage)},
    )
    predictions = read_files(step.store, evidence.report)[0]["predictions.parquet"]
    address = _finish(step, tracking, final, predictions)
    summary = {"verdict": decided.decision, "model": settings.name, "version": version, "aliases": ", ".join(aliases)}
    return RegisterOutputs(verdict=decided.decision, version=version, report=address, summary=summary)


def _report(step: Step, evidence: Evidence) -> Report:
    report = Report.read(read_files(step.store, evidence.report)[0]["report.json"])
    if report.model != evidence.model:
        raise ModelmillError(f"{evidence.report}: measures {report.model}, and {evidence.model} is to be registered")
    if not evidence.comparison:
        return report
    other = Report.read(read_files(step.store, evidence.comparison)[0]["report.json"])
    return report.adding(comparisons={"from_scratch": {**other.metrics["test"]}})


def _data(step: Step, report: Report, evidence: Evidence) -> Data | None:
    made = {"labelled": evidence.made_labelled, "corpus": evidence.made_corpus}
    ledgers = {name: read_made(step.store, address)["ledger"] for name, address in made.items() if address}
    return report.data.with_ledgers(**ledgers) if report.data is not None else None


def _lineage(settings: RegisterSettings, evidence: Evidence) -> dict[str, str]:
    known = {**asdict(evidence), "recipe": settings.recipe, "recipe_digest": settings.recipe_digest}
    return {key: value for key, value in {**known, "git_commit": git_commit(), "code": code_digest()}.items() if value}


def _add(step: Step, registry: Registry, tracking: Tracking, evidence: Evidence, lineage: dict[str, str]) -> str:
    folder = step.scratch / "model"
    fetch_model(step.store, evidence.model, folder)
    dataset = open_dataset(step.store, evidence.labelled or evidence.corpus)
    columns = _EXAMPLES[dataset.meta["kind"]]
    batch = next(dataset.batches("test" if evidence.labelled else "validation", columns=columns))
    row = batch.slice(0, 1).to_pylist()[0]
    example = row if len(columns) > 1 else row[columns[0]]
    tags = {f"modelmill.{key}": value for key, value in lineage.items() if key != "model"}
    step.progress("registering", 0, None, "")
    run = tracking.open_step(step.name)
    return registry.add(evidence.model, folder, run=run, example=example, tags=tags)


def _finish(step: Step, tracking: Tracking, report: Report, predictions: bytes) -> str:
    """Keep the report with its verdict, show it in the pipeline's tracking run, and end that run."""
    files = {"report.json": report.to_json().encode(), "report.html": render(report).encode()}
    for name, content in files.items():
        (step.scratch / name).write_bytes(content)
        tracking.client.log_artifact(tracking.run, str(step.scratch / name))
    assert report.verdict is not None
    tracking.client.set_tag(tracking.run, "modelmill.verdict", report.verdict.decision)
    for name, value in report.metrics["test"].items():
        tracking.client.log_metric(tracking.run, name, value)
    tracking.client.set_terminated(tracking.run, "FINISHED")
    return save_files(step.store, "reports", {**files, "predictions.parquet": predictions}, {"kind": "report"})
