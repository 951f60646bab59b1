"""What the notification is told."""

from collections.abc import Mapping

from modelmill.settings import Section


class NotifySettings(Section):
    """What a run was to do, and what its nodes cost."""

    recipe: str
    """Name of the recipe."""
    steps: tuple[str, ...]
    """Every step of the run, in order."""
    hourly: Mapping[str, float]
    """What a step costs an hour, on all its nodes together; without those whose price nobody said."""
    currency: str
    """Of the prices (ISO 4217)."""
    page: str = ""
    """Address of the pages of Kubeflow Pipelines for people; '' where there is none."""
