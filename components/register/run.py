"""Decides on a model and makes it a version: light, never cached, no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.register.settings import RegisterSettings
from modelmill.dataset import Dataset, open_dataset, read_made
from modelmill.errors import ModelmillError
from modelmill.evaluation.document import Data, Report
from modelmill.evaluation.judge import judge
from modelmill.evaluation.report import render
from modelmill.models.folder import fetch_model, read_files, save_files
from modelmill.registry.asking import asking
from modelmill.registry.golden import ASKED, keep_golden
from modelmill.registry.judgement import (
    APPROVAL_TAG,
    CHAMPION_TAG,
    GOLDEN_TAG,
    JUDGED_BESIDE,
    NONE,
    REPORT_TAG,
    VERDICT_TAG,
)
from modelmill.registry.promotion import Overtaken, Promotions
from modelmill.registry.versions import CHALLENGER, CHAMPION, Registry
from modelmill.registry.who import who
from modelmill.step import Step
from modelmill.tracking import Tracking, log_cached_steps
from modelmill.version import code_digest, git_commit


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
    champion_fault: str = ""
    """Why the champion could not be measured on them."""
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

    `summaries` holds the training steps' figures by step, for the report. Run again after it was cut off anywhere, it
    goes on; run again after all, it changes nothing.

    Raises:
        ModelmillError: the report is of another model, or MLflow refuses.
    """
    report = _report(step, evidence)
    tracking = Tracking.connect()
    with asking(f"registering {settings.name}"):
        log_cached_steps(tracking, settings.steps)
        registry = Registry(client=tracking.client, name=settings.name)
        lineage = _lineage(settings, evidence)
        version = registry.find(evidence.model) or _add(step, registry, tracking, evidence, lineage)
        registry.set_alias(CHALLENGER, version)
        final, address = _settle(step, registry, version, settings, _Known(report, evidence, summaries, lineage))
        _finish(step, tracking, final)
    assert final.verdict is not None
    assert final.registered is not None
    decision, aliases = final.verdict.decision, ", ".join(final.registered.aliases)
    summary = {"verdict": decision, "model": settings.name, "version": version, "aliases": aliases}
    return RegisterOutputs(verdict=decision, version=version, report=address, summary=summary)


@dataclass(frozen=True)
class _Known:
    """What a verdict is made from, and what its report tells beside it."""

    report: Report
    evidence: Evidence
    summaries: Mapping[str, dict[str, Any]]
    lineage: Mapping[str, str]


def _settle(
    step: Step, registry: Registry, version: str, settings: RegisterSettings, known: _Known
) -> tuple[Report, str]:
    """Decide beside the present champion and let a good version be it where it may; return the report and its address.

    Where another run's version was first meanwhile, this one is decided on anew, beside that one.
    """
    promotions = Promotions(registry=registry, store=step.store)
    predictions = read_files(step.store, known.evidence.report)[0]["predictions.parquet"]
    golden = _golden(step, known, predictions)
    while True:
        champion = promotions.champion()
        beside = _beside(promotions, version, champion, known.evidence)
        decided, comparison = judge(
            step.store,
            known.report,
            known.evidence.report,
            champion=beside,
            measured=known.evidence.champion,
            version=known.evidence.champion_version,
            fault=known.evidence.champion_fault,
            asked=settings.against_champion,
        )
        why = _why_champion(promotions, version, champion, settings) if decided.decision == "promote" else ""
        aliases = {*registry.aliases(version)} | ({CHAMPION} if why else set())
        final = known.report.adding(
            verdict=decided,
            comparison=comparison,
            registered={"name": settings.name, "version": version, "aliases": sorted(aliases)},
            data=_data(step, known.report, known.evidence),
            training={**known.report.training, **known.summaries},
            lineage={
                **known.lineage,
                JUDGED_BESIDE: beside or "",
                "finetune" if known.evidence.labelled else "pretrain": dict(known.report.lineage),
            },
        )
        address = _keep(step, final, predictions)
        # The report last: whoever reads it finds the others as they were with it.
        tags = {VERDICT_TAG: decided.decision, CHAMPION_TAG: beside or NONE, APPROVAL_TAG: settings.approval}
        registry.tag(version, {**tags, **({GOLDEN_TAG: golden} if golden else {}), REPORT_TAG: address})
        if not why:
            return final, address
        try:
            promotions.promote(version, who=who(), reason=why)
        except Overtaken:
            continue
        return final, address


