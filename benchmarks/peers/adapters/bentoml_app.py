"""BentoML as its documentation has images: decoded before `predict`; given our decode, a file."""

import os
from pathlib import Path

import bentoml
from model import Model
from PIL import Image

Sent = Path if os.environ["PEER_DECODE"] == "reduced" else Image.Image


@bentoml.service
class Weight:
    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api
    def predict(self, image: Sent) -> dict:  # ty: ignore
        if isinstance(image, Path):
            return {"grams": self.model.grams(image.read_bytes())}
        return {"grams": self.model.of_image(image)}
