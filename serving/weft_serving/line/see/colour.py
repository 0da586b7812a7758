"""The colour camera's pictures as one long picture of the belt, and the look of a piece cut out of it.

A frame shows more of the belt than moves between two frames. Of each one only the rows that came past the
middle of its view since the last are kept: there the camera looks straight down, whatever the height of a
piece, and a frame that adds little need not be decoded at all.
"""

from typing import Final, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from weft.line.colours import COLOURS, lab, linear_light, names
from weft.line.description import ColourCamera, LineDescription
from weft.line.records import Colour, Place

Image8 = NDArray[np.uint8]

PICTURE_PX: Final = 160  # longest side of a piece's picture
_MARGIN_MM: Final = 12.0  # of belt around a piece in its picture
_EDGE_MM: Final = 4.0  # of a piece left out of its colour: shadow, belt, registration
_STRIP: Final = 0.125  # of a frame's height that may come past before the next frame is needed
_LEAST_PIXELS: Final = 24
_MOST_PIXELS: Final = 1_000  # a colour is no better for more


class Look(NamedTuple):
    colour: Colour
    cut: Image8  # a copy of the belt around the piece, (H, W, 3), upstream at the top

    @property
    def picture(self) -> bytes:
        """JPEG, longest side `PICTURE_PX`. Made when it is asked for: no decision has to wait for it."""
        return _picture(self.cut)


class ColourBelt:
    """The last metres of belt in colour. Used from one thread."""

    def __init__(self, description: LineDescription, camera: ColourCamera) -> None:
        self._camera = camera
        self._mm = camera.mm_per_pixel
        # What may be asked for: the longest piece, after the way from one camera to the other.
        reach_mm = 2 * description.longest_piece_mm + abs(camera.position_mm - description.nir.position_mm)
        self._rows = int((reach_mm + camera.height_px * self._mm) / self._mm) + 1
        self._belt = np.zeros((self._rows, camera.width_px, 3), np.uint8)
        self._first: int | None = None  # oldest row of the belt that is held, counted in rows since its start
        self._end = 0  # one past the newest

    def wants(self, travel_mm: float) -> bool:
        """Whether a frame taken at this travel shows enough that is new to be worth decoding."""
        new = self._row(travel_mm - self._camera.position_mm) - self._end
        return self._first is None or new < 0 or new >= _STRIP * self._camera.height_px

    def add(self, image: Image8, travel_mm: float) -> None:
        """Keep what came past the middle of the view since the last frame.

        Args:
            image: The decoded frame, shape (H, W, 3), RGB, row 0 furthest upstream.
            travel_mm: Of the belt when it was taken.

        Raises:
            ValueError: Not the shape of this camera.
        """
        height, width = self._camera.height_px, self._camera.width_px
        if image.shape != (height, width, 3):
            raise ValueError(f"frame has shape {image.shape}, needed {(height, width, 3)}")
        middle = self._row(travel_mm - self._camera.position_mm)
        lowest = middle - (height - 1) // 2  # belt row of the frame's last row, furthest downstream
        start = self._end
        if self._first is None or not lowest <= start <= middle + 1:
            # The first frame, or the belt jumped: what is held is of another place.
            self._first = start = lowest
        if middle < start:
            return
        wanted = np.arange(start, middle + 1)
        self._belt[wanted % self._rows] = image[(height - 1) // 2 + middle - wanted]
        self._end = middle + 1
        self._first = max(self._first, self._end - self._rows)

    def covers(self, belt_mm: float) -> bool:
        """Whether the belt has been seen up to this place."""
        return self._first is not None and self._row(belt_mm) < self._end

    def look(self, place: Place, outline_mm: tuple[tuple[float, float], ...]) -> Look | None:
        """Colour and picture of a piece; None where no picture of all of it is held.

        Args:
            outline_mm: (belt_mm, x_mm) corners.
        """
        first, last = self._row(place.first_mm - _MARGIN_MM), self._row(place.last_mm + _MARGIN_MM)
        if self._first is None or first < self._first or self._row(place.last_mm) >= self._end:
            return None
        last = min(last, self._end - 1)
        left = max(self._column(place.left_mm - _MARGIN_MM), 0)
        right = min(self._column(place.right_mm + _MARGIN_MM), self._camera.width_px - 1)
        if right <= left or last <= first or len(outline_mm) < 3:
            return None
        # Upstream at the top, as the camera sees it.
        cut = self._belt[np.arange(last, first - 1, -1) % self._rows, left : right + 1]
        corners = [(self._column(x_mm) - left, last - self._row(belt_mm)) for belt_mm, x_mm in outline_mm]
        inside = _inside(corners, cut.shape[:2], erode_px=int(_EDGE_MM / self._mm))
        if int(inside.sum()) < _LEAST_PIXELS:
            return None
        return Look(self._colour(cut[inside]), cut)

    def _colour(self, pixels: Image8) -> Colour:
        """The colour of the largest part that has one name: a print does not turn a white shirt grey."""
        light = linear_light(pixels[:: max(1, len(pixels) // _MOST_PIXELS)])
        found = lab(np.minimum(light * np.array(self._camera.gain_rgb, np.float32), 1.0))  # (P, 3)
        word = names(found)
        main = int(np.bincount(word, minlength=len(COLOURS)).argmax())
        middle = np.median(found[word == main], axis=0)
        return Colour(name=COLOURS[main], lightness=float(middle[0]), a=float(middle[1]), b=float(middle[2]))

    def _row(self, belt_mm: float) -> int:
        return int(np.floor(belt_mm / self._mm))

    def _column(self, x_mm: float) -> int:
        return int(np.floor((x_mm - self._camera.left_mm) / self._mm))


def _inside(corners: list[tuple[int, int]], shape: tuple[int, ...], *, erode_px: int) -> NDArray[np.bool_]:
    """Pixels inside a polygon of (column, row) corners, shape (H, W), less a rim where enough is left."""
    drawn = Image.new("L", (shape[1], shape[0]))
    canvas = ImageDraw.Draw(drawn)
    canvas.polygon(corners, fill=255)
    whole = np.asarray(drawn) > 0
    if erode_px > 0:
        canvas.line([*corners, corners[0]], fill=0, width=2 * erode_px + 1, joint="curve")
        inner = np.asarray(drawn) > 0
        if int(inner.sum()) >= _LEAST_PIXELS:
            return inner
    return whole


def _picture(cut: Image8) -> bytes:
    step = max(cut.shape[:2]) / PICTURE_PX
    if step > 1:
        size = (max(1, round(cut.shape[1] / step)), max(1, round(cut.shape[0] / step)))
        small = Image.fromarray(cut).resize(size, Image.Resampling.BOX)
        cut = np.asarray(small)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(cut), quality=80)
