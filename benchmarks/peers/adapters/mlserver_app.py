"""A custom runtime of MLServer, protocol v2: a photo as base64 in JSON. As a script it writes settings."""

import json
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from model import Model


class Weight(MLModel):
    async def load(self) -> bool:
        self.model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        photos = Base64Codec.decode_input(payload.inputs[0])
        grams = np.array([[self.model.grams(data)] for data in photos])
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("grams", grams)])


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    (folder / "settings.json").write_text(json.dumps(settings))
    named = {"name": "weight", "implementation": "mlserver_app.Weight"}
    (folder / "model-settings.json").write_text(json.dumps(named))
