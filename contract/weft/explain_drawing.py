"""Explanations as pictures: a photo with its parts as PNG, a spectrum with its wavelengths as SVG."""

import html
import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from weft.bands import Band
from weft.explain_photo import Part, PhotoExplanation
from weft.explain_scan import ScanExplanation
from weft.spectra import Scan

Floats = NDArray[np.float64]

_RAISES, _LOWERS = (200, 105, 43), (43, 111, 158)
_WIDE: Final = 900  # of the SVG, and its parts from the top
_TOP, _MIDDLE, _FOOT, _HIGH = 92, 230, 366, 410
_LEFT, _RIGHT = 24, 876


def draw_parts(pixels: NDArray[np.uint8], explanation: PhotoExplanation, *, longest_px: int = 960) -> bytes:
    """The photo as PNG with its parts over it: orange raised the estimate, blue lowered it, in grams.

    Args:
        pixels: RGB, (H, W, 3), of any size.
    """
    image = Image.fromarray(pixels)
    scale = longest_px / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    strength = [abs(part.grams) / (part.width * part.height) for part in explanation.parts]
    most = max(strength) or 1.0
    cover = Image.new("RGBA", image.size)
    pen = ImageDraw.Draw(cover)
    boxes = [_box(part, image.size) for part in explanation.parts]
    for part, box, strong in zip(explanation.parts, boxes, strength, strict=True):
        pen.rectangle(box, fill=(*(_RAISES if part.grams > 0 else _LOWERS), round(170 * strong / most)))
    image = Image.alpha_composite(image.convert("RGBA"), cover).convert("RGB")
    pen = ImageDraw.Draw(image)
    letters = max(11, longest_px // 60)
    font = ImageFont.load_default(letters)
    for part, box, strong in zip(explanation.parts, boxes, strength, strict=True):
        if strong >= most / 4:
            at = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            pen.text(at, f"{part.grams:+.0f}", "white", font, "mm", stroke_width=2, stroke_fill=(20, 30, 30))
    said = f"{explanation.grams:.0f} g in all. Orange raised it, blue lowered it, by the grams written."
    foot = Image.new("RGB", (image.width, image.height + 2 * letters + 4), "white")
    foot.paste(image)
    ImageDraw.Draw(foot).text((8, image.height + letters // 2), said, (28, 36, 33), font)
    buffer = io.BytesIO()
    foot.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def draw_influence(scan: Scan, found: ScanExplanation) -> str:
    """The spectrum as SVG, below it what each wavelength carried, and the fibre's known bands over both."""
    nm, fibre = found.wavelength_nm, html.escape(found.fibre)
    inside = (scan.wavelength_nm >= nm[0]) & (scan.wavelength_nm <= nm[-1])
    absorbance = np.asarray(scan.absorbance[inside], np.float64)
    spectrum = _points(nm, scan.wavelength_nm[inside], _scaled(absorbance, _MIDDLE - 12, _TOP + 12))
    most = max(float(np.abs(found.log_odds).max()), 1e-9)
    least = min(0.0, float(found.log_odds.min()))
    zero = _FOOT + (_FOOT - _MIDDLE) * least / (most - least)
    curve = _points(nm, nm, zero - found.log_odds / (most - least) * (_FOOT - _MIDDLE))
    ticks = [value for value in range(800, 2600, 100) if nm[0] <= value <= nm[-1]]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" font-size="12" '
            f'font-family="sans-serif" fill="#22313f"><rect width="{_WIDE}" height="{_HIGH}" fill="white"/>',
            _text(_LEFT, 20, f"{fibre}, {found.share:.0%} of the answer: what it was read from", size=15),
            *_band_lines(nm, found.bands),
            f'<polyline points="{spectrum}" fill="none" stroke="#2b6f9e" stroke-width="2"/>',
            f'<polygon points="{_LEFT},{zero:.1f} {curve} {_RIGHT},{zero:.1f}" fill="#c8692b" '
            'fill-opacity="0.45" stroke="#c8692b"/>',
            f'<path d="M{_LEFT} {zero:.1f}H{_RIGHT}" stroke="#22313f"/>',
            *(_text(_x(nm, value), _FOOT + 18, str(value), anchor="middle") for value in ticks),
            _text(_RIGHT, _HIGH - 6, "wavelength, nm", anchor="end"),
            _text(
                _LEFT,
                _HIGH - 6,
                f"blue: absorbance; orange: fall of the log odds without this stretch, at most {most:.2g}; "
                f"dashed: known bands of {fibre}",
            ),
            "</svg>",
        ]
    )


def _band_lines(nm: Floats, bands: tuple[Band, ...]) -> list[str]:
    """Dashed lines with their names in four rows, since bands stand close together."""
    lines: list[str] = []
    for number, band in enumerate(bands):
        at, level = _x(nm, band.nm), 38 + 14 * (number % 4)
        lines.append(f'<path d="M{at:.1f} {level + 3}V{_FOOT}" stroke="#9aa5ad" stroke-dasharray="3 3"/>')
        anchor = "start" if at < _WIDE / 2 else "end"
        lines.append(_text(at, level, f"{band.nm:.0f} {html.escape(band.bond)}", anchor=anchor, size=11))
    return lines


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}">{words}</text>'


def _x(nm: Floats, value: float) -> float:
    return _LEFT + (value - float(nm[0])) / float(nm[-1] - nm[0]) * (_RIGHT - _LEFT)


def _points(nm: Floats, at: Floats, ys: Floats) -> str:
    return " ".join(f"{_x(nm, float(a)):.1f},{float(y):.1f}" for a, y in zip(at, ys, strict=True))


def _scaled(values: Floats, low: float, high: float) -> Floats:
    span = max(float(values.max() - values.min()), 1e-9)
    return low + (values - values.min()) / span * (high - low)


def _box(part: Part, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels, both ends included."""
    left, top = round(part.left * size[0]), round(part.top * size[1])
    right, bottom = round((part.left + part.width) * size[0]), round((part.top + part.height) * size[1])
    return left, top, right - 1, bottom - 1
