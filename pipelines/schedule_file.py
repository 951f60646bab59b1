"""A schedule's file: which recipe is run again when; read and checked like recipes and profiles."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from modelmill.errors import UserError
from modelmill.profile import seconds_of
from modelmill.quantities import Duration, Label
from modelmill.settings import Section
from modelmill.sources import nearest
from pipelines.cluster.cron import Cron, parse
from pipelines.document import read
from pipelines.messages import messages
from pipelines.recipe import Recipe
from pipelines.recipe_file import load as load_recipe
from pipelines.steps import Stage


class Schedule(Section):
    """A recipe that a cluster runs again and again."""

    version: Literal[1] = 1
    """Version of this format."""
    name: Label
    """Of the schedule, its own in a namespace: lower-case letters, digits and '-'."""
    recipe: str
    """Path of the recipe; a relative one counts from this file."""
    overrides: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Settings of the recipe by their keys, as in `finetune.epochs: 1`."""
    until: Stage = "register"
    """Last stage of each run."""
    cron: str | None = None
    """Minute, hour, day of the month, month, day of the week, as in `30 2 * * mon-fri`; or a name such as `@daily`."""
    interval: Duration | None = None
    """Time from one run to the next, as in `12h`, instead of `cron`."""
    time_zone: str = "UTC"
    """Whose clock `cron` means, and a `start` or `end` without an offset: a name such as `Europe/Berlin`."""
    start: datetime | None = None
    """No run is due before it."""
    end: datetime | None = None
    """No run is due after it."""
    catch_up: bool = False
    """Whether runs that were missed, while the schedule was disabled or the cluster down, are all made up for."""
    concurrency: int = Field(default=1, ge=1, le=10)
    """Runs of the schedule that may go on at once; one that is due while so many do waits."""
    enabled: bool = True
    """Whether runs are started."""
    warm_start: bool = False
    """Whether training on new data starts from the champion, where there is one, instead of from the recipe's base."""

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None:
            parse(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            hint = nearest(value, available_timezones()) or "; write a name such as UTC or Europe/Berlin"
            raise ValueError(f"{value!r} is no time zone{hint}") from None
        return value

    @model_validator(mode="after")
    def _has_one_trigger(self) -> Self:
        if (self.cron is None) == (self.interval is None):
            both = "both cron and interval" if self.cron is not None else "neither cron nor interval"
            raise ValueError(f"{both}; say one of them")
        if self.interval is not None and seconds_of(self.interval) < 60:
            raise ValueError(f"interval {self.interval}: a run has more to start than that; at least 1m")
        start, end = self.moment(self.start), self.moment(self.end)
        if start is not None and end is not None and start >= end:
            raise ValueError(f"start {start.isoformat()} must be before end {end.isoformat()}")
        return self

    def moment(self, said: datetime | None) -> datetime | None:
        """Return a moment that the file says, in its time zone where it says no offset."""
        return said.replace(tzinfo=ZoneInfo(self.time_zone)) if said is not None and said.tzinfo is None else said

    @property
    def parsed(self) -> Cron | None:
        """The cron, None where there is an interval."""
        return parse(self.cron) if self.cron is not None else None

    def settings(self) -> list[str]:
        """Return the overrides as the command line takes them."""
        said = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in self.overrides.items()]
        return [*said, "warm_start=true"] if self.warm_start else said


def load(path: Path) -> list[tuple[Schedule, Recipe]]:
    """Read and check a schedule, or every one in a folder, each with its recipe; sorted by name.

    Raises:
        UserError: with every error that was found, a line each: file, line, key, what is wrong.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder of schedules")
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path}: 0 schedules (*.yaml) in this folder; name one that holds some")
    wrong: list[str] = []
    found: list[tuple[Schedule, Recipe]] = []
    named: dict[str, Path] = {}
    for file in files:
        try:
            schedule, recipe = _read(file)
        except UserError as error:
            wrong.append(str(error))
            continue
        if schedule.name in named:
            wrong.append(f"{file}: name: {named[schedule.name]} has the name {schedule.name!r} already")
        named.setdefault(schedule.name, file)
        found.append((schedule, recipe))
    if wrong:
        raise UserError("\n".join(wrong))
    return sorted(found, key=lambda one: one[0].name)


def _read(file: Path) -> tuple[Schedule, Recipe]:
    document = read(file)
    try:
        schedule = Schedule.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise UserError("\n".join(messages(Schedule, document, error))) from error
    path = file.parent / Path(schedule.recipe).expanduser()
    if not path.is_file():
        raise UserError(f"{document.place(('recipe',))}: recipe: there is no recipe {path}")
    try:
        return schedule, load_recipe(path, schedule.settings(), look=True)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a schedule's file, for editors."""
    made = Schedule.model_json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "modelmill schedule"
    return made
