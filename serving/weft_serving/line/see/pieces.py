"""Pieces on a moving belt: patches of foreground that have passed the camera, each with its evidence.

Memory is bounded by the longest piece: rows that no open patch reaches back to are forgotten.
Letters: h rows of a block, W columns, P pixels of a piece, F fibres, L bands.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.line.description import LineDescription
from weft.line.reader import BeltReader
from weft.line.records import Flag, Piece, Place
from weft_serving.line.see.crowding import Evidence, crowding, evidence
from weft_serving.line.see.nir import NirBlock
from weft_serving.line.see.outline import outline
from weft_serving.line.see.runs import Body, Joiner, runs_of

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

OUTLINE_POINTS: Final = 24
_BRIDGE_MM: Final = 4.0  # without foreground do not part a piece: a zip, a dark seam
_FILLED: Final = 0.3  # of the shortest piece's square, that a piece covers at least
_EDGE_MM: Final = 3.0  # along its border a pixel sees the belt too, and the border lies in shadow
_FEW: Final = 12  # pixels that voted, under which no composition is believed
_CUT: Final = 0.08  # of its length that lies against the view's edge
_GAP: Final = 8  # times the usual way between two lines, beyond which lines are missing
_SLOW: Final = 4  # times as many rows as the usual speed gives, before a patch is cut off


@dataclass(frozen=True, slots=True, eq=False)
class FoundPiece:
    """One patch of foreground that has passed the camera."""

    place: Place
    outline_mm: tuple[tuple[float, float], ...]  # (belt_mm, x_mm), the last joins the first
    mask: Bools  # (rows, columns) of the place
    rows_mm: NDArray[np.float64]  # (rows,) belt_mm of each row of the mask
    area_cm2: float
    pixels: int  # of the mask
    shares: Floats  # (P, F) of the pixels that may vote: off the border, not saturated, not too dark
    unknown: Floats  # (P,)
    brightness: float  # mean reflectance
    absorbance: Floats  # (L,) mean over some of them that look like a textile; zeros where there is none
    flags: tuple[Flag, ...]
    evidence: Evidence | None  # of more than one piece
    fibre_map: Floats | None = None  # (rows, columns, F + 1) shares and unknown, NaN off it; if asked for


class _Held(NamedTuple):
    """A block that some open patch may still reach back to."""

    first_row: int
    block: NirBlock
    row_mm: NDArray[np.float64]  # (h,) how long each row is, along the belt
    number: NDArray[np.int32]  # (h, W) which of the block's pixels lies there, where foreground


class PieceFinder:
    """Takes blocks in order, gives pieces as their last row has passed.

    Args:
        maps: Keep each piece's shares as a picture too; for drawing.
    """

    def __init__(self, description: LineDescription, *, maps: bool = False) -> None:
        self._line, self._maps = description, maps
        self._usual_mm = description.belt.speed_mm_per_s / description.nir.lines_per_s
        self._most_rows = int(_SLOW * description.longest_piece_mm / self._usual_mm) + 1
        self.dust = 0  # patches smaller than the shortest piece
        self._bridge_rows = int(_BRIDGE_MM / self._usual_mm)
        self._bridge_columns = int(_BRIDGE_MM / description.nir.mm_per_pixel)
        self._anew()

    def _anew(self) -> None:
        self._joiner = Joiner(bridge=self._bridge_rows)
        self._held: deque[_Held] = deque()
        self._row = 0  # running number of the next row
        self._last_mm: float | None = None  # travel at the last row

    def add(self, block: NirBlock) -> list[FoundPiece]:
        """Pieces that have ended within this block, in the order of their ends."""
        rows = len(block.travel_mm)
        if not rows:
            return []
        before = block.travel_mm[0] - self._usual_mm if self._last_mm is None else self._last_mm
        step_mm = float(block.travel_mm[0]) - before
        # Backwards, or lines are missing: what was open has no end that could be joined to what comes.
        found = [] if 0 <= step_mm <= _GAP * self._usual_mm else self.flush()
        if found or self._last_mm is None:
            before = block.travel_mm[0] - self._usual_mm
        row_mm = np.clip(np.diff(block.travel_mm, prepend=before), 0, 4 * self._usual_mm)
        number = (np.cumsum(block.foreground, dtype=np.int32) - 1).reshape(block.foreground.shape)
        self._held.append(_Held(self._row, block, row_mm, number))
        for runs in runs_of(block.foreground, self._row, bridge=self._bridge_columns):
            self._joiner.add(self._row, runs)
            self._row += 1
            ended = self._joiner.ended(self._row)
            ended += self._too_long(float(block.travel_mm[self._row - 1 - self._held[-1].first_row]))
            found += [piece for body in ended if (piece := self._piece(body)) is not None]
        self._last_mm = float(block.travel_mm[-1])
        self._forget()
        return found

    def flush(self) -> list[FoundPiece]:
        """Everything that is open, as if the belt were empty from here on; then begin anew."""
        found = [piece for body in self._joiner.open if (piece := self._piece(body)) is not None]
        self._anew()
        return found

    def open_places(self) -> list[Place]:
        """How far the pieces reach that have not ended."""
        return [self._place(body) for body in self._joiner.open if body.runs]

    def _too_long(self, travel_mm: float) -> list[Body]:
        """The parts so far of patches that are longer than any piece."""
        longest = self._line.longest_piece_mm
        return [
            self._joiner.cut(body, self._row - 1)
            for body in self._joiner.open
            if body.last_row == self._row - 1
            and (
                travel_mm - self._travel_at(body.first_row) > longest
                or self._row - body.first_row > self._most_rows
            )
        ]

    def _forget(self) -> None:
        needed = min((body.first_row for body in self._joiner.open), default=self._row)
        while self._held and self._held[0].first_row + len(self._held[0].row_mm) <= needed:
            self._held.popleft()

    def _travel_at(self, row: int) -> float:
        for held in reversed(self._held):
            if held.first_row <= row:
                return float(held.block.travel_mm[min(row - held.first_row, len(held.row_mm) - 1)])
        raise AssertionError("a patch reaches back to a row that was forgotten")

    def _place(self, body: Body) -> Place:
        nir = self._line.nir
        return Place(
            first_mm=self._travel_at(body.first_row) - nir.position_mm - self._usual_mm / 2,
            last_mm=self._travel_at(body.last_row) - nir.position_mm + self._usual_mm / 2,
            left_mm=nir.left_mm + body.first * nir.mm_per_pixel,
            right_mm=nir.left_mm + body.last * nir.mm_per_pixel,
        )

    def _piece(self, body: Body) -> FoundPiece | None:
        """What is known of a body; None for dust."""
        if not body.runs:
            return None
        place, nir = self._place(body), self._line.nir
        mask = _mask_of(body)
        view = self._view(body, mask)
        shortest = self._line.shortest_piece_mm
        area_mm2 = float((mask.sum(axis=1) * view.row_mm).sum()) * nir.mm_per_pixel
        longer = max(place.last_mm - place.first_mm, place.right_mm - place.left_mm)
        if longer < shortest or area_mm2 < _FILLED * shortest**2:
            self.dust += not body.continued  # the end of what was cut off is no dust
            return None
        rows_mm = view.travel_mm - nir.position_mm
        pixels = mask & view.foreground
        voting = _voting(pixels, view, edge_px=max(1, round(_EDGE_MM / nir.mm_per_pixel)))
        shares, unknown = view.shares[voting[pixels]], view.unknown[voting[pixels]]
        flags: list[Flag] = ["long"] if body.continued or self._is_long(place) else []
        if _is_cut(mask, body, columns=nir.pixels):
            flags.append("cut")
        lies = evidence(
            mask, voting, view.tint[voting[pixels]], mm=(float(view.row_mm.mean()), nir.mm_per_pixel)
        )
        flags += crowding(lies)
        brightness = float(view.brightness.mean()) if len(view.brightness) else 0.0
        if float(view.readable.mean() if len(view.readable) else 0.0) < 0.5:
            flags.append("dark")
        corners = outline(mask, points=OUTLINE_POINTS)
        return FoundPiece(
            place=place,
            outline_mm=_in_mm(corners, rows_mm, view.row_mm, place.left_mm, nir.mm_per_pixel),
            mask=mask,
            rows_mm=rows_mm,
            area_cm2=max(area_mm2, 1e-3) / 100,
            pixels=int(mask.sum()),
            shares=shares,
            unknown=unknown,
            brightness=brightness,
            absorbance=view.mean_absorbance(voting),
            flags=tuple(flags),
            evidence=lies,
            fibre_map=_map_of(pixels, view) if self._maps else None,
        )

    def _is_long(self, place: Place) -> bool:
        return place.last_mm - place.first_mm > self._line.longest_piece_mm

    def _view(self, body: Body, mask: Bools) -> "_View":
        """The rows and columns of a body, cut out of the blocks held."""
        parts: list[_View] = []
        for held in self._held:
            first = max(body.first_row - held.first_row, 0)
            last = min(body.last_row + 1 - held.first_row, len(held.row_mm))
            if first >= last:
                continue
            rows, columns = slice(first, last), slice(body.first, body.last)
            top = held.first_row + first - body.first_row
            own = held.block.foreground[rows, columns] & mask[top : top + last - first]
            parts.append(_view_of(held, rows, columns, own))
        return _joined(parts)


class _View(NamedTuple):
    """The foreground of a body within its rows and columns; pixels stand row by row."""

    travel_mm: NDArray[np.float64]  # (rows,)
    row_mm: NDArray[np.float64]  # (rows,)
    foreground: Bools  # (rows, columns) the body's own
    shares: Floats  # (p, F)
    unknown: Floats  # (p,)
    brightness: Floats  # (p,)
    tint: Floats  # (p, K)
    readable: Bools  # (p,)
    sampled: NDArray[np.intp]  # (s,) places among the p
    absorbance: Floats  # (s, L)

    def mean_absorbance(self, voting: Bools) -> Floats:
        """Mean of the spectra kept of pixels that vote, else of any; shape (L,)."""
        if not len(self.sampled):
            return np.zeros(self.absorbance.shape[1], np.float32)
        heard = voting[self.foreground][self.sampled]
        chosen = self.absorbance[heard] if heard.any() else self.absorbance
        return chosen.mean(axis=0, dtype=np.float32)


def to_piece(found: FoundPiece, reader: BeltReader, *, line: str, number: int, seen_at: datetime) -> Piece:
    """The piece's record, by the vote of its pixels; colour and mass are added by who knows them."""
    vote = reader.vote(found.shares, found.unknown)
    flags = list(found.flags)
    if vote.mixed:
        flags.append("mixed")
    if len(found.unknown) >= _FEW and vote.unknown >= reader.unknown_threshold:
        flags.append("unknown")
    elif vote.voted < _FEW:
        flags.append("few-pixels")
    return Piece(
        line=line,
        number=number,
        seen_at=seen_at,
        place=found.place,
        outline_mm=found.outline_mm,
        area_cm2=found.area_cm2,
        pixels=found.pixels,
        voted=vote.voted,
        shares=vote.shares,
        unknown=min(max(vote.unknown, 0.0), 1.0),
        flags=tuple(flags),
        bundle_sha256=reader.bundle.sha256,
    )


