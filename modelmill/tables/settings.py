"""What a recipe may say about how a table's columns become numbers."""

from typing import Literal

from pydantic import Field

from modelmill.settings import Section

Impute = Literal["median", "mean", "most_frequent", "constant"]
Scaling = Literal["standard", "minmax", "robust", "none"]
Encoding = Literal["one_hot", "ordinal"]
Unknown = Literal["ignore", "most_frequent", "fail"]
NonFinite = Literal["fail", "impute"]
DatePart = Literal["days", "year", "month", "day", "weekday", "hour"]


class ColumnTransform(Section):
    """What is done with one column otherwise than with the others; what is left out is done as with them."""

    impute: Impute | None = None
    """What takes the place of a missing number."""
    fill: float | None = None
    """The number of `impute: constant`."""
    scale: Scaling | None = None
    """How its numbers are brought to a common size."""
    encode: Encoding | None = None
    """How its names become numbers."""


class TableTransforms(Section):
    """How the columns of a table become a vector of numbers; all figures are of the training rows alone.

    Free text is left out, and counted. A truth value becomes 0 or 1. A missing name or truth value is the most frequent
    one of the training rows.
    """

    impute: Impute = "median"
    """What takes the place of a missing number, and of a missing date's numbers."""
    fill: float = 0.0
    """The number of `impute: constant`."""
    missing_indicator: bool = True
    """Whether a column that lacks values in the training rows gets a second number: 1 where one is missing, else 0."""
    scale: Scaling = "standard"
    """`standard`: mean 0 and deviation 1; `minmax`: from 0 to 1; `robust`: median 0 and quartiles 1 apart; `none`."""
    encode: Encoding = "one_hot"
    """`one_hot`: a number for each name, 1 at its own; `ordinal`: the name's place in the alphabet, scaled."""
    unknown: Unknown = "ignore"
    """A name that no training row has: `ignore` gives 0 for every name (`ordinal`: place -1), `most_frequent` takes
    that name, `fail` refuses the row."""
    dates: tuple[DatePart, ...] = Field(default=("days",), min_length=1)
    """The numbers that a date becomes: `days` since 1970, `year`, `month`, `day`, `weekday` (Monday is 0), `hour`."""
    non_finite: NonFinite = "fail"
    """A number that is infinite or NaN: `fail` refuses the row, `impute` takes it for a missing one and counts it."""
    columns: dict[str, ColumnTransform] = Field(default_factory=dict)
    """Columns that are treated otherwise, by name."""

    def column(self, name: str) -> "TableTransforms":
        """Return what holds for one column."""
        own = self.columns.get(name, ColumnTransform())
        changes = {key: value for key, value in own.model_dump().items() if value is not None}
        return self.model_copy(update=changes)
