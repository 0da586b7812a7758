"""The work that all of them do: decode one photo, run one ONNX model, give one number.

Runs in each peer's environment.

`PEER_DECODE=documented`: Pillow decodes all pixels, then resizes; onnxruntime's session as it comes.
`PEER_DECODE=reduced`: Weft's own decode (`weft.photos`), and a session with one thread that does not spin.
"""

import io
import json
import os
from typing import Any

import numpy as np
import onnxruntime as ort
from PIL import Image


class Model:
    def __init__(self, spec: dict[str, Any] | None = None, decode: str | None = None) -> None:
        self.spec: dict[str, Any] = spec or json.loads(os.environ["PEER_MODEL"])
        self.reduced = (decode or os.environ["PEER_DECODE"]) == "reduced"
        options = ort.SessionOptions()
        if self.reduced:
            options.intra_op_num_threads = 1
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(self.spec["file"], options, providers=["CPUExecutionProvider"])

    def grams(self, data: bytes) -> float:
        if self.reduced:
            from weft.photos import decode_photo

            return self.of_pixels(decode_photo(data, longest_px=self.spec["side"]).pixels)
        return self.of_image(Image.open(io.BytesIO(data)))

    def of_image(self, image: Image.Image) -> float:
        """As tutorials have it: all pixels, then the size the model wants."""
        side = self.spec["side"]
        image = image.convert("RGB")
        if self.spec["kind"] == "weft":  # keeps the sides' ratio, as our decode does
            scale = side / max(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)))
        return self.of_pixels(np.asarray(image))

    def of_pixels(self, pixels: np.ndarray) -> float:
        """Pixels (H, W, 3) to the model's first number."""
        spec = self.spec
        if spec["kind"] == "weft":
            feed = {
                spec["input"]: np.ascontiguousarray(pixels.transpose(2, 0, 1)[None, None]),
                "size": np.array([[pixels.shape[:2]]], np.int64),
                "mask": np.ones((1, 1), np.bool_),
                "mm_per_pixel": np.zeros((1, 1), np.float32),
                "mark_at": np.zeros((1, 1, 3), np.float32),
                "season": np.zeros(1, np.int64),
                "wrap": np.zeros(1, np.int64),
            }
        else:
            square = np.asarray(Image.fromarray(pixels).resize((spec["side"], spec["side"])), np.float32)
            normal = (square / 255 - np.float32(spec["mean"])) / np.float32(spec["std"])
            feed = {spec["input"]: np.ascontiguousarray(normal.transpose(2, 0, 1)[None])}
        takes = {port.name for port in self.session.get_inputs()}
        fed = {name: value for name, value in feed.items() if name in takes}
        return float(np.ravel(self.session.run([spec["output"]], fed)[0])[0])
