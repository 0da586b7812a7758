import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from weft.photos import Photo, decode_photo
from weft.quality import BLURRED_ABOVE, DARK_BELOW, FLAT_BELOW, MEASURE_PX, advise, blur, shrink

GARMENTS = Path(__file__).parents[2].parent / "shared" / "data" / "photos" / "garments_cc0" / "images"
needs_garments = pytest.mark.skipif(not GARMENTS.is_dir(), reason="no garment photos in ../shared/data")


def scene(width: int = 640, height: int = 480) -> Image.Image:
    """Patches with hard edges and a little texture, as a garment on a floor has."""
    rng = np.random.default_rng(0)
    patches = rng.integers(40, 230, (12, 16, 3)).repeat(height // 12, axis=0).repeat(width // 16, axis=1)
    return Image.fromarray((patches + rng.integers(-12, 12, patches.shape)).clip(0, 255).astype(np.uint8))


def photo(image: Image.Image) -> Photo:
    return Photo(np.asarray(image.convert("RGB")), image.width, image.height)


def test_a_sharp_bright_photo_gets_no_advice() -> None:
    assert advise(photo(scene())) == ()


def test_a_photo_out_of_focus_is_called_blurred() -> None:
    assert advise(photo(scene().filter(ImageFilter.GaussianBlur(8)))) == ("blurred",)


def test_a_shaken_photo_is_called_blurred_though_it_is_sharp_the_other_way() -> None:
    pixels = np.asarray(scene(), np.float32)
    shaken = np.mean([np.roll(pixels, step, axis=1) for step in range(-20, 21)], axis=0).astype(np.uint8)

    assert advise(photo(Image.fromarray(shaken))) == ("blurred",)


def test_contrast_does_not_decide_what_is_sharp() -> None:
    pale = Image.blend(scene(), Image.new("RGB", (640, 480), (200, 200, 200)), 0.8)

    assert advise(photo(pale)) == ()


@pytest.mark.parametrize("stops", [5, 6, 8])
def test_a_photo_without_light_is_called_dark(stops: int) -> None:
    light = (np.asarray(scene(), np.float32) / 255) ** 2.2 / 2**stops
    dark = Image.fromarray(np.round(255 * light ** (1 / 2.2)).astype(np.uint8))

    assert "dark" in advise(photo(dark))


def test_black_and_plain_photos_are_refused_not_divided_by_zero() -> None:
    assert set(advise(photo(Image.new("RGB", (640, 480), "black")))) == {"dark", "blurred"}
    assert advise(photo(Image.new("RGB", (640, 480), "white"))) == ("blurred",)


@pytest.mark.parametrize("size", [(120, 90), (1, 1), (1000, 40), (40, 1000)])
def test_too_small_is_judged_by_the_full_photo(size: tuple[int, int]) -> None:
    assert "too_small" in advise(photo(scene().resize(size)))
    assert "too_small" not in advise(Photo(np.asarray(scene(160, 120)), 3200, 2400))


def test_blur_grows_with_blur_and_stays_between_0_and_1() -> None:
    grey = scene().convert("L").resize((256, 192), Image.Resampling.BOX)
    found = [blur(np.asarray(grey.filter(ImageFilter.GaussianBlur(radius)), np.int16)) for radius in range(6)]

    assert found == sorted(found)
    assert all(0 <= value <= 1 and math.isfinite(value) for value in found)


@pytest.mark.real_data
@needs_garments
def test_residents_photos_pass_and_their_spoilt_copies_do_not() -> None:
    paths = sorted(GARMENTS.glob("*.jpg"))[::20]
    photos = [decode_photo(path.read_bytes(), longest_px=320) for path in paths]
    spoilt = [
        photo(Image.fromarray(p.pixels).filter(ImageFilter.GaussianBlur(0.01 * max(p.pixels.shape))))
        for p in photos
    ]

    assert np.mean([advise(p) == () for p in photos]) > 0.95
    assert np.mean(["blurred" in advise(p) for p in spoilt]) > 0.95


def grey_before(taken: Photo) -> np.ndarray:
    """Luminance as it was measured when the thresholds were chosen."""
    image = Image.fromarray(taken.pixels).convert("L")
    scale = MEASURE_PX / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX)
    return np.asarray(image, np.float32)


def blur_before(grey: np.ndarray) -> float:
    """Crete's measure as it was written down first: a running mean of nine, and differences of it."""
    kept = 0.0
    for lines in (grey, grey.T):
        if len(lines) <= 9:
            continue
        fine = np.abs(np.diff(lines, axis=0))
        total = float(fine.sum())
        if total <= FLAT_BELOW * float(lines.sum()):
            return 1.0
        sums = np.cumsum(np.pad(lines, ((5, 4), (0, 0)), mode="edge"), axis=0, dtype=np.float64)
        mean = ((sums[9:] - sums[:-9]) / 9).astype(np.float32)
        lost = np.maximum(0, fine - np.abs(np.diff(mean, axis=0)))
        kept = max(kept, 1 - float(lost.sum()) / total)
    return kept


def spoilt(width: int, height: int) -> list[Photo]:
    """One scene sharp, out of focus, shaken, dim, dark, plain and noisy: on both sides of every threshold."""
    sharp = scene().resize((width, height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    blurred = [sharp.filter(ImageFilter.GaussianBlur(radius)) for radius in (0.5, 1, 1.5, 2, 3, 6)]
    dim = [sharp.point(lambda value, by=by: value * by) for by in (0.5, 0.37, 0.36, 0.35, 0.1)]
    plain = [Image.new("RGB", (width, height), colour) for colour in ("black", "#303030", "#2f2f2f", "white")]
    return [photo(image) for image in (sharp, *blurred, *dim, *plain, Image.fromarray(noise))]


@pytest.mark.parametrize(
    "size",
    [(320, 240), (500, 375), (375, 500), (510, 371), (512, 40), (511, 203), (640, 480), (200, 150), (5, 7)],
)
def test_whole_numbers_say_what_the_old_formula_said(size: tuple[int, int]) -> None:
    for taken in spoilt(*size):
        grey = grey_before(taken)
        told = advise(taken)

        assert ("dark" in told) == (grey.mean() < DARK_BELOW)
        assert ("blurred" in told) == (blur_before(grey) > BLURRED_ABOVE)
        assert blur(grey.astype(np.int16)) == pytest.approx(blur_before(grey), abs=2e-6)


@pytest.mark.parametrize("before", [257, 258, 320, 371, 375, 402, 500, 511, 512])
@pytest.mark.parametrize("after", [256, 200, 186])
def test_shrinking_to_no_less_than_half_is_pillows_box_to_the_last_bit(before: int, after: int) -> None:
    after = max(after, -(-before // 2))
    pixels = np.random.default_rng(before).integers(0, 256, (before, before), np.uint8)
    image = Image.fromarray(pixels)

    expected = np.asarray(image.resize((after, after), Image.Resampling.BOX))
    assert np.array_equal(shrink(pixels, after, after), expected)


@needs_garments
@pytest.mark.real_data
def test_real_photos_get_the_verdicts_of_the_old_formula() -> None:
    for path in sorted(GARMENTS.glob("*"))[:150]:
        taken = decode_photo(path.read_bytes(), longest_px=320)
        grey = grey_before(taken)

        assert ("dark" in advise(taken)) == (grey.mean() < DARK_BELOW), path.name
        assert ("blurred" in advise(taken)) == (blur_before(grey) > BLURRED_ABOVE), path.name
