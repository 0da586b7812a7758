"""The page's sentences are those of the ground floor: one meaning a word, wherever it is read."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

import weft_serving.pages
from weft.quality import WHAT_TO_DO


def test_the_page_says_what_the_command_line_says() -> None:
    script = (Path(weft_serving.pages.__file__).parent / "static" / "weigh.js").read_text()
    table = script[script.index("const ADVICE = {") :]
    said = dict(re.findall(r'^  (\w+): "(.+)",$', table[: table.index("};")], re.MULTILINE))

    assert said == WHAT_TO_DO


def rule(word: str, advise_above: float, refuse_above: float) -> dict[str, Any]:
    rates = dict.fromkeys(("hit_rate", "refusal_rate", "false_alarm_rate", "false_refusal_rate"), 0.5)
    counts = {"faulty_photos": 10, "good_photos": 10, "simulated": True}
    return {"word": word, "advise_above": advise_above, "refuse_above": refuse_above} | rates | counts


def photo(level: int) -> tuple[str, tuple[str, bytes, str]]:
    y, x = np.mgrid[:480, :640]
    pixels = np.where((x // 40 + y // 40) % 2, level + 30, level - 30).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(buffer, "PNG")
    return ("photos", ("photo.png", buffer.getvalue(), "image/png"))


def test_what_the_graph_says_of_a_photo_is_answered_kept_and_counted(
    start: Callable[..., TestClient], tmp_path: Path, write_weight_bundle: Callable[..., Path]
) -> None:
    rules = [rule("screen", 0.65, 0.75), rule("cut_off", 0.65, 1.0)]  # the tiny graph: bright is a screen
    bundle = write_weight_bundle(tmp_path / "w.onnx", weight={"advice": rules})
    client = start(weight=bundle)

    answer = client.post("/v1/estimates", files=[photo(100), photo(180), photo(60)]).json()

    said = [(each["usable"], each["advice"]) for each in answer["photos"]]
    assert said == [(True, []), (False, ["screen"]), (True, ["cut_off"])]
    assert client.get(f"/v1/estimates/{answer['id']}").json()["photos"] == answer["photos"]
    counted = client.get("/metrics").text
    assert 'weft_photos_total{finding="screen"} 1.0' in counted
    assert 'weft_photos_total{finding="unusable"} 1.0' in counted
