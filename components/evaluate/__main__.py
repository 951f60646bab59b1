"""The evaluate step as a command."""

import json
import sys

from components.evaluate.settings import EvaluateSettings
from modelmill.command import Result, main
from modelmill.step import Step


def _call(step: Step, settings: EvaluateSettings, model: str, labelled: str) -> Result:
    from components.evaluate.run import run
    from modelmill.models.folder import read_files

    made = run(step, settings, model, labelled)
    files, _ = read_files(step.store, made.report)
    return Result(
        outputs={"report": made.report},
        summary=made.summary,
        artifacts={"metrics": json.dumps(made.summary), "page": files["report.html"].decode()},
    )


if __name__ == "__main__":
    sys.exit(main("evaluate", EvaluateSettings, ["model", "labelled"], _call))
