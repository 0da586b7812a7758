"""Black shapes of known size on white paper, as SVG or PDF. Lengths in mm, y down.

Both are written here rather than by a library: a page is a few rectangles, circles and words, and true size
is the whole point. A PDF says `PrintScaling /None`, so that viewers offer to print it at 100 %.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

_POINTS: Final = 72 / 25.4  # a mm
_ROUND: Final = 0.5522847498  # control points of the four Bezier curves that make a circle
_WIDE: Final = (
    0.6  # of its size, that a letter of Courier is wide: the one typewriter face every PDF viewer has
)
Box = tuple[float, float, float, float]  # left, top, width, height


@dataclass(frozen=True, slots=True)
class Words:
    """One line of typewriter letters; `x` is its middle, `y` its base line, `size` its height."""

    x: float
    y: float
    size: float
    text: str

    @staticmethod
    def fitting(x: float, y: float, text: str, *, wide: float, most: float) -> "Words":
        """As high as `most`, or lower so as to be no wider than `wide`."""
        return Words(x, y, min(most, wide / (max(len(text), 1) * _WIDE)), text)


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `black` is filled as one path, so that no seams show between modules."""

    wide: float
    tall: float
    black: list[Box] = field(default_factory=list[Box])
    grey: list[Box] = field(default_factory=list[Box])  # where to cut
    dots: list[tuple[float, float, float]] = field(
        default_factory=list[tuple[float, float, float]]
    )  # x, y of the middle, diameter
    words: list[Words] = field(default_factory=list[Words])


def svg(page: Page) -> str:
    """The page as SVG of its true size."""
    path = "".join(f"M{_n(x)} {_n(y)}h{_n(w)}v{_n(h)}h{_n(-w)}z" for x, y, w, h in page.black)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(page.wide)}mm" height="{_n(page.tall)}mm" '
        f'viewBox="0 0 {_n(page.wide)} {_n(page.tall)}">',
        f'<rect width="{_n(page.wide)}" height="{_n(page.tall)}" fill="#fff"/>',
        *(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" fill="#bbb"/>'
            for x, y, w, h in page.grey
        ),
        f'<path d="{path}" fill="#000" shape-rendering="crispEdges"/>' if path else "",
        *(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(d / 2)}" fill="#000"/>' for x, y, d in page.dots),
        *(
            f'<text x="{_n(each.x)}" y="{_n(each.y)}" font-size="{_n(each.size)}" text-anchor="middle" '
            f'font-family="Courier New, Courier, monospace">{escape(each.text)}</text>'
            for each in page.words
        ),
        "</svg>\n",
    ]
    return "\n".join(part for part in parts if part)


def pdf(pages: Sequence[Page]) -> bytes:
    """The pages as one PDF.

    Raises:
        ValueError: Words with letters outside Latin-1, which the face of every viewer does not have.
    """
    objects: list[bytes] = [b"", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier-Bold >>"]
    kids: list[str] = []
    for page in pages:
        packed = zlib.compress(_content(page))
        number = len(objects) + 1
        kids.append(f"{number} 0 R")
        box = f"[0 0 {_n(page.wide * _POINTS)} {_n(page.tall * _POINTS)}]"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents {number + 1} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        head = f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode()
        objects.append(head + packed + b"\nendstream")
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>"
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    out = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    places: list[int] = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + end.encode()


def _content(page: Page) -> bytes:
    lines = [f"{_POINTS:.6f} 0 0 {-_POINTS:.6f} 0 {page.tall * _POINTS:.4f} cm"]  # mm, y down
    for grey, boxes in ((0.73, page.grey), (0, page.black)):
        if boxes:
            rectangles = [f"{_n(x)} {_n(y)} {_n(w)} {_n(h)} re" for x, y, w, h in boxes]
            lines += [f"{grey:g} g", *rectangles, "f"]
    lines += [_circle(x, y, d / 2) for x, y, d in page.dots]
    for each in page.words:
        text = each.text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        left = each.x - _WIDE * each.size * len(each.text) / 2
        lines.append(f"BT /F1 {_n(each.size)} Tf 1 0 0 -1 {_n(left)} {_n(each.y)} Tm ({text}) Tj ET")
    try:
        return "\n".join(lines).encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError("a PDF can only write Latin letters below the code; write an SVG") from error


def _circle(x: float, y: float, r: float) -> str:
    k = _ROUND * r
    turns = (
        ((x + r, y + k), (x + k, y + r), (x, y + r)),
        ((x - k, y + r), (x - r, y + k), (x - r, y)),
        ((x - r, y - k), (x - k, y - r), (x, y - r)),
        ((x + k, y - r), (x + r, y - k), (x + r, y)),
    )
    curves = [" ".join(f"{_n(a)} {_n(b)}" for a, b in turn) + " c" for turn in turns]
    return f"{_n(x + r)} {_n(y)} m " + " ".join(curves) + " f"


def _n(value: float) -> str:
    """Four decimals of a mm at most, and never 1e-05, which PDF cannot read."""
    return f"{value:.4f}".rstrip("0").rstrip(".") or "0"
