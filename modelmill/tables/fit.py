"""From a column's training values to what becomes of every value: fill, shift, scale, names."""

# N rows

from collections import Counter

import numpy as np

from modelmill.errors import UserError
from modelmill.tables.columns import Fitted, FittedCategory, FittedNumbers, Floats, Part, Where, finite, numbers_of
from modelmill.tables.settings import TableTransforms
from modelmill.tables.values import Kind, Values

# scikit-learn's bound in `_handle_zeros_in_scale`: a deviation that is rounding alone would blow noise up.
_ROUNDING = 10 * np.finfo(np.float64).eps


def column(name: str, kind: Kind, values: Values, settings: TableTransforms, where: Where) -> Fitted | None:
    """Return what is fitted for a column by its own settings; None if it has no value to learn from.

    Raises:
        UserError: a number is not finite and the settings say `fail`, or numbers are too large to be scaled.
    """
    if kind == "category":
        return _category(name, values, settings)
    assert kind != "text"
    values = finite(name, values, settings.non_finite, where, Counter())
    if values.missing.all():
        return None
    if kind == "boolean":
        share = float(values.data[~values.missing].mean())
        parts: tuple[Part, ...] = (Part(name=name, fill=float(share > 0.5), shift=0.0, scale=1.0),)
    else:
        dates = settings.dates if kind == "date" else ()
        names = [f"{name}.{part}" for part in dates] or [name]
        numbers = numbers_of(values, dates)
        parts = tuple(_part(each, raw_N, values, settings) for each, raw_N in zip(names, numbers, strict=True))
    return FittedNumbers(
        name=name,
        kind=kind,
        parts=parts,
        dates=settings.dates if kind == "date" else (),
        indicator=settings.missing_indicator and bool(values.missing.any()),
        non_finite=settings.non_finite,
    )


def _part(name: str, raw_N: Floats, values: Values, settings: TableTransforms) -> Part:
    there = raw_N[~values.missing]
    with np.errstate(over="ignore", invalid="ignore"):
        fill = _fill(there, settings)
        # The deviation is of the column as the model will see it, as in scikit-learn's pipelines.
        shift, scale = _scaling(np.where(values.missing, fill, raw_N), settings)
    if not np.isfinite([fill, shift, scale]).all():
        raise UserError(
            f"column {name!r}: its training values go up to {np.abs(there).max():g}, too large to be scaled; correct "
            f"them, set ingest.table.columns.{name}.max, or set preprocess.tables.columns.{name}.scale to none"
        )
    return Part(name=name, fill=fill, shift=shift, scale=scale)


def _fill(there: Floats, settings: TableTransforms) -> float:
    if settings.impute == "constant":
        return settings.fill
    if settings.impute == "mean":
        return float(there.mean())
    if settings.impute == "median":
        return float(np.median(there))
    # Of equally frequent ones the smallest, as scikit-learn's SimpleImputer does.
    different, counts = np.unique(there, return_counts=True)
    return float(different[counts.argmax()])


def _scaling(filled_N: Floats, settings: TableTransforms) -> tuple[float, float]:
    if settings.scale == "none":
        return 0.0, 1.0
    if settings.scale == "standard":
        shift, scale = float(filled_N.mean()), float(filled_N.std())
    elif settings.scale == "minmax":
        shift = float(filled_N.min())
        scale = float(filled_N.max()) - shift
    else:
        first, shift, third = (float(value) for value in np.quantile(filled_N, (0.25, 0.5, 0.75)))
        scale = third - first
    return shift, scale if scale > _ROUNDING * abs(shift) else 1.0


def _category(name: str, values: Values, settings: TableTransforms) -> FittedCategory | None:
    counted = Counter(values.data[~values.missing].tolist())
    if not counted:
        return None
    categories = tuple(sorted(counted))
    fill = min(categories, key=lambda each: (-counted[each], each))
    shift, scale = 0.0, 1.0
    if settings.encode == "ordinal":
        places = {each: place for place, each in enumerate(categories)}
        filled = [fill if gone else each for each, gone in zip(values.data, values.missing, strict=True)]
        shift, scale = _scaling(np.array([places[each] for each in filled], dtype=np.float64), settings)
    return FittedCategory(
        name=name,
        categories=categories,
        fill=fill,
        encode=settings.encode,
        unknown=settings.unknown,
        shift=shift,
        scale=scale,
        indicator=settings.missing_indicator and bool(values.missing.any()),
    )
