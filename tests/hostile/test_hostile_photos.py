"""Every hostile photo ends in its own error, at bounded cost, and the next photo is none the worse."""

import runpy
import time
from pathlib import Path
from typing import Any

import pytest

from weft.photos import decode_photo

CORPUS = runpy.run_path(str(Path(__file__).with_name("make_photos.py")))
CASES: dict[str, Any] = CORPUS["CASES"]


def peak_kilobytes() -> int:
    """Most memory this process ever held, after the mark was reset by `clear_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def clear_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return peak_kilobytes()


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_photo_ends_in_its_own_error_at_bounded_cost(name: str) -> None:
    case = CASES[name]
    data = case.make()
    before, start = clear_peak(), time.process_time()

    with pytest.raises(case.error, match=case.words):
        decode_photo(data, longest_px=640)

    assert time.process_time() - start < 2
    assert peak_kilobytes() - before < 300_000
    assert decode_photo(CORPUS["jpeg"](), longest_px=100).pixels.shape == (75, 100, 3)


@pytest.mark.parametrize(
    ("make", "longest_px"),
    [
        (lambda: CORPUS["png_of_zeros"](7_700), 640),
        (lambda: CORPUS["flat_progressive_jpeg"](7_700, 50), 640),
    ],
    ids=["59-megapixel-png", "59-megapixel-jpeg-of-50-scans"],
)
def test_the_dearest_photo_within_the_limits_has_a_bounded_cost(make: Any, longest_px: int) -> None:
    data = make()
    before, start = clear_peak(), time.process_time()

    photo = decode_photo(data, longest_px=longest_px)

    assert time.process_time() - start < 10
    assert peak_kilobytes() - before < 600_000
    assert longest_px <= max(photo.pixels.shape) < 2 * longest_px
