"""The resolve step as a command."""

import sys

from components.resolve.settings import ResolveSettings
from modelmill.command import Result, main
from modelmill.step import Step


def _call(step: Step, settings: ResolveSettings) -> Result:
    from components.resolve.run import run

    made = run(step, settings)
    return Result(
        outputs={
            "sources": made.sources,
            "base": made.base,
            "teacher": made.teacher,
            "before": made.before,
            "champion": made.champion,
            "champion_version": made.champion_version,
            "where": made.where,
        },
        summary=made.summary,
    )


if __name__ == "__main__":
    sys.exit(main("resolve", ResolveSettings, [], _call))
