"""MLflow's scoring server over a pyfunc: a photo as base64 in JSON. Run as a script, it saves the model."""

import sys
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema


class Weight(mlflow.pyfunc.PythonModel):
    def load_context(self, context: object) -> None:
        from model import Model

        self.model = Model()

    def predict(self, context: object, model_input: Any, params: object = None) -> list[float]:
        return [self.model.grams(data) for data in model_input["image"]]


if __name__ == "__main__":
    signature = ModelSignature(Schema([ColSpec(DataType.binary, "image")]))
    mlflow.pyfunc.save_model(sys.argv[1], python_model=Weight(), signature=signature, pip_requirements=[])
