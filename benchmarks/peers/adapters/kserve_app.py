"""A custom predictor of KServe, protocol v1: a photo as base64 in JSON."""

import base64
from typing import Any

from kserve import Model, ModelServer
from model import Model as Net


class Weight(Model):
    def __init__(self) -> None:
        super().__init__("weight")
        self.load()

    def load(self) -> bool:
        self.net = Net()
        self.ready = True
        return self.ready

    def predict(
        self, payload: dict[str, Any], headers: object = None, response_headers: object = None
    ) -> dict[str, Any]:
        data = base64.b64decode(payload["instances"][0]["image"]["b64"])
        return {"predictions": [self.net.grams(data)]}


if __name__ == "__main__":
    ModelServer().start([Weight()])
