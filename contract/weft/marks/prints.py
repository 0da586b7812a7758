"""What can be printed as a scale mark: QR labels, the ruler of `weft.marks.ruler`, a dot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from weft.errors import InputError
from weft.marks.drawing import Box, Page, Words
from weft.marks.ruler import CODE_SHARE, end_text

A4: Final = (210.0, 297.0)
A3: Final = (297.0, 420.0)
SIDE_MM: Final = (10.0, 170.0)
DOT_MM: Final = (10.0, 180.0)
RULER_MM: Final = (100.0, 385.0)
CODE_LETTERS: Final = 64  # as many as a parcel code of the service may have
_QUIET: Final = 4  # modules of white around a code, as ISO/IEC 18004 asks
_LEAST_MODULE_MM: Final = 0.6  # printed at 300 dpi, seven dots
_MARGIN: Final = 7.0  # of a page, which printers leave white
_GAP: Final = 2.0
# Pixels a module that zxing-cpp needs in a photo as taken, see docs/marks.md; 8 megapixels are 3264 wide.
_READ_PX: Final = 3.0
_PHOTO_PX: Final = 3264


@dataclass(frozen=True, slots=True)
class Label:
    """A QR code of known side with its quiet zone and its words, in mm."""

    code: str
    side_mm: float
    modules: tuple[tuple[bool, ...], ...]

    @property
    def module_mm(self) -> float:
        return self.side_mm / len(self.modules)

    @property
    def wide_mm(self) -> float:
        return self.side_mm + 2 * _QUIET * self.module_mm

    @property
    def tall_mm(self) -> float:
        return self.wide_mm + 0.15 * self.side_mm

    @property
    def read_within_mm(self) -> float:
        """Width of a scene within which a photo of 8 megapixels still reads it, straight on and sharp."""
        return self.module_mm * _PHOTO_PX / _READ_PX

    def draw(self, page: Page, left: float, top: float) -> None:
        quiet = _QUIET * self.module_mm
        page.black.extend(_modules(self.modules, left + quiet, top + quiet, self.module_mm))
        middle, base = left + self.wide_mm / 2, top + quiet + self.side_mm + quiet
        size = 0.1 * self.side_mm
        page.words.append(Words.fitting(middle, base + 0.7 * size, self.code, wide=self.side_mm, most=size))
        note = f"{self.side_mm:g} mm from edge to edge of the code"
        page.words.append(
            Words.fitting(
                middle, base + 1.25 * size, note, wide=self.side_mm, most=min(0.04 * self.side_mm, 3)
            )
        )


def make_label(code: str, side_mm: float) -> Label:
    """A label for `code`, at the highest error correction that its smallest version leaves room for.

    Raises:
        InputError: A side or a code that cannot be printed legibly.
    """
    if not SIDE_MM[0] <= side_mm <= SIDE_MM[1]:
        raise InputError(
            f"a label's side is {side_mm:g} mm; {SIDE_MM[0]:g} to {SIDE_MM[1]:g} mm fit a phone's view and A4"
        )
    if not code.strip() or not code.isprintable() or len(code) > CODE_LETTERS:
        raise InputError(
            f"the code {code[:80]!r} of {len(code)} letters cannot stand on a label; give 1 to "
            f"{CODE_LETTERS} printable letters or digits"
        )
    modules = _matrix(code)
    label = Label(code, side_mm, modules)
    if label.module_mm < _LEAST_MODULE_MM:
        least = _LEAST_MODULE_MM * len(modules)
        raise InputError(
            f"{len(code)} letters need {len(modules)} modules a side, {label.module_mm:.2f} mm each on "
            f"{side_mm:g} mm: too fine to read; take {least:.0f} mm or more, or a shorter code"
        )
    return label


def label_pages(labels: Sequence[Label], *, sheet: bool) -> list[Page]:
    """One page a label, as large as it; or `sheet`: pages of A4, as many as fit, with lines to cut along."""
    pages: list[Page] = []
    if not sheet:
        for label in labels:
            pages.append(Page(label.wide_mm, label.tall_mm))
            label.draw(pages[-1], 0, 0)
        return pages
    wide = max(label.wide_mm for label in labels) + _GAP
    tall = max(label.tall_mm for label in labels) + _GAP
    columns = max(1, int((A4[0] - 2 * _MARGIN) // wide))
    rows = max(1, int((A4[1] - 2 * _MARGIN) // tall))
    for number, label in enumerate(labels):
        place = number % (columns * rows)
        if place == 0:
            pages.append(Page(*A4))
        left, top = _MARGIN + (place % columns) * wide, _MARGIN + (place // columns) * tall
        pages[-1].grey.extend(_frame(left, top, wide, tall))
        label.draw(pages[-1], left + (wide - label.wide_mm) / 2, top + _GAP / 2)
    return pages


def ruler_page(length_mm: float) -> Page:
    """The ruler on landscape A4 or A3: two codes, and between their outer edges a scale in mm.

    Raises:
        InputError: A length that no page holds.
    """
    if not RULER_MM[0] <= length_mm <= RULER_MM[1] or length_mm % 1:
        raise InputError(
            f"a ruler's length is {length_mm:g} mm; whole mm from {RULER_MM[0]:g} to {RULER_MM[1]:g} "
            "fit A4 or A3"
        )
    side = CODE_SHARE * length_mm
    left_end, right_end = _matrix(end_text(length_mm, "A")), _matrix(end_text(length_mm, "B"))
    module = side / len(left_end)
    quiet = _QUIET * module
    wide, tall = length_mm + 2 * quiet, side + 2 * quiet + 14
    paper = A4 if wide + _MARGIN <= A4[1] else A3
    page = Page(paper[1], paper[0])
    left, top = (page.wide - wide) / 2, 2 * _MARGIN
    page.grey.extend(_frame(left, top, wide, tall))
    start, line = left + quiet, top + side + 2 * quiet
    page.black.extend(_modules(left_end, start, top + quiet, module))
    page.black.extend(_modules(right_end, start + length_mm - side, top + quiet, module))
    for mm in range(int(length_mm) + 1):
        tick = 6.0 if mm % 10 == 0 else 4.5 if mm % 5 == 0 else 3.0
        page.black.append((start + mm - 0.1, line, 0.2, tick))
        if mm % 10 == 0:
            page.words.append(Words(start + mm, line + 9.5, 3, str(mm)))
    said = (f"weft ruler {length_mm:g} mm", "outer edge to outer edge", "print at 100 %, keep flat")
    for number, text in enumerate(said):
        middle = start + length_mm / 2
        size = (0.12, 0.07, 0.07)[number] * side
        base = top + quiet + side * (0.4 + 0.17 * number)
        page.words.append(Words.fitting(middle, base, text, wide=length_mm - 2 * side - 2 * quiet, most=size))
    return page


def dot_page(diameter_mm: float) -> Page:
    """A black dot amid white, on A4.

    Raises:
        InputError: A diameter that no A4 page holds.
    """
    if not DOT_MM[0] <= diameter_mm <= DOT_MM[1]:
        raise InputError(
            f"a dot's diameter is {diameter_mm:g} mm; {DOT_MM[0]:g} to {DOT_MM[1]:g} mm fit on A4"
        )
    wide = min(1.6 * diameter_mm, A4[0] - 2 * _MARGIN)
    page = Page(*A4)
    left, top = (A4[0] - wide) / 2, 2 * _MARGIN
    page.grey.extend(_frame(left, top, wide, wide))
    page.dots.append((A4[0] / 2, top + wide / 2, diameter_mm))
    note = f"dot, {diameter_mm:g} mm across"
    page.words.append(Words.fitting(A4[0] / 2, top + wide - 1.5, note, wide=wide / 2, most=3))
    return page


def _matrix(code: str) -> tuple[tuple[bool, ...], ...]:
    import segno  # weft[label]; pure Python, BSD

    try:
        made = segno.make_qr(code, error="m", boost_error=True)
    except segno.DataOverflowError as error:
        raise InputError(f"{code[:20]!r}... does not fit a QR code; shorten it") from error
    return tuple(tuple(bool(module) for module in row) for row in made.matrix)


def _modules(modules: tuple[tuple[bool, ...], ...], left: float, top: float, size: float) -> list[Box]:
    """Black modules of a row that touch are one box."""
    boxes: list[Box] = []
    for number, row in enumerate(modules):
        start: int | None = None
        for column, black in enumerate((*row, False)):
            if black and start is None:
                start = column
            elif not black and start is not None:
                boxes.append((left + start * size, top + number * size, (column - start) * size, size))
                start = None
    return boxes


def _frame(left: float, top: float, wide: float, tall: float) -> list[Box]:
    thin = 0.15
    return [
        (left, top, wide, thin),
        (left, top + tall - thin, wide, thin),
        (left, top, thin, tall),
        (left + wide - thin, top, thin, tall),
    ]