def _beside(promotions: Promotions, version: str, champion: str | None, evidence: Evidence) -> str | None:
    """Return the champion that a version is judged beside, None for none.

    A version that this step promoted before it was cut off is judged beside the same one again.
    """
    if champion != version:
        return champion
    head = promotions.history.head()
    assert head is not None
    cut_off = head.action != "rollback" and head.from_version == evidence.champion_version
    return head.from_version if cut_off else None


def _why_champion(promotions: Promotions, version: str, champion: str | None, settings: RegisterSettings) -> str:
    """Return why a version with a good verdict becomes champion here, '' where it waits for a command."""
    if settings.approval != "none" or champion == version:
        return ""
    if champion is None:
        return "the first version that may be champion"
    # A champion that was taken back would else return with the next run of its recipe.
    was = any(entry.to_version == version for entry in promotions.history.entries())
    return "" if was or settings.promote != "by_verdict" else "its recipe promotes by verdict"


def _golden(step: Step, known: _Known, predictions: bytes) -> str:
    dataset, split = _test_rows(step, known.evidence)
    facts: dict[str, Any] = {"model": known.evidence.model, "task": known.report.task}
    if "mask_rate" in known.report.sampling:
        facts["mask_rate"] = known.report.sampling["mask_rate"]
    return keep_golden(step.store, dataset, split, predictions, facts)


def _test_rows(step: Step, evidence: Evidence) -> tuple[Dataset, str]:
    """Return the dataset and the split that the model was measured on."""
    dataset = open_dataset(step.store, evidence.labelled or evidence.corpus)
    return dataset, "test" if evidence.labelled else "validation"


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
    known = {
        **asdict(evidence),
        "champion_fault": "",
        "recipe": settings.recipe,
        "recipe_digest": settings.recipe_digest,
    }
    return {key: value for key, value in {**known, "git_commit": git_commit(), "code": code_digest()}.items() if value}


def _add(step: Step, registry: Registry, tracking: Tracking, evidence: Evidence, lineage: dict[str, str]) -> str:
    folder = step.scratch / "model"
    fetch_model(step.store, evidence.model, folder)
    dataset, split = _test_rows(step, evidence)
    columns = ASKED[dataset.meta["kind"]]
    batch = next(dataset.batches(split, columns=columns))
    row = batch.slice(0, 1).to_pylist()[0]
    example = row if len(columns) > 1 else row[columns[0]]
    # The report that counts is the one with the verdict, and is not made yet.
    lineage = {"evaluation" if key == "report" else key: value for key, value in lineage.items() if key != "model"}
    tags = {f"modelmill.{key}": value for key, value in lineage.items()}
    step.progress("registering", 0, None, "")
    run = tracking.open_step(step.name)
    return registry.add(evidence.model, folder, run=run, example=example, tags=tags)


def _keep(step: Step, report: Report, predictions: bytes) -> str:
    files = {"report.json": report.to_json().encode(), "report.html": render(report).encode()}
    return save_files(step.store, "reports", {**files, "predictions.parquet": predictions}, {"kind": "report"})


def _finish(step: Step, tracking: Tracking, report: Report) -> None:
    """Show the report with its verdict in the pipeline's tracking run, and end that run."""
    for name, content in {"report.json": report.to_json(), "report.html": render(report)}.items():
        (step.scratch / name).write_text(content)
        tracking.client.log_artifact(tracking.run, str(step.scratch / name))
    assert report.verdict is not None
    tracking.client.set_tag(tracking.run, VERDICT_TAG, report.verdict.decision)
    for name, value in report.metrics["test"].items():
        tracking.client.log_metric(tracking.run, name, value)
    tracking.client.set_terminated(tracking.run, "FINISHED")
