"""Decides on a model and makes it a version: light, never cached, no torch."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from components.register.settings import RegisterSettings
from modelmill.dataset import Dataset, open_dataset, read_made
from modelmill.errors import ModelmillError
from modelmill.evaluation.document import Data, Report
from modelmill.evaluation.judge import judge
from modelmill.evaluation.report import render
from modelmill.models.folder import fetch_model, read_files, save_files
from modelmill.registry.asking import asking
from modelmill.registry.card import FILE as CARD_FILE
from modelmill.registry.card import card, description
from modelmill.registry.golden import ASKED, keep_golden
from modelmill.registry.judgement import (
    APPROVAL_TAG,
    CHAMPION_TAG,
    GOLDEN_TAG,
    JUDGED_BESIDE,
    NONE,
    REPORT_TAG,
    VERDICT_TAG,
    VERSION_TAG,
)
from modelmill.registry.promotion import Overtaken, Promotions
from modelmill.registry.versions import CHALLENGER, CHAMPION, Registry
from modelmill.registry.who import who
from modelmill.step import Step
from modelmill.tracking import CACHED_TAG, Tracking, log_cached_steps
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
    known = _Known(
        step=step,
        settings=settings,
        report=_report(step, evidence, summaries),
        evidence=evidence,
        lineage=_lineage(settings, evidence),
    )
    tracking = Tracking.connect()
    with asking(f"registering {settings.name}"):
        log_cached_steps(tracking, settings.steps)
        promotions = Promotions(registry=Registry(client=tracking.client, name=settings.name), store=step.store)
        found = promotions.registry.find(evidence.model)
        version = found or _add(known, promotions, tracking)
        promotions.registry.set_alias(CHALLENGER, version)
        final, address = _settle(known, promotions, version)
        _finish(known, tracking, final, address)
    assert final.verdict is not None
    assert final.registered is not None
    decision, aliases = final.verdict.decision, ", ".join(final.registered.aliases)
    summary = {"verdict": decision, "model": settings.name, "version": version, "aliases": aliases}
    if found and _nothing_trained(tracking, settings):
        summary["unchanged"] = f"nothing new: data and settings are those of version {version}"
        logging.getLogger(__name__).info("%s", summary["unchanged"])
    return RegisterOutputs(verdict=decision, version=version, report=address, summary=summary)


def _nothing_trained(tracking: Tracking, settings: RegisterSettings) -> bool:
    """Return whether this run's model came from the cache."""
    trained = tracking.find_step("finetune" if "finetune" in settings.steps else "pretrain")
    return trained is not None and trained.data.tags.get(CACHED_TAG) == "true"


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a verdict is made from, and what its report tells beside it."""

    step: Step
    settings: RegisterSettings
    report: Report
    evidence: Evidence
    lineage: Mapping[str, str]
    decided: dict[str | None, Report] = field(default_factory=dict)
    """The report with the verdict, by the champion that it was given beside."""

    def beside(self, champion: str | None) -> Report:
        """Return the report with a verdict beside a champion, decided once: to compare takes seconds."""
        if champion not in self.decided:
            evidence = self.evidence
            verdict, comparison = judge(
                self.step.store,
                self.report,
                evidence.report,
                champion=champion,
                measured=evidence.champion,
                version=evidence.champion_version,
                fault=evidence.champion_fault,
                asked=self.settings.against_champion,
            )
            made_of = {"finetune" if evidence.labelled else "pretrain": dict(self.report.lineage)}
            lineage = {**self.lineage, JUDGED_BESIDE: champion or "", **made_of}
            self.decided[champion] = self.report.adding(verdict=verdict, comparison=comparison, lineage=lineage)
        return self.decided[champion]

    def card(self, report: Report) -> str:
        """Return the model card of a report."""
        facts = self.step.store.get_addressed(self.evidence.model)["meta"]
        return card(report, facts, self.settings.name)


def _settle(known: _Known, promotions: Promotions, version: str) -> tuple[Report, str]:
    """Decide beside the present champion and let a good version be it where it may; return the report and its address.

    Where another run's version was first meanwhile, this one is decided on anew, beside that one.
    """
    registry, settings = promotions.registry, known.settings
    predictions = read_files(known.step.store, known.evidence.report)[0]["predictions.parquet"]
    golden = _golden(known, predictions)
    while True:
        champion = promotions.champion()
        beside = _beside(promotions, version, champion, known.evidence)
        judged = known.beside(beside)
        assert judged.verdict is not None
        decision = judged.verdict.decision
        why = _why_champion(promotions, version, champion, settings) if decision == "promote" else ""
        aliases = {*registry.aliases(version)} | ({CHAMPION} if why else set())
        final = judged.adding(registered={"name": settings.name, "version": version, "aliases": sorted(aliases)})
        address = _keep(known, final, predictions)
        registry.describe(version, description(final))
        # The report last: whoever reads it finds the others as they were with it.
        tags = {VERDICT_TAG: decision, CHAMPION_TAG: beside or NONE, APPROVAL_TAG: settings.approval}
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


def _golden(known: _Known, predictions: bytes) -> str:
    dataset, split = _test_rows(known.step, known.evidence)
    facts: dict[str, Any] = {"model": known.evidence.model, "task": known.report.task}
    if "mask_rate" in known.report.sampling:
        facts["mask_rate"] = known.report.sampling["mask_rate"]
    return keep_golden(known.step.store, dataset, split, predictions, facts)


def _test_rows(step: Step, evidence: Evidence) -> tuple[Dataset, str]:
    """Return the dataset and the split that the model was measured on."""
    dataset = open_dataset(step.store, evidence.labelled or evidence.corpus)
    return dataset, "test" if evidence.labelled else "validation"


def _report(step: Step, evidence: Evidence, summaries: Mapping[str, dict[str, Any]]) -> Report:
    report = Report.read(read_files(step.store, evidence.report)[0]["report.json"])
    if report.model != evidence.model:
        raise ModelmillError(f"{evidence.report}: measures {report.model}, and {evidence.model} is to be registered")
    if evidence.comparison:
        other = Report.read(read_files(step.store, evidence.comparison)[0]["report.json"])
        report = report.adding(comparisons={"from_scratch": {**other.metrics["test"]}})
    return report.adding(data=_data(step, report, evidence), training={**report.training, **summaries})


def _data(step: Step, report: Report, evidence: Evidence) -> Data | None:
    if report.data is None:
        return None
    addresses = {"labelled": evidence.made_labelled, "corpus": evidence.made_corpus}
    made = {name: read_made(step.store, address) for name, address in addresses.items() if address}
    licences = {uri: licence for one in made.values() for uri, licence in one.get("licences", {}).items()}
    return report.data.with_ledgers(licences, **{name: one["ledger"] for name, one in made.items()})


def _lineage(settings: RegisterSettings, evidence: Evidence) -> dict[str, str]:
    known = {
        **asdict(evidence),
        "champion_fault": "",
        "recipe": settings.recipe,
        "recipe_digest": settings.recipe_digest,
    }
    return {key: value for key, value in {**known, "git_commit": git_commit(), "code": code_digest()}.items() if value}


def _add(known: _Known, promotions: Promotions, tracking: Tracking) -> str:
    step, evidence = known.step, known.evidence
    folder = step.scratch / "model"
    fetch_model(step.store, evidence.model, folder)
    dataset, split = _test_rows(step, evidence)
    columns = ASKED[dataset.meta["kind"]]
    batch = next(dataset.batches(split, columns=columns))
    row = batch.slice(0, 1).to_pylist()[0]
    example = row if len(columns) > 1 else row[columns[0]]
    # The report that counts is the one with the verdict, and is not made yet.
    named = {"evaluation" if key == "report" else key: value for key, value in known.lineage.items() if key != "model"}
    tags = {f"modelmill.{key}": value for key, value in named.items()}
    step.progress("registering", 0, None, "")
    run, files = tracking.open_step(step.name), {CARD_FILE: known.card(known.beside(promotions.champion()))}
    return promotions.registry.add(evidence.model, folder, run=run, example=example, tags=tags, files=files)


def _shown(known: _Known, report: Report) -> dict[str, str]:
    """Return what people read of a report, by file."""
    return {"report.json": report.to_json(), "report.html": render(report), CARD_FILE: known.card(report)}


def _keep(known: _Known, report: Report, predictions: bytes) -> str:
    files = {name: text.encode() for name, text in _shown(known, report).items()}
    return save_files(known.step.store, "reports", {**files, "predictions.parquet": predictions}, {"kind": "report"})


def _finish(known: _Known, tracking: Tracking, report: Report, address: str) -> None:
    """Show the report with its verdict in the pipeline's tracking run, and end that run."""
    for name, content in _shown(known, report).items():
        (known.step.scratch / name).write_text(content)
        tracking.client.log_artifact(tracking.run, str(known.step.scratch / name))
    assert report.verdict is not None
    assert report.registered is not None
    told = {VERDICT_TAG: report.verdict.decision, VERSION_TAG: report.registered.version, REPORT_TAG: address}
    for tag, text in told.items():
        tracking.client.set_tag(tracking.run, tag, text)
    for name, value in report.metrics["test"].items():
        tracking.client.log_metric(tracking.run, name, value)
    tracking.client.set_terminated(tracking.run, "FINISHED")
