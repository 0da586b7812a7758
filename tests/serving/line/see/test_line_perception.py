"""From a simulated belt's raw counts to pieces with their fibres, by the bundle that is shipped."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from weft.bundle import BUNDLED, load_bundle
from weft.line.description import read_description
from weft.line.reader import BeltReader
from weft.line.records import Piece, Place
from weft_datasets.belt.stream import Belt
from weft_serving.line.see.nir import NirPath
from weft_serving.line.see.pieces import PieceFinder, to_piece
from weft_serving.line.see.references import make_references

DEMO = Path(__file__).parents[4] / "configs" / "lines" / "demo.yaml"


def common(one: Place, first: float, last: float, left: float, right: float) -> float:
    """Area that two boxes share, over the area of both."""
    long = min(one.last_mm, last) - max(one.first_mm, first)
    wide = min(one.right_mm, right) - max(one.left_mm, left)
    shared = max(long, 0) * max(wide, 0)
    own = (one.last_mm - one.first_mm) * (one.right_mm - one.left_mm)
    return shared / (own + (last - first) * (right - left) - shared)


@pytest.mark.slow
def test_pieces_that_lie_alone_come_out_once_in_their_place_with_their_main_fibre() -> None:
    line = read_description(DEMO)
    reader = BeltReader(load_bundle(BUNDLED / "belt.onnx", task="belt", threads=1))
    belt = Belt(line, seconds=25, seed=7_100, tail_mm=1_000)
    now = datetime(2026, 11, 22, tzinfo=UTC)
    references = make_references(*belt.references(), line.nir, taken_at=now, max_age_s=3600)
    path, finder = NirPath(line.nir, references, reader, mm_per_line=6.25), PieceFinder(line)
    found: list[Piece] = []
    for block in belt.blocks():
        for piece in finder.add(path.read(block.counts, block.travel_mm)):
            made = to_piece(piece, reader, line="demo", number=len(found) + 1, seen_at=now)
            found.append(made)
    path.close()

    alone = [row for row in belt.truth if not row.touches and not row.overlaps]
    placed = right = 0
    for row in alone:
        box = row.first_mm, row.last_mm, row.left_mm, row.right_mm
        (near,) = [piece for piece in found if common(piece.place, *box) > 0.85][:1] or [None]
        placed += near is not None
        if near is not None and row.composition and near.shares:
            right += max(row.composition, key=row.composition.__getitem__) == near.shares[0].fibre

    assert len(alone) > 15
    assert placed >= 0.9 * len(alone)
    assert right >= 0.75 * len(alone)
