"""The evaluate step as a command."""

import json
import sys

from components.evaluate.settings import EvaluateSettings
from modelmill.command import Result, main
from modelmill.step import Step


def _call(step: Step, settings: EvaluateSettings, model: str, labelled: str, challenger: str) -> Result:
    from components.evaluate.champion import measure_champion
    from components.evaluate.drawn import classification_metrics
    from components.evaluate.run import run
    from modelmill.evaluation.document import Report
    from modelmill.models.folder import read_files

    if settings.subject == "champion":
        made = measure_champion(step, settings, model, labelled, challenger)
    else:
        made = run(step, settings, model, labelled)
    files = read_files(step.store, made.report)[0] if made.report else {}
    classes = classification_metrics(Report.read(files["report.json"])) if files else {}
    page = files["report.html"].decode() if files else ""
    return Result(
        outputs={"report": made.report},
        summary=made.summary,
        artifacts={"metrics": json.dumps(made.summary), "classes": json.dumps(classes), "page": page},
        metadata={"classes": classes},
    )


if __name__ == "__main__":
    sys.exit(main("evaluate", EvaluateSettings, ["model", "labelled", "challenger"], _call))
