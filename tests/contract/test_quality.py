import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from weft.photos import Photo, decode_photo
from weft.quality import advise, blur

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
    found = [
        blur(np.asarray(grey.filter(ImageFilter.GaussianBlur(radius)), np.float32)) for radius in range(6)
    ]

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
