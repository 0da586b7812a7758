"""LitServe as its documentation has it: setup, decode_request, predict, encode_response."""

import os
import sys

import litserve
from model import Model


class Weight(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = Model()

    def decode_request(self, request) -> bytes:  # noqa: ANN001 (an annotation would become the route's schema)
        return request["image"].file.read()

    def predict(self, data: bytes) -> float:
        return self.model.grams(data)

    def encode_response(self, grams: float) -> dict[str, float]:
        return {"grams": grams}


if __name__ == "__main__":
    workers = 2 if os.environ["PEER_DECODE"] == "reduced" else 1
    server = litserve.LitServer(Weight(), accelerator="cpu", workers_per_device=workers)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="warning")
