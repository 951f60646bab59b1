"""What retention is told: what stays in any case, and whether anything goes."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from modelmill.profile import seconds_of
from modelmill.settings import Section

SAFE_SECONDS = 86400
"""Steps keep what they read younger than this; see `modelmill.store.use`."""
# A server refuses requests that are off by more than this (Amazon S3, RequestTimeTooSkewed): so much may the clocks of
# one place differ.
SKEW_SECONDS = 900
ANY = "*"


class RetentionSettings(Section):
    """Removes from the store what nothing needs any more."""

    keep_versions: Annotated[int, Field(ge=1)] = 5
    """Versions of every registered model that stay, the newest ones."""
    min_age: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,5})[smhd]$")] = "7d"
    """What is younger stays, as in `12h` or `7d`: longer than any step takes."""
    idle: bool = False
    """Whether nothing runs on this store; else `min_age` is a day at the least."""
    deleted: tuple[str, ...] = ()
    """Registered models that were deleted from MLflow on purpose, though the store knows of them; `*` for any."""
    apply: bool = False
    """Whether things are removed; else they are only counted."""

    @model_validator(mode="after")
    def _leaves_what_runs(self) -> Self:
        if not self.idle and self.min_age_seconds < SAFE_SECONDS:
            raise ValueError(
                f"min_age is {self.min_age}, and a step that runs now may read what is up to 1d old: give 1d or more, "
                "or --idle if nothing runs on this store"
            )
        return self

    @property
    def min_age_seconds(self) -> int:
        """The least age in seconds."""
        return seconds_of(self.min_age)

    @property
    def min_age_on_any_clock(self) -> int:
        """The same, and what clocks may differ by where other machines are at work."""
        return self.min_age_seconds + (0 if self.idle else SKEW_SECONDS)