def _mask_of(body: Body) -> Bools:
    """The body within its own rows and columns; rows that it only bridges are filled from the row before."""
    mask = np.zeros((body.last_row - body.first_row + 1, body.last - body.first), np.bool_)
    for row, first, last in body.runs:
        mask[row - body.first_row, first - body.first : last - body.first] = True
    for row in np.flatnonzero(~mask.any(axis=1)):
        mask[row] = mask[row - 1]
    return mask


def _view_of(held: _Held, rows: slice, columns: slice, own: Bools) -> _View:
    block = held.block
    numbers = held.number[rows, columns][own]  # ascending, as both stand row by row
    place = np.searchsorted(numbers, block.sampled)
    inside = place < len(numbers)
    inside[inside] = numbers[place[inside]] == block.sampled[inside]
    return _View(
        block.travel_mm[rows],
        held.row_mm[rows],
        own,
        block.shares[numbers],
        block.unknown[numbers],
        block.brightness[numbers],
        block.tint[numbers],
        block.readable[numbers],
        place[inside],
        block.absorbance[inside],
    )


def _joined(parts: list[_View]) -> _View:
    starts = np.cumsum([0, *(len(part.unknown) for part in parts)])
    moved = [part._replace(sampled=part.sampled + start) for part, start in zip(parts, starts, strict=False)]
    columns: list[NDArray[Any]] = [np.concatenate(column) for column in zip(*moved, strict=True)]
    return _View(*columns)


