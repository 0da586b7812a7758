"""What carried an estimate must follow the model and the photo, or it explains nothing."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from PIL import Image

from weft.bundle import BUNDLED, load_bundle
from weft.errors import WrongPhotosError
from weft.explain_drawing import draw_parts
from weft.explain_photo import Part, PhotoExplanation, explain_photo, paint_over
from weft.marks import MarkHint
from weft.weigher import Subject, Weigher

EXAMPLE = Path("serving/weft_serving/pages/static/example-parcel.jpg")
BRIGHT = (220 / 320, 20 / 240, 300 / 320, 80 / 240)
PARCEL = (0.46, 0.09, 0.96, 0.53)  # left, top, right, bottom of the parcel in it, by eye
LABEL = (0.46, 0.7, 0.68, 1.0)  # of the label: how large it looks says how far the camera stood


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def dark_with_a_bright_corner() -> bytes:
    pixels = np.random.default_rng(0).integers(30, 60, (240, 320, 3), dtype=np.uint8)
    pixels[20:80, 220:300] += 160
    return png(pixels)


@pytest.fixture
def weigher(tiny_weight_bundle: Path) -> Weigher:
    return Weigher(load_bundle(tiny_weight_bundle))


def test_the_part_that_the_model_reads_carries_the_grams(weigher: Weigher) -> None:
    subject = Subject(weigher.prepare_all([dark_with_a_bright_corner()]))
    told: list[tuple[int, int]] = []

    found = explain_photo(weigher, subject, progress=lambda done, total: told.append((done, total)))

    bright = [part for part in found.parts if overlap(part, BRIGHT) > 0.5]
    touched = [part for part in found.parts if overlap(part, BRIGHT) > 0]
    # 10 g for each step of mean brightness, and the corner is 160 steps above on 6 % of the photo; soft edges
    # and parts that are half floor leave some of it unsaid.
    whole = 10 * 160 * 80 * 60 / (320 * 240)
    assert 0.35 * whole < sum(part.grams for part in touched) < 1.1 * whole
    assert all(abs(part.grams) < 0.02 * whole for part in found.parts if part not in touched)
    assert max(found.parts, key=lambda part: abs(part.grams)) in bright
    assert sum(part.width * part.height for part in found.parts) == pytest.approx(1)
    assert told[-1] == (found.runs, found.runs)
    assert found.runs <= 72


def test_the_same_photo_is_explained_the_same_way(weigher: Weigher) -> None:
    subject = Subject(weigher.prepare_all([dark_with_a_bright_corner()]))

    assert explain_photo(weigher, subject) == explain_photo(weigher, subject)


def test_one_of_several_photos_is_explained_within_the_answer_of_all(weigher: Weigher) -> None:
    grey = png(np.random.default_rng(1).integers(90, 110, (240, 320, 3), dtype=np.uint8))
    alone = Subject(weigher.prepare_all([dark_with_a_bright_corner()]))
    both = Subject(weigher.prepare_all([grey, dark_with_a_bright_corner()]))

    one, second = explain_photo(weigher, alone), explain_photo(weigher, both, 1)

    assert second.photo == 1
    assert second.grams == pytest.approx(weigher.weigh(both.photos).grams)
    most = [max(found.parts, key=lambda part: part.grams) for found in (one, second)]
    assert most[0][:4] == most[1][:4]
    assert most[1].grams == pytest.approx(most[0].grams / 2, rel=1e-3), "it has half a say"


def test_a_photo_that_had_no_say_cannot_be_explained(weigher: Weigher) -> None:
    black = png(np.zeros((240, 320, 3), np.uint8))
    subject = Subject(weigher.prepare_all([dark_with_a_bright_corner(), black]))

    with pytest.raises(WrongPhotosError, match="photo 2 was not usable and had no say"):
        explain_photo(weigher, subject, 1)
    with pytest.raises(WrongPhotosError, match="there is no photo 3; this subject has 2"):
        explain_photo(weigher, subject, 2)


def test_a_painted_part_looks_like_what_is_around_it_and_leaves_the_rest() -> None:
    pixels = np.full((60, 80, 3), 100, np.uint8)
    pixels[20:40, 30:50] = (250, 10, 10)

    painted = paint_over(pixels, (30 / 80, 20 / 60, 20 / 80, 20 / 60))

    assert (painted[25:35, 35:45] == 100).all()
    outside = np.ones((60, 80), bool)
    outside[20:40, 30:50] = False
    assert (painted[outside] == 100).all()
    assert (pixels[25, 35] == (250, 10, 10)).all(), "the photo itself is left as it was"


def test_the_picture_shows_where_and_how_much() -> None:
    found = PhotoExplanation(500.0, 0, (Part(0, 0, 0.5, 1, 200.0), Part(0.5, 0, 0.5, 1, -40.0)), 2)

    with Image.open(io.BytesIO(draw_parts(np.full((50, 100, 3), 128, np.uint8), found))) as picture:
        left, right = picture.getpixel((20, 20)), picture.getpixel((picture.width - 20, 20))

    assert picture.width == 960
    assert left[0] > left[2] + 50, "orange raised it"
    assert right[2] > right[0], "blue lowered it"


@pytest.mark.slow
def test_on_a_parcel_the_parcel_matters_more_than_the_floor_and_a_shuffled_model_looks_elsewhere() -> None:
    """Adebayo et al. 2018: a map that random weights give as well explains nothing."""
    trained = Weigher(load_bundle(BUNDLED / "weight.onnx"))
    prepared = trained.prepare_all([EXAMPLE.read_bytes()], MarkHint("qr", 60))

    found = explain_photo(trained, Subject(prepared))

    inside = [overlap(part, PARCEL) for part in found.parts]
    area = [part.width * part.height for part in found.parts]
    moved = [abs(part.grams) for part in found.parts]
    parcel = np.average(np.array(moved) / area, weights=np.array(area) * inside)
    bare = [(1 - overlap(part, PARCEL)) * (overlap(part, LABEL) == 0) for part in found.parts]
    floor = np.average(np.array(moved) / area, weights=np.array(area) * np.array(bare))
    assert parcel > 1.2 * floor
    other = explain_photo(shuffled(trained), Subject(prepared))
    assert abs(np.corrcoef(heat(found).ravel(), heat(other).ravel())[0, 1]) < 0.5


def overlap(part: Part, box: tuple[float, float, float, float]) -> float:
    """Share of the part that lies in the box (left, top, right, bottom)."""
    wide = min(part.left + part.width, box[2]) - max(part.left, box[0])
    high = min(part.top + part.height, box[3]) - max(part.top, box[1])
    return max(0.0, wide) * max(0.0, high) / (part.width * part.height)


def heat(found: PhotoExplanation, side: int = 24) -> np.ndarray:
    image = np.zeros((side, side))
    for part in found.parts:
        rows = slice(round(part.top * side), round((part.top + part.height) * side))
        columns = slice(round(part.left * side), round((part.left + part.width) * side))
        image[rows, columns] = part.grams / (part.width * part.height) / found.grams
    return image


def shuffled(weigher: Weigher) -> Weigher:
    """The same graph with the numbers of each large weight in another order."""
    model = onnx.load(BUNDLED / "weight.onnx")
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 256:
            mixed = rng.permutation(values.ravel()).reshape(values.shape)
            tensor.CopyFrom(numpy_helper.from_array(mixed, tensor.name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    class Shuffled:
        card = weigher.bundle.card
        source = "shuffled"

        def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
            answers = dict(zip(names, session.run(None, inputs), strict=True))
            # Shuffled weights refuse every photo, too; what is asked here is what they would weigh by.
            return {name: answers[name] for name in ("grams", "low_grams", "high_grams")}

    return Weigher(Shuffled())  # pyright: ignore[reportArgumentType]
