"""A registered text classifier as MLflow serves it: raw text in, label and probabilities out.

MLflow runs this file when it loads the model ("models from code"); it sits beside the model's folder as data, so that
nothing is unpickled.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

FOLDER = "model"
"""Name of the artifact that is the model's folder."""
TEXT = "text"
"""Name of the input column."""


class TextClassifier(PythonModel):  # type: ignore[misc]
    """Labels texts; the tokenizer and the cleaning are part of it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights from the folder that MLflow has fetched."""
        from modelmill.models.predict import load_predictor

        self.predictor = load_predictor(Path(context.artifacts[FOLDER]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return a table of label, its probability, and every label's probability, a row for each text."""
        texts = [str(text) for text in model_input[TEXT]]
        probabilities_BL = self.predictor.predict(texts)
        best_B = probabilities_BL.argmax(axis=1)
        labels = self.predictor.labels
        return pd.DataFrame(
            {
                "label": [labels[best] for best in best_B],
                "probability": [float(row[best]) for row, best in zip(probabilities_BL, best_B, strict=True)],
                "probabilities": [dict(zip(labels, map(float, row), strict=True)) for row in probabilities_BL],
            }
        )


mlflow.models.set_model(TextClassifier())