def _voting(pixels: Bools, view: _View, *, edge_px: int) -> Bools:
    """Foreground pixels that may vote, (rows, columns): readable, and off the border if enough are left."""
    readable = np.zeros_like(pixels)
    readable[pixels] = view.readable
    inner, chosen = pixels, readable
    for _ in range(edge_px):
        inner = _eroded(inner)
        if int((inner & readable).sum()) < 2 * _FEW:
            break
        chosen = inner & readable
    return chosen


def _eroded(mask: Bools) -> Bools:
    """Without the pixels that have an empty neighbour, of four; beyond the mask all is empty."""
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _is_cut(mask: Bools, body: Body, *, columns: int) -> bool:
    at_edge = np.zeros(len(mask), np.bool_)
    if body.first == 0:
        at_edge |= mask[:, 0]
    if body.last == columns:
        at_edge |= mask[:, -1]
    return float(at_edge.mean()) > _CUT


def _in_mm(
    corners: NDArray[np.float64],
    rows_mm: NDArray[np.float64],
    row_mm: NDArray[np.float64],
    left_mm: float,
    mm_per_pixel: float,
) -> tuple[tuple[float, float], ...]:
    """Corners (n, 2) in pixels of the mask as (belt_mm, x_mm)."""
    borders = np.append(rows_mm - row_mm / 2, rows_mm[-1] + row_mm[-1] / 2)  # (rows + 1,)
    along = np.interp(corners[:, 0], np.arange(len(borders)), borders)
    across = left_mm + corners[:, 1] * mm_per_pixel
    return tuple((round(float(a), 1), round(float(b), 1)) for a, b in zip(along, across, strict=True))


def _map_of(pixels: Bools, view: _View) -> Floats:
    found = np.full((*pixels.shape, view.shares.shape[1] + 1), np.nan, np.float32)
    found[pixels] = np.column_stack([view.shares, view.unknown])
    return found
