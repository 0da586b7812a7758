"""What a weigher tells beside its answer: how long stages took, how strange photos are, why some broke."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weft.bundle import load_bundle
from weft.marks import MarkHint
from weft.weigher import Weigher

SHIFT = {"strange_above": 1.5, "false_alarm_rate": 0.02, "then": "widen", "subjects": 30}


def photo(level: int) -> bytes:
    y, x = np.mgrid[:480, :640]
    buffer = BytesIO()
    pixels = np.where((x // 40 + y // 40) % 2, level + 30, level - 30).astype(np.uint8)
    Image.fromarray(pixels).convert("RGB").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_stages_are_told_in_the_order_of_the_work(tiny_weight_bundle: Path) -> None:
    told: list[str] = []

    @contextmanager
    def stage(name: str) -> Generator[None, None, None]:
        told.append(f"{name} begins")
        yield
        told.append(f"{name} ends")

    weigher = Weigher(load_bundle(tiny_weight_bundle, task="weight"), stage=stage)
    weigher.weigh(weigher.prepare_all([photo(100)], MarkHint("qr", 60)))

    assert told == [
        f"{name} {what}" for name in ("decode", "mark", "judge", "run") for what in ("begins", "ends")
    ]


def test_strangeness_and_faults_are_told_photo_by_photo(
    tmp_path: Path, write_weight_bundle: Callable[..., Path]
) -> None:
    bundle = load_bundle(write_weight_bundle(tmp_path / "w.onnx", weight={"shift": SHIFT}), task="weight")
    weigher = Weigher(bundle)

    found = weigher.weigh(weigher.prepare_all([photo(100), b"no photo", photo(200)])).photos

    assert found[0].strangeness == pytest.approx(1.0, rel=0.02)
    assert found[1].strangeness is None
    assert found[2].strangeness == pytest.approx(2.0, rel=0.02)
    assert [each.fault for each in found] == [None, "unsupported-photo", None]
    assert found[2].advice == ("unfamiliar",)


def test_a_graph_that_knows_of_no_strangeness_tells_none(tiny_weight_bundle: Path) -> None:
    weigher = Weigher(load_bundle(tiny_weight_bundle, task="weight"))

    assert weigher.weigh(weigher.prepare_all([photo(100)])).photos[0].strangeness is None
