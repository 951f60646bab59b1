"""A registered model as MLflow serves it: raw input in, label and probabilities, or a number, out.

MLflow runs this file when it loads the model ("models from code"); it sits beside the model's folder as data, so that
nothing is unpickled.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

FOLDER = "model"
"""Name of the artifact that is the model's folder."""


class Served(PythonModel):  # type: ignore[misc]
    """Answers raw rows; whatever stands before the weights is part of it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights from the folder that MLflow has fetched."""
        from modelmill.models.folder import MODEL_FILE
        from modelmill.models.interface import interface
        from modelmill.models.predict import load_predictor

        folder = Path(context.artifacts[FOLDER])
        self.predictor = load_predictor(folder)
        self.interface = interface(json.loads((folder / MODEL_FILE).read_text()))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return the answers as a table, a row for each row that was given."""
        from modelmill.models.interface import answers

        predicted = self.predictor.predict(self.interface.inputs(model_input))
        return pd.DataFrame(answers(self.predictor.labels, predicted, self.interface.text))


mlflow.models.set_model(Served())
