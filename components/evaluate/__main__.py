"""The evaluate step as a command."""

import json
import sys

from components.evaluate.settings import EvaluateSettings
from modelmill.command import Result, main
from modelmill.step import Step


def _call(step: Step, settings: EvaluateSettings, model: str, labelled: str, challenger: str) -> Result:
    from components.evaluate.champion import measure_champion
    from components.evaluate.run import run
    from modelmill.models.folder import read_files

    if settings.subject == "champion":
        made = measure_champion(step, settings, model, labelled, challenger)
    else:
        made = run(step, settings, model, labelled)
    page = read_files(step.store, made.report)[0]["report.html"].decode() if made.report else ""
    return Result(
        outputs={"report": made.report},
        summary=made.summary,
        artifacts={"metrics": json.dumps(made.summary), "page": page},
    )


if __name__ == "__main__":
    sys.exit(main("evaluate", EvaluateSettings, ["model", "labelled", "challenger"], _call))
