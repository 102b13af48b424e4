"""What MLflow loads of a logged model: it names this module in the model's files, and this module does not need MLflow.

A request has a column `image` with files' contents (base64 in JSON), or is an array of vectors.
"""

from pathlib import Path
from typing import Any

from ndcl.serving.model import Model

IMAGE = "image"
"""The column with the images."""


class Served:
    """A model by the interface of MLflow's `python_function`."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A row for each input: class, class_id, probability, margin, and of an ensemble disagreement.

        Raises UserError for what is no image.
        """
        import pandas as pd  # MLflow brings it

        is_table = isinstance(model_input, pd.DataFrame)
        predictions = self.model.predict(list(model_input[IMAGE]) if is_table else model_input)
        columns: dict[str, Any] = {
            "class": predictions.names,
            "class_id": predictions.class_ids,
            "probability": predictions.confidences.astype(float),
            "margin": predictions.margins.astype(float),
        }
        if predictions.disagreement is not None:
            columns["disagreement"] = predictions.disagreement.astype(float)
        return pd.DataFrame(columns)


def _load_pyfunc(path: str) -> Served:
    """Called by MLflow, with the folder of the exported model."""
    return Served(Model.load(Path(path)))
