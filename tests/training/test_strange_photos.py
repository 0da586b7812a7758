"""`weft evaluate --strangers`: does a bundle know what it does not know?"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from weft.errors import BundleError, ManifestError
from weft_training.cli import evaluate as verb
from weft_training.strange_photos import measure_strangers

SHIFT = {"strange_above": 1.0, "false_alarm_rate": 0.02, "then": "refuse", "subjects": 50}


@pytest.fixture
def bundle(tmp_path: Path, write_weight_bundle: Callable[..., Path]) -> Path:
    """Its strangeness is the brightness / 100."""
    return write_weight_bundle(tmp_path / "run" / "bundle.onnx", weight={"shift": SHIFT})


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """Four photos, three of them brighter than 100, one in a folder below; and a file that is none."""
    folder = tmp_path / "cats"
    (folder / "more").mkdir(parents=True)
    for name, level in (("a.png", 60), ("b.png", 120), ("more/c.png", 150), ("d.png", 200)):
        Image.new("RGB", (640, 480), (level,) * 3).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").write_text("cats")
    return folder


def test_photos_above_the_threshold_are_counted_even_where_they_are_blurred(
    bundle: Path, strangers: Path
) -> None:
    found = measure_strangers(bundle, strangers, quiet=True)

    assert (found.photos, found.called_unfamiliar, found.false_alarm_rate) == (4, 0.75, 0.02)
    assert found.auroc is None


def test_they_are_held_against_the_photos_that_the_run_left_out(bundle: Path, strangers: Path) -> None:
    own = pd.DataFrame({"subject": list("aab"), "mode": "one", "strangeness": [0.5, 0.55, 1.3]})
    own.to_parquet(bundle.parent / "predictions.parquet")

    told = CliRunner().invoke(verb, [str(bundle), str(strangers), "--strangers"])

    assert told.exit_code == 0, told.output
    # a: two of its photos lie below all strangers, half its vote each; b's lies above two of four.
    assert "75.0% of 4 photos are called unfamiliar" in told.output
    assert "at most 2.0%; AUROC 0.750" in told.output


def test_a_bundle_that_does_not_judge_and_a_folder_without_photos_are_named(
    bundle: Path, tiny_weight_bundle: Path, strangers: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="does not judge how familiar photos are"):
        measure_strangers(tiny_weight_bundle, strangers, quiet=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="no photo that can be read"):
        measure_strangers(bundle, tmp_path / "empty", quiet=True)


def test_at_most_so_many_photos_are_asked_evenly_over_the_folder(bundle: Path, strangers: Path) -> None:
    found = measure_strangers(bundle, strangers, most=2, quiet=True)

    assert np.allclose(found.strangeness, [0.6, 1.5], atol=0.01)  # the first and the last
