"""What a recipe may say about a table: its columns, what is missing, what is out of range, and what may move."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from modelmill.settings import Section

Kind = Literal["number", "integer", "category", "boolean", "text", "date"]
"""What a column holds: what is counted and measured, one of a few names, true or false, free text, a point in time."""
Missing = Literal["keep", "drop_row", "fail"]
OutOfRange = Literal["drop", "clip", "fail", "keep"]
Outliers = Literal["keep", "flag", "drop"]

NUMERIC: frozenset[Kind] = frozenset({"number", "integer"})
"""The kinds that have a range and a distribution over it."""


def _as_text(value: Any) -> Any:
    # YAML reads 1 as a number and null as nothing; both are meant as they would stand in the file.
    if value is None:
        return "null"
    return str(value) if type(value) in {int, float} else value


Cell = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int | float | None)]
"""A value as it stands in a file, without white space around it."""


class Column(Section):
    """What is known about one column; what is left out is inferred from the data."""

    kind: Kind | None = None
    """What it holds."""
    min: float | None = None
    """The smallest value that can be right, in the column's own unit. For numbers and integers."""
    max: float | None = None
    """The largest value that can be right. For numbers and integers."""
    categories: list[Cell] | None = Field(default=None, min_length=1)
    """The only names that it may hold; a row with another one is rejected. Makes it a category."""
    nullable: bool | None = None
    """Whether a value may be missing; false rejects the row."""
    missing_values: list[Cell] | None = None
    """What stands for a missing value here, instead of the table's own list."""
    missing: Missing | None = None
    """What becomes of a row without a value here, instead of the table's own rule."""
    out_of_range: OutOfRange | None = None
    """What becomes of a value outside min and max, instead of the table's own rule."""

    @property
    def known_kind(self) -> Kind | None:
        """The kind, where the settings tell it."""
        return "category" if self.categories is not None else self.kind

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        bounds = self.min is not None or self.max is not None
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g}); no value could be right")
        if bounds and (self.categories is not None or (self.kind is not None and self.kind not in NUMERIC)):
            raise ValueError(f"min and max are for numbers and integers, and the kind is {self.known_kind}")
        if self.categories is not None and self.kind not in {None, "category"}:
            raise ValueError(f"categories are for kind category, and the kind is {self.kind}; leave one of them out")
        if self.categories is not None and len(set(self.categories)) < len(self.categories):
            double = next(name for name in self.categories if self.categories.count(name) > 1)
            raise ValueError(f"categories name {double!r} {self.categories.count(double)} times; once is enough")
        if self.out_of_range is not None and not bounds:
            raise ValueError("out_of_range is for a column with min or max, and there is neither; give one")
        if self.nullable is False and self.missing == "keep":
            raise ValueError("missing is keep and nullable is false; leave one of them out")
        return self


class Drift(Section):
    """How far a table may move from the one that was accepted before."""

    action: Literal["off", "warn", "fail"] = "warn"
    """What becomes of a run whose table has moved: nothing, a warning, or a failure before anything is stored."""
    # Between the 0.10 and 0.25 of the rule of thumb that Yurdakul and Naranjo report (Statistical properties of the
    # population stability index, Journal of Risk Model Validation 14, 2020): a moderate change and a significant one.
    psi: float = Field(default=0.2, gt=0)
    """Population stability index of one column's distribution that is still accepted."""
    missing: float = Field(default=0.02, ge=0, le=1)
    """Change of a column's share of missing values that is still accepted."""
    range: float = Field(default=0.5, ge=0)
    """How far a number may lie beyond the former smallest or largest one, as a share of the former range."""
    new_categories: float = Field(default=0.0, ge=0, le=1)
    """Share of a column's values that may be in categories that were not there before."""


class Table(Section):
    """A table of features and a target, a row per example."""

    target: str = Field(min_length=1)
    """The column to be predicted."""
    columns: dict[str, Column] = Field(default_factory=dict)
    """What is known about columns, by name; all others are inferred."""
    ignore: list[str] = Field(default_factory=list)
    """Columns that are not read."""
    group: str | None = None
    """The column whose equal values never part between two splits, such as a patient; it is no feature."""
    time: str | None = None
    """The column with the time of each row, a date or a number; for `split.by: time`. It is no feature."""
    missing_values: list[Cell] = Field(default=["", "NA", "N/A", "NaN", "nan", "null", "None", "?"])
    """What stands for a missing value, as written there."""
    missing: Missing = "keep"
    """What becomes of a row in which a feature is missing. A row without a target is always rejected."""
    out_of_range: OutOfRange = "drop"
    """What becomes of a value outside the column's min and max; of a target outside them, `clip` drops the row."""
    outliers: Outliers = "keep"
    """What becomes of a row with a feature far outside the others, by Tukey's outer fences."""
    # Tukey, Exploratory Data Analysis (1977), section 2D: "far out" is beyond three times the spread of the hinges.
    fences: float = Field(default=3.0, gt=0)
    """An outlier lies this many interquartile ranges below the first or above the third quartile."""
    constant: Literal["drop", "keep"] = "drop"
    """What becomes of a column that says the same in every row, and is not described in `columns`."""
    leaks: Literal["fail", "warn", "keep"] = "fail"
    """What becomes of a run in which a feature tells the target."""
    drift: Drift = Drift()
    """How far the table may move from one run to the next."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for ignored in self.ignore:
            if ignored == self.target:
                raise ValueError(f"ignore names the target {ignored!r}; leave it out there")
            if ignored in self.columns:
                said = "is described in columns and named in ignore; leave one of them out"
                raise ValueError(f"column {ignored!r} {said}")
        roles = {"group": self.group, "time": self.time}
        for role, name in roles.items():
            if name == self.target:
                raise ValueError(f"{role} and target are the same column {name!r}; a {role} is another column")
            if name is not None and name in self.ignore:
                raise ValueError(f"ignore names the {role} {name!r}, which is read but no feature; leave it out there")
        return self

    def column(self, name: str) -> Column:
        """Return what is known about a column."""
        return self.columns.get(name, Column())

    def missing_cells(self, name: str) -> list[str]:
        """Return what stands for a missing value in a column."""
        own = self.column(name).missing_values
        return self.missing_values if own is None else own
