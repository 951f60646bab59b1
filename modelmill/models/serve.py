"""A registered model as MLflow serves it: raw input in, label and probabilities, or a number, out.

MLflow runs this file when it loads the model ("models from code"); it sits beside the model's folder as data, so that
nothing is unpickled. Beside it, in `code`, is this library as it was when the version was made, as one archive.
"""

import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

FOLDER = "model"
"""Name of the artifact that is the model's folder."""
_CODE = Path(__file__).parent / "code"


class Served(PythonModel):  # type: ignore[misc]
    """Answers raw rows; whatever stands before the weights is part of it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights from the folder that MLflow has fetched."""
        # As MLflow does with the folder of the archive: before what is installed.
        sys.path[:0] = [str(archive) for archive in _CODE.glob("*.zip")]
        from modelmill.models.server import Answering

        self.answering = Answering(Path(context.artifacts[FOLDER]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return the answers as a table, a row for each row that was given."""
        return self.answering.predict(model_input)


mlflow.models.set_model(Served())
