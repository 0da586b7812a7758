import io
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import segno
from PIL import Image, ImageDraw, ImageFilter

from weft.marks import Mark, MarkHint, find_mark
from weft.photos import Photo, decode_photo

FOOD = Path(__file__).parents[2].parent / "shared" / "data" / "photos" / "weighed_food_with_coin"
needs_food = pytest.mark.skipif(not FOOD.is_dir(), reason="no weighed food in ../shared/data")
QR = MarkHint("qr", 60)
COIN = MarkHint("disc", 25)


def label(side_px: int, text: str = "WEFT-1") -> Image.Image:
    """A QR label whose square has this side, with its quiet zone around it."""
    buffer = io.BytesIO()
    segno.make_qr(text, error="m").save(buffer, kind="png", scale=10, border=0)
    square = Image.open(buffer).convert("RGB").resize((side_px, side_px), Image.Resampling.NEAREST)
    quiet = side_px // 5
    sheet = Image.new("RGB", (side_px + 2 * quiet, side_px + 2 * quiet), "white")
    sheet.paste(square, (quiet, quiet))
    return sheet


def cloth(width: int = 1600, height: int = 1200, seed: int = 0) -> Image.Image:
    """A soft brown background with creases of light and nothing round in it."""
    light = np.random.default_rng(seed).uniform(0.75, 1.25, (height // 40, width // 40, 1))
    brown = (light * np.array([150, 112, 80])).astype(np.uint8)
    return Image.fromarray(brown).resize((width, height), Image.Resampling.BICUBIC)


def photo(image: Image.Image, *, full: int = 1) -> Photo:
    """The image as decoded at 1/`full` of its size."""
    return Photo(np.asarray(image), image.width * full, image.height * full)


def with_label(side_px: int, at: tuple[int, int] = (700, 500), turn: float = 0) -> Image.Image:
    scene, sheet = cloth(), label(side_px).convert("RGBA").rotate(turn, expand=True, resample=Image.BICUBIC)
    scene.paste(sheet, at, sheet)
    return scene


def test_a_qr_label_gives_the_scale_and_its_corners() -> None:
    found = find_mark(photo(with_label(120)), QR)

    assert found is not None
    assert found.mm_per_pixel == pytest.approx(60 / 120, rel=0.02)
    assert found.corners[0] == pytest.approx((724, 524), abs=2)
    assert found.corners[2] == pytest.approx((844, 644), abs=2)
    assert 0.8 < found.confidence <= 1


def test_corners_and_scale_are_those_of_the_full_photo_not_of_the_decode() -> None:
    found = find_mark(photo(with_label(120), full=4), QR)

    assert found is not None
    assert found.mm_per_pixel == pytest.approx(60 / 480, rel=0.02)
    assert found.corners[0] == pytest.approx((4 * 724, 4 * 524), abs=8)


@pytest.mark.parametrize("turn", [15, 45, 90, 133, 180, 270])
def test_a_turned_qr_label_gives_the_same_scale(turn: float) -> None:
    found = find_mark(photo(with_label(120, turn=turn)), QR)

    assert found is not None
    assert found.mm_per_pixel == pytest.approx(0.5, rel=0.03)


def test_corners_run_clockwise_from_the_top_left_whatever_way_the_label_lies() -> None:
    for turn in (0, 90, 180, 270):
        found = find_mark(photo(with_label(120, turn=turn)), QR)
        assert found is not None
        (left, top), (right, _), (_, bottom), _ = found.corners
        assert left < right
        assert top < bottom


def test_a_qr_label_tilted_away_keeps_the_scale_of_its_unshortened_side() -> None:
    sheet = label(160)
    tilted = sheet.resize((sheet.width, int(sheet.height * 0.7)), Image.Resampling.BICUBIC)  # 45 degrees
    scene = cloth()
    scene.paste(tilted, (700, 500))

    found = find_mark(photo(scene), QR)

    assert found is not None
    assert found.mm_per_pixel == pytest.approx(60 / 160, rel=0.02)


def test_two_labels_of_different_size_are_no_scale() -> None:
    scene = with_label(120)
    scene.paste(label(200, "https://example.org/shop"), (100, 100))

    assert find_mark(photo(scene), QR) is None


def test_nothing_is_found_where_nothing_is() -> None:
    assert find_mark(photo(cloth()), QR) is None
    assert find_mark(photo(cloth()), COIN) is None
    assert find_mark(photo(Image.new("RGB", (800, 600), "grey")), COIN) is None
    assert find_mark(photo(Image.new("RGB", (1, 1), "grey")), COIN) is None


def with_disc(diameter: float, aspect: float = 1.0, at: tuple[float, float] = (500.5, 300.25)) -> Image.Image:
    """A grey disc with a soft edge on cloth, drawn eight times finer."""
    scene = cloth(800, 600)
    fine = Image.new("L", (800 * 4, 600 * 4))
    across, down = diameter * 2, diameter * aspect * 2
    x, y = at[0] * 4, at[1] * 4
    ImageDraw.Draw(fine).ellipse([x - across, y - down, x + across, y + down], fill=255)
    mask = fine.resize((800, 600), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.7))
    scene.paste((150, 152, 155), (0, 0), mask)
    return scene


@pytest.mark.parametrize("diameter", [40, 61.5, 120])
@pytest.mark.parametrize("aspect", [1, 0.8])
def test_a_disc_gives_the_scale_by_its_longer_axis(diameter: float, aspect: float) -> None:
    found = find_mark(photo(with_disc(diameter, aspect)), COIN)

    assert found is not None
    assert found.mm_per_pixel == pytest.approx(25 / diameter, rel=0.03)
    assert np.mean(found.corners, axis=0) == pytest.approx((500.5, 300.25), abs=1)


def test_two_discs_of_different_size_are_no_scale() -> None:
    scene = with_disc(50)
    mask = with_disc(90, at=(200, 200))
    scene.paste(mask.crop((120, 120, 280, 280)), (120, 120))

    assert find_mark(photo(scene), COIN) is None


@pytest.mark.parametrize("size_mm", [0, 0.5, -3, 5000, float("nan")])
def test_a_mark_of_impossible_size_is_a_slip_of_the_caller(size_mm: float) -> None:
    with pytest.raises(ValueError, match="needs 1 to 2000 millimetres"):
        MarkHint("qr", size_mm)


def annotated() -> list[tuple[Path, tuple[float, float, float]]]:
    """Every 13th photo with its coin's box: middle and longer side; without boxes that lie on the food."""
    rows: list[tuple[Path, tuple[float, float, float]]] = []
    for path in sorted((FOOD / "JPEGImages").glob("*.JPG"))[::13]:
        boxes: dict[str, tuple[float, ...]] = {}
        for thing in ET.parse(FOOD / "Annotations" / f"{path.stem}.xml").getroot().iter("object"):
            sides = ("xmin", "ymin", "xmax", "ymax")
            boxes[thing.findtext("name", "")] = tuple(
                float(thing.findtext(f"bndbox/{s}", "nan")) for s in sides
            )
        left, top, right, bottom = boxes["coin"]
        long, short = max(right - left, bottom - top), min(right - left, bottom - top)
        food = [(b[2] - b[0]) * (b[3] - b[1]) for name, b in boxes.items() if name != "coin"]
        if short > 0.6 * long and all(area > 0.6 * long * long for area in food):
            rows.append((path, ((left + right) / 2, (top + bottom) / 2, long)))
    return rows


@pytest.mark.real_data
@pytest.mark.slow
@needs_food
def test_the_coin_is_found_in_real_photos_and_rarely_mistaken() -> None:
    off: list[float] = []
    rows = annotated()
    for path, (_, _, long) in rows:
        found: Mark | None = find_mark(decode_photo(path.read_bytes(), longest_px=800), COIN)
        if found is not None:
            off.append(abs(25 / found.mm_per_pixel / long - 1))

    assert len(off) / len(rows) > 0.8
    assert float(np.median(off)) < 0.04
    assert float(np.mean(np.array(off) > 0.2)) < 0.03
