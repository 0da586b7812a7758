import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import segno
from PIL import Image

from weft import engines
from weft.bundle import load_bundle
from weft.errors import (
    BrokenPhotoError,
    InputError,
    UnsupportedPhotoError,
    WrongPhotosError,
    WrongTaskError,
)
from weft.marks import MarkHint
from weft.weigher import Prepared, Subject, Weigher, prepare_pixels, stack

Writer = Callable[..., Path]


def picture(level: int = 100, width: int = 640, height: int = 480) -> Image.Image:
    """A chequered cloth of this mean brightness, sharp and large enough to be used."""
    y, x = np.mgrid[:height, :width]
    pixels = np.where((x // 40 + y // 40) % 2, level + 40, level - 40)
    return Image.fromarray(np.repeat(pixels[..., None], 3, axis=2).astype(np.uint8))


def jpeg(image: Image.Image | None = None) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def jpeg_with_label(side_px: int = 240, width: int = 3200) -> bytes:
    buffer = io.BytesIO()
    segno.make_qr("WEFT-1", error="m").save(buffer, kind="png", scale=10, border=4)
    code = Image.open(buffer).convert("RGB")
    side = round(side_px * code.width / (code.width - 80))
    scene = picture(width=width, height=width * 3 // 4)
    scene.paste(code.resize((side, side)), (width // 2, width // 3))
    return jpeg(scene)


@pytest.fixture(scope="module")
def weigher(tiny_weight_bundle: Path) -> Weigher:
    return Weigher(load_bundle(tiny_weight_bundle, task="weight"))


def test_a_photo_becomes_grams_with_a_margin_that_holds_them(weigher: Weigher) -> None:
    found = weigher.weigh([weigher.prepare(jpeg())])

    assert found.grams == pytest.approx(100 + 10 * 100, rel=0.01)  # the formula of the tiny bundle
    assert found.low_grams is not None
    assert found.high_grams is not None
    assert found.low_grams <= found.grams <= found.high_grams
    assert found.coverage == 0.9
    assert found.warnings == ()
    assert found.photos[0].usable


def test_more_photos_of_other_sizes_in_any_order_are_pooled(weigher: Weigher) -> None:
    files = [jpeg(picture(80)), jpeg(picture(100, 500, 700)), jpeg(picture(120, 333, 481))]
    forth = weigher.weigh(weigher.prepare_all(files))
    back = weigher.weigh(weigher.prepare_all(files[::-1]))

    assert forth.grams == pytest.approx(100 + 10 * 100, rel=0.01)
    assert back.grams == pytest.approx(forth.grams, rel=1e-6)


def test_season_and_wrap_reach_the_graph(weigher: Weigher) -> None:
    photo = [weigher.prepare(jpeg())]
    plain, known = weigher.weigh(photo), weigher.weigh(photo, season="winter", wrap="box")

    assert plain.grams is not None
    assert known.grams == pytest.approx(plain.grams + 2 * 50 + 2 * 5, rel=1e-5)


@pytest.mark.parametrize("known", [{"season": "spring"}, {"wrap": "sack"}])
def test_an_unknown_season_or_wrap_is_refused_with_the_words_that_exist(
    weigher: Weigher, known: dict[str, str]
) -> None:
    with pytest.raises(InputError, match=r"it is one of (summer, winter|bag, box, loose)"):
        weigher.weigh([weigher.prepare(jpeg())], **known)


def test_a_dark_photo_takes_no_part_and_is_said_to_be_dark(weigher: Weigher) -> None:
    dark = Image.fromarray((np.asarray(picture()) // 12).astype(np.uint8))
    found = weigher.weigh(weigher.prepare_all([jpeg(), jpeg(dark)]))

    assert found.grams == pytest.approx(1100, rel=0.01)
    assert [photo.usable for photo in found.photos] == [True, False]
    assert found.photos[1].advice == ("dark",)


def test_where_no_photo_is_usable_there_are_no_grams(weigher: Weigher) -> None:
    found = weigher.weigh([weigher.prepare(jpeg(picture(width=60, height=60)))])

    assert (found.grams, found.low_grams, found.high_grams, found.coverage) == (None, None, None, None)
    assert "too_small" in found.photos[0].advice
    assert found.warnings == ("no photo is usable; retake as advised",)


def test_a_broken_file_among_good_ones_is_left_out_and_named(weigher: Weigher) -> None:
    found = weigher.weigh(weigher.prepare_all([jpeg()[:2000], jpeg(), b"no photo"]))

    assert found.grams == pytest.approx(1100, rel=0.01)
    assert [photo.advice for photo in found.photos] == [("broken",), (), ("broken",)]


def test_where_every_file_is_broken_the_first_error_is_raised(weigher: Weigher) -> None:
    with pytest.raises(BrokenPhotoError, match="cut short"):
        weigher.prepare_all([jpeg()[:2000], b"no photo"])
    with pytest.raises(UnsupportedPhotoError, match="not an image"):
        weigher.prepare_all([b"no photo", jpeg()[:2000]])


def test_no_photo_and_too_many_photos_are_refused(weigher: Weigher) -> None:
    with pytest.raises(WrongPhotosError, match="no photo was sent"):
        weigher.prepare_all([])
    with pytest.raises(WrongPhotosError, match="10 photos were sent, at most 9"):
        weigher.weigh([weigher.prepare(jpeg())] * 10)


def test_an_estimate_outside_what_was_trained_on_says_so(tmp_path: Path, write_weight_bundle: Writer) -> None:
    path = write_weight_bundle(tmp_path / "w.onnx", weight={"range_grams": [20.0, 300.0], "max_photos": 1})
    weigher = Weigher(load_bundle(path))

    found = weigher.weigh(weigher.prepare_all([jpeg(picture(99)), jpeg(picture(101))]))

    assert found.warnings == (
        "1100 g lies outside the 20-300 g this bundle was trained on",
        "2 photos of one subject, the bundle was trained on at most 1",
    )


def test_the_same_photo_twice_counts_once_and_is_said_to_be_there_twice(weigher: Weigher) -> None:
    files = [jpeg(picture(80)), jpeg(picture(120)), jpeg(picture(80))]
    found = weigher.weigh(weigher.prepare_all(files))

    assert [(photo.usable, photo.advice) for photo in found.photos] == [
        (True, ()), (True, ()), (False, ("repeated",)),
    ]  # fmt: skip
    assert found.grams == weigher.weigh(weigher.prepare_all(files[:2])).grams
    assert found.warnings == ("1 of 3 photos repeat an earlier one and do not count",)


def test_without_an_honest_interval_none_is_made_up(tmp_path: Path, write_weight_bundle: Writer) -> None:
    weigher = Weigher(load_bundle(write_weight_bundle(tmp_path / "w.onnx", coverage=None)))
    found = weigher.weigh([weigher.prepare(jpeg())])

    assert found.grams is not None
    assert (found.low_grams, found.high_grams, found.coverage) == (None, None, None)


def test_bands_are_taken_in_the_bundles_order(tmp_path: Path, write_weight_bundle: Writer) -> None:
    path = write_weight_bundle(tmp_path / "w.onnx", weight={"bands": ["blue", "green", "red"]})
    red = Image.new("RGB", (640, 480), (200, 60, 30))
    red.paste((100, 30, 15), (0, 0, 320, 480))

    prepared = Weigher(load_bundle(path)).prepare(jpeg(red))

    assert prepared.pixels is not None
    assert prepared.photo is not None
    assert np.array_equal(prepared.pixels, prepared.photo.pixels[:, :, ::-1])


def test_a_bundle_for_bands_that_a_photo_lacks_is_refused(
    tmp_path: Path, write_weight_bundle: Writer
) -> None:
    path = write_weight_bundle(tmp_path / "w.onnx", weight={"bands": ["red", "green", "nir"]})

    with pytest.raises(WrongPhotosError, match="this bundle needs red, green, nir"):
        Weigher(load_bundle(path)).prepare(jpeg())


def test_a_fibre_bundle_does_not_weigh(tiny_fibre_bundle: Path) -> None:
    with pytest.raises(WrongTaskError, match="a bundle for composition, needed one for weight"):
        Weigher(load_bundle(tiny_fibre_bundle))


def test_the_scale_of_a_mark_is_that_of_the_pixels_the_graph_sees(weigher: Weigher) -> None:
    prepared = weigher.prepare(jpeg_with_label(), MarkHint("qr", 60))

    assert prepared.finding.mark is not None
    assert prepared.finding.mark.mm_per_pixel == pytest.approx(60 / 240, rel=0.02)
    assert prepared.pixels is not None
    assert prepared.mm_per_pixel == pytest.approx(0.25 * 3200 / max(prepared.pixels.shape), rel=0.02)


@pytest.mark.parametrize(("orientation", "turn"), [(1, None), (6, 2), (8, 4)])  # ROTATE_90, ROTATE_270
def test_the_graph_is_told_where_the_mark_lies_in_the_upright_pixels(
    weigher: Weigher, orientation: int, turn: int | None
) -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    upright = Image.open(io.BytesIO(jpeg_with_label()))
    stored = upright if turn is None else upright.transpose(Image.Transpose(turn))
    stored.save(buffer, "JPEG", quality=95, exif=exif)

    tensors = stack(
        [Subject([weigher.prepare(buffer.getvalue(), MarkHint("qr", 60)), weigher.prepare(jpeg())])]
    )

    # Pasted at the middle across and a third of the width down, with its quiet zone 331 pixels a side.
    per_pixel = 3200 / tensors["size"][0, 0].max()
    assert tensors["mark_at"].dtype == np.float32
    x, y, facing = tensors["mark_at"][0, 0]
    assert (x * per_pixel, y * per_pixel) == pytest.approx((1600 + 165, 1066 + 165), abs=4)
    assert facing == pytest.approx(1, abs=0.02)
    assert not tensors["mark_at"][0, 1].any()


def test_engines_know_all_inputs_of_one_photo(weigher: Weigher) -> None:
    assert set(stack([Subject([weigher.prepare(jpeg())])])) == set(engines._OF_ONE)


def test_a_small_label_is_found_on_a_finer_decode_without_changing_the_pixels() -> None:
    data = jpeg_with_label(80)  # 2 px a module at full size, 1 at half
    without = prepare_pixels(data, decode_px=320, hint=None)
    found = prepare_pixels(data, decode_px=320, hint=MarkHint("qr", 60))

    assert found.mark is not None
    assert found.mark.mm_per_pixel == pytest.approx(60 / 80, rel=0.03)
    assert np.array_equal(without.photo.pixels, found.photo.pixels)
    assert without.mm_per_pixel == 0


def test_several_subjects_in_one_call_answer_as_if_asked_alone(weigher: Weigher) -> None:
    broken = Prepared(None, 0.0, dataclasses.replace(weigher.prepare(jpeg()).finding, usable=False))
    subjects = [
        Subject([weigher.prepare(jpeg(picture(80)))], season="summer"),
        Subject([broken]),
        Subject(weigher.prepare_all([jpeg(picture(90)), jpeg(picture(130, 700, 400))]), wrap="loose"),
    ]
    together = weigher.weigh_many(subjects)
    alone = [weigher.weigh(s.photos, season=s.season, wrap=s.wrap) for s in subjects]

    assert together[1] == alone[1]
    for one, other in ((together[0], alone[0]), (together[2], alone[2])):
        assert one.grams == pytest.approx(other.grams, rel=1e-6)
        assert one.photos == other.photos


def test_the_tensors_are_those_of_the_bundles_description(weigher: Weigher) -> None:
    photos = weigher.prepare_all([jpeg(), b"broken", jpeg(picture(100, 300, 500))])
    tensors = stack([Subject(photos, season="winter", wrap="bag"), Subject(photos[:1])])

    assert tensors["photos"].shape == (2, 2, 3, 375, 320)
    assert tensors["photos"].dtype == np.uint8
    assert tensors["size"].tolist() == [[[240, 320], [375, 225]], [[240, 320], [0, 0]]]
    assert tensors["mask"].tolist() == [[True, True], [True, False]]
    assert tensors["season"].tolist() == [2, 0]
    assert tensors["wrap"].tolist() == [1, 0]
    assert tensors["mm_per_pixel"].dtype == np.float32
    assert not tensors["photos"][0, 1, :, :, 225:].any()


def test_photos_of_extreme_shape_cannot_blow_up_the_padded_tensor(weigher: Weigher) -> None:
    files = [jpeg(picture(width=12_000, height=200)), jpeg(picture(width=200, height=12_000))]
    tensors = stack([Subject([weigher.prepare(data) for data in files])])

    assert tensors["photos"].nbytes < 2 * 3 * 640 * 640
