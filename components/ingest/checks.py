"""What the kept rows must be good for, checked before any of them is stored."""

from collections.abc import Sequence

from components.ingest.labels import MAX_CLASSES, in_order
from components.ingest.settings import Ingest
from components.ingest.sort import Sorted
from components.ingest.source_settings import Source
from components.ingest.splits import SPLITS
from modelmill.errors import UserError
from modelmill.ledger import Ledger
from modelmill.text import clean

_SHOWN_CLASSES = 5


def check_corpus(settings: Ingest, ledger: Ledger, rows: Sorted) -> None:
    """Refuse a corpus that cannot be split.

    Raises:
        UserError: fewer than two rows are kept.
    """
    place = _place("corpus", settings.corpus_sources or settings.labelled)
    if not rows.corpus_rows:
        raise UserError(f"{place}: {_account(ledger)}; {_way_out(settings, ledger)}")
    if rows.corpus_rows < 2:
        raise UserError(f"{place}: {_account(ledger)}, and training and validation need 2 at least; bring more texts")


def check_labelled(settings: Ingest, ledger: Ledger, rows: Sorted) -> None:
    """Refuse labelled rows that cannot be split.

    Raises:
        UserError: no row is kept, or a split came out empty.
    """
    place = _place("labelled", settings.labelled)
    _check_rows(settings, place, ledger, rows)
    _check_splits(settings, place, ledger, rows)


def labels_of(settings: Ingest, ledger: Ledger, rows: Sorted) -> list[str]:
    """Return the names of the classes in order.

    Raises:
        UserError: no row is kept, there are too few or too many classes, or a split came out empty.
    """
    place = _place("labelled", settings.labelled)
    _check_rows(settings, place, ledger, rows)
    found = {label for _, label in rows.classes}
    key, column = "columns.label", settings.labelled[0].columns.label
    if settings.table is not None:
        key, column = "table.target", settings.table.target
    if len(found) < 2:
        raise UserError(
            f"{place}: 1 class ({found.pop()!r}) in column {column!r}, and a classifier needs 2 at least; "
            f"{_account(ledger)}; correct {key} or the label rule"
        )
    if settings.label is None and len(found) > MAX_CLASSES:
        shown = ", ".join(map(repr, in_order(found)[:_SHOWN_CLASSES]))
        raise UserError(
            f"{place}: {len(found)} classes in column {column!r} ({shown}, …), more than {MAX_CLASSES}; "
            f"if these are numbers give label.bins, if texts correct {key}"
        )
    _check_splits(settings, place, ledger, rows)
    if settings.label is None:
        return in_order(found)
    if settings.label.classes is not None:
        return [clean(name) for name in settings.label.classes]
    return [name for name, _, _ in settings.label.ordered_bins]


def _check_rows(settings: Ingest, place: str, ledger: Ledger, rows: Sorted) -> None:
    if not rows.classes:
        raise UserError(f"{place}: {_account(ledger)}; {_way_out(settings, ledger)}")


def _check_splits(settings: Ingest, place: str, ledger: Ledger, rows: Sorted) -> None:
    for split in SPLITS:
        share = getattr(settings.split, split)
        count = sum(number for (each, _), number in rows.classes.items() if each == split)
        if share and not count:
            total = rows.classes.total()
            raise UserError(
                f"{place}: 0 of {total} rows fell into {split} (ingest.split.{split}: {share:g}); "
                f"{_account(ledger)}; bring more rows or change the shares"
            )


def _place(key: str, sources: Sequence[Source]) -> str:
    uris = [source.uri for source in sources]
    return f"ingest.{key}: {uris[0]}" if len(uris) == 1 else f"ingest.{key} ({len(uris)} sources: {uris[0]}, …)"


def _account(ledger: Ledger) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in ledger.dropped.most_common())
    return f"{ledger.kept} of {ledger.read} rows kept" + (f" ({reasons})" if reasons else "")


def _way_out(settings: Ingest, ledger: Ledger) -> str:
    if not ledger.read:
        return "the files hold no rows; correct the source, or skip_rows"
    reason = ledger.dropped.most_common(1)[0][0]
    ways = {
        "empty": "correct columns.text",
        "too_short": f"lower ingest.min_chars ({settings.min_chars}) or correct columns.text",
        "label_conflict": "equal texts have different labels; mend the label column or correct columns.label",
        "neutral": "widen ingest.label.bins or correct columns.label",
        "missing_target": "correct table.target, or what table.missing_values says of it",
        "out_of_range": "correct min and max of table.columns, or set table.out_of_range to clip or keep",
        "missing_value": "set table.missing to keep, or mend the file",
        "near_duplicate": "the texts are nearly the same; set ingest.near_duplicates.action: keep, or bring other ones",
        "held_out": "the texts are those of validation and test; bring other ones",
    }
    return ways.get(reason, "correct columns and format, or mend the file")
