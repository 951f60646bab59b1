"""The verdict on a model from reports in the store: its own, and the champion's on the same rows."""

import io

import pyarrow.parquet as pq

from modelmill.evaluation.compare import Measured, NotComparable, compare
from modelmill.evaluation.comparison import AgainstChampion, Comparison
from modelmill.evaluation.document import Report
from modelmill.evaluation.verdict import Verdict, verdict
from modelmill.models.folder import read_files
from modelmill.store import Store

_NOT_COMPARED = "the two models have not been compared on the same rows"


def judge(
    store: Store,
    report: Report,
    own: str,
    *,
    champion: str | None,
    measured: str = "",
    version: str = "",
    fault: str = "",
    asked: AgainstChampion | None = None,
) -> tuple[Verdict, Comparison | None]:
    """Decide on the model of a report, whose predictions lie at the address `own`.

    `champion` is the version in use now, None where there is none or it is this model; `measured` the address of the
    report on version `version` on the same rows, '' where there is none, and `fault` why not.

    Raises:
        ModelmillError: the tables of predictions are not of the same rows, though the reports say so.
    """
    rows, labels = report.test_rows, report.per_class
    if champion is None:
        return verdict(report.checks, None, rows=rows, labels=labels), None
    named, comparison, why_not = f"version {champion}", None, ""
    if not measured:
        why_not = f"it could not be measured on these rows: {fault}" if fault else _NOT_COMPARED
    elif version != champion:
        why_not = f"it became champion while this model was compared with version {version}; run once more"
    else:
        try:
            comparison = compare(read(store, measured), _of(store, report, own), asked or AgainstChampion(), champion)
        except NotComparable as error:
            why_not = f"the two models cannot be compared: {error}"
    decided = verdict(report.checks, named, rows=rows, labels=labels, comparison=comparison, why_not=why_not)
    return decided, comparison


def read(store: Store, address: str) -> Measured:
    """Return a report and its predictions from the store.

    Raises:
        NotFound: the store holds nothing there.
        ModelmillError: it is no report, or a byte changed.
    """
    files, _ = read_files(store, address)
    return Measured(
        report=Report.read(files["report.json"]), table=pq.read_table(io.BytesIO(files["predictions.parquet"]))
    )


def _of(store: Store, report: Report, address: str) -> Measured:
    files, _ = read_files(store, address)
    return Measured(report=report, table=pq.read_table(io.BytesIO(files["predictions.parquet"])))
