"""Small drawings as SVG text, for a page that is one file."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

COLOURS: Final = (
    "#2a6f97", "#c8553d", "#588157", "#8e5572", "#b8860b",
    "#3d5a80", "#7f5539", "#6a994e", "#9b2226", "#4a4e69",
)  # fmt: skip
WIDE, HIGH, LEFT, FOOT = 640, 220, 44, 34


def mass_histogram(grams: NDArray[np.float64], *, bins: int = 24) -> str:
    """Subjects by mass on a logarithmic axis. `grams` has one positive value a subject."""
    low, high = float(grams.min()), float(grams.max())
    if low == high:
        low, high = low * 0.9, high * 1.1
    edges = np.geomspace(low, high, min(bins, max(5, len(grams) // 2)) + 1)
    counts, _ = np.histogram(np.clip(grams, edges[0], edges[-1]), edges)
    wide = (WIDE - LEFT - 8) / len(counts)
    tall = HIGH - FOOT - 18
    parts: list[str] = []
    for place, number in enumerate(counts):
        height = tall * number / counts.max()
        parts.append(
            f'<rect x="{LEFT + place * wide + 1:.1f}" y="{HIGH - FOOT - height:.1f}" width="{wide - 2:.1f}" '
            f'height="{height:.1f}" fill="{COLOURS[0]}"><title>{edges[place]:.0f}-{edges[place + 1]:.0f} g: '
            f"{number}</title></rect>"
        )
    ticks = _round_ticks(low, high)
    for tick in ticks:
        x = LEFT + (WIDE - LEFT - 8) * np.log(tick / low) / np.log(high / low)
        parts.append(f'<text x="{x:.1f}" y="{HIGH - 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{LEFT - 6}" y="22" text-anchor="end">{counts.max()}</text>')
    parts.append(f'<text x="{LEFT - 6}" y="{HIGH - FOOT}" text-anchor="end">0</text>')
    parts.append(f'<text x="{WIDE / 2}" y="{HIGH - 2}" text-anchor="middle">grams (logarithmic)</text>')
    return _svg(parts, "Number of subjects by mass")


def _round_ticks(low: float, high: float) -> list[float]:
    tens = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    return [float(t * m) for t in tens for m in (1, 2, 5) if low <= t * m <= high]


def lines(curves: Sequence[tuple[str, NDArray[np.float64], NDArray[np.float64]]], *, high: int = HIGH) -> str:
    """Spectra over each other: name, wavelengths in nm (L,), values (L,). Colours follow the order."""
    if not curves:
        return ""
    left = min(float(nm[0]) for _, nm, _ in curves)
    right = max(float(nm[-1]) for _, nm, _ in curves)
    bottom = min(float(values.min()) for _, _, values in curves)
    top = max(float(values.max()) for _, _, values in curves)
    span = max(top - bottom, 1e-9)
    parts: list[str] = []
    for number, (name, nm, values) in enumerate(curves):
        few = np.unique(np.linspace(0, len(nm) - 1, min(len(nm), 300)).astype(int))
        x = LEFT + (WIDE - LEFT - 8) * (nm[few] - left) / max(right - left, 1e-9)
        y = high - FOOT - (high - FOOT - 10) * (values[few] - bottom) / span
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4">'
            f"<title>{escape(name)}</title></polyline>"
        )
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x, nm = LEFT + (WIDE - LEFT - 8) * share, left + share * (right - left)
        parts.append(f'<text x="{x:.1f}" y="{high - 16}" text-anchor="{anchor}">{nm:.0f}</text>')
    parts.append(f'<text x="{LEFT - 6}" y="16" text-anchor="end">{top:.2g}</text>')
    parts.append(f'<text x="{LEFT - 6}" y="{high - FOOT}" text-anchor="end">{bottom:.2g}</text>')
    parts.append(f'<text x="{WIDE / 2}" y="{high - 2}" text-anchor="middle">nm</text>')
    return _svg(parts, "Spectra by wavelength", high=high) + legend([name for name, _, _ in curves])


def legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<li><i style="background:{COLOURS[n % len(COLOURS)]}"></i>{escape(name)}</li>'
        for n, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def bars(numbers: Mapping[str, int]) -> str:
    """One horizontal bar a name, longest first as given."""
    most = max(numbers.values(), default=1)
    high = 20 * len(numbers) + 4
    parts: list[str] = []
    for place, (name, number) in enumerate(numbers.items()):
        y = 20 * place + 3
        wide = 380 * number / most
        parts.append(f'<text x="190" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="196" y="{y}" width="{wide:.1f}" height="15" fill="{COLOURS[0]}"/>')
        parts.append(f'<text x="{202 + wide:.1f}" y="{y + 12}">{number}</text>')
    return _svg(parts, "Number of subjects by label", high=high)


def _svg(parts: Sequence[str], title: str, *, high: int = HIGH) -> str:
    return (
        f'<svg viewBox="0 0 {WIDE} {high}" width="{WIDE}" height="{high}" role="img" '
        f'aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
