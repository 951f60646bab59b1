"""From what stands in a column to values: a text that is a number, a truth value or a date, whole columns at once.

Every function returns an array as long as the one it was given, null where there is no such value.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelmill.errors import UserError

# Eighteen digits always fit into 64 bits; what is longer is a number, if anything.
_INTEGER = r"^[+-]?0*[0-9]{1,18}$"
_LONGER = 10**18
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity)$"
# 007 and 02134 name something; as a number they would lose their zeros.
_CODE = r"^[+-]?0[0-9]"
# ISO 8601, with the blank instead of T that databases write.
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"
_TRUE = pa.array(["true", "yes"])
_FALSE = pa.array(["false", "no"])
_MOMENT = pa.timestamp("us")
_TRIED = 8
# Beyond it a float64 skips integers, and would pass for one that was not written.
_EXACT = 2.0**53


def cells(name: str, column: Any, missing: Sequence[str]) -> Any:
    """Return a column as texts without white space around them, int64, float64, bool or timestamp[us]; missing is null.

    Missing is a null, NaN, or what `missing` lists; there a number stands for itself in a column of numbers too.

    Raises:
        UserError: the column holds something else, such as lists.
    """
    array = _one(column)
    kind = array.type
    if _is_text(kind):
        texts = pc.utf8_trim_whitespace(array.cast(pa.large_string()))
        return _without(texts, pc.is_in(texts, pa.array(missing, pa.large_string())))
    if pa.types.is_boolean(kind):
        return array
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _moments(array)
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return _without_markers(array.cast(pa.int64()), missing)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or kind == pa.uint64():
        numbers = array.cast(pa.float64(), safe=False)
        return _without_markers(_without(numbers, pc.is_nan(numbers)), missing)
    if pa.types.is_null(kind):
        return array.cast(pa.large_string())
    raise UserError(f"column {name!r} holds {kind}, which is no value of a table; name it in ignore, or flatten it")


def integers(values: Any) -> Any:
    """Return cells as int64, of 18 digits at most where they are texts; 3.0 is the integer 3, a truth value is none."""
    if values.type == pa.int64():
        return values
    if values.type == pa.large_string():
        whole = whole_numbers(values)
        if whole.null_count == values.null_count:
            return whole
        return pc.coalesce(whole, integers(numbers(values)))
    if values.type == pa.float64():
        inside = pc.less_equal(pc.abs(values), _EXACT)
        return _only(values, pc.and_(inside, pc.equal(values, pc.trunc(values)))).cast(pa.int64())
    return pa.nulls(len(values), pa.int64())


def whole_numbers(texts: Any) -> Any:
    """Return texts that are written as integers, without a point, as int64."""
    whole = _cast(texts, pa.int64())
    if whole is not None and not _arrows_own(texts, whole):
        return whole
    digits = _only(texts, pc.match_substring_regex(texts, _INTEGER))
    return pc.utf8_ltrim(digits, "+").cast(pa.int64())


def _arrows_own(texts: Any, whole: Any) -> bool:
    """Return whether there are integers that only Arrow takes for one: 0x1F, and those of nineteen digits that fit."""
    extremes = pc.min_max(whole).as_py().values()
    if any(value is not None and abs(value) >= _LONGER for value in extremes):
        return True
    return any(pc.any(pc.match_substring(texts, letter)).as_py() for letter in "xX")


def numbers(values: Any) -> Any:
    """Return cells as float64, which may be infinite and are never NaN."""
    if values.type == pa.large_string():
        found = _cast(values, pa.float64())
        if found is None:
            found = _only(values, pc.match_substring_regex(values, _NUMBER)).cast(pa.float64())
        return _without(found, pc.is_nan(found))
    if values.type in {pa.int64(), pa.float64()}:
        return values.cast(pa.float64(), safe=False)
    return pa.nulls(len(values), pa.float64())


def codes(texts: Any) -> Any:
    """Return which texts look like numbers but begin with a zero too many, such as 007: they name something."""
    return pc.match_substring_regex(texts, _CODE)


def words(texts: Any) -> Any:
    """Return true, false, yes and no, in capitals or not, as bool."""
    lowered = pc.utf8_lower(texts).cast(pa.string())
    return _only(pc.is_in(lowered, _TRUE), pc.or_(pc.is_in(lowered, _TRUE), pc.is_in(lowered, _FALSE)))


def booleans(values: Any) -> Any:
    """Return cells as bool; 1 and 0 are true and false as well."""
    if values.type == pa.bool_():
        return values
    if values.type == _MOMENT:
        return pa.nulls(len(values), pa.bool_())
    found = numbers(values)
    digits = _only(pc.equal(found, 1.0), pc.or_(pc.equal(found, 1.0), pc.equal(found, 0.0)))
    return pc.coalesce(digits, words(values)) if values.type == pa.large_string() else digits


def dates(values: Any) -> Any:
    """Return cells as timestamp[us]: ISO 8601, in UTC where a zone is given and as they stand where none is."""
    if values.type == _MOMENT:
        return values
    if values.type != pa.large_string():
        return pa.nulls(len(values), _MOMENT)
    found = _cast(values, _MOMENT)
    if found is not None:
        return found
    likely = _only(values, pc.match_substring_regex(values, _DATE))
    if likely.null_count == len(likely):
        return likely.cast(_MOMENT)
    # A zone, or a day that no calendar has: one by one, but each text once.
    coded = likely.dictionary_encode()
    return pa.array(list(map(_moment, coded.dictionary.to_pylist())), _MOMENT).take(coded.indices)


def texts(values: Any) -> Any:
    """Return cells as text; the float 1.0 and the integer 1 are the same text."""
    return values if values.type == pa.large_string() else values.cast(pa.large_string())


def _cast(texts: Any, kind: Any) -> Any:
    """Return texts as values of a type, None if any of them is none by Arrow's rules."""
    try:
        # A cast that fails takes twenty times as long as one that does not: a few values tell of most columns.
        texts.slice(0, _TRIED).cast(kind)
        return texts.cast(kind)
    except pa.ArrowInvalid:
        return None


def _one(column: Any) -> Any:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _moments(array: Any) -> Any:
    if getattr(array.type, "tz", None) is not None:
        array = array.cast(pa.timestamp(array.type.unit, "UTC"))
    return array.cast(_MOMENT, safe=False)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _without_markers(values: Any, missing: Sequence[str]) -> Any:
    marks = numbers(pa.array(missing, pa.large_string())).drop_null()
    if not len(marks):
        return values
    return _without(values, pc.is_in(values.cast(pa.float64(), safe=False), marks))


def _only(values: Any, mask: Any) -> Any:
    return pc.if_else(mask, values, pa.scalar(None, values.type))


def _without(values: Any, mask: Any) -> Any:
    # A column without the marker, the usual one, is not copied.
    if not pc.any(mask).as_py():
        return values
    return pc.if_else(mask, pa.scalar(None, values.type), values)
