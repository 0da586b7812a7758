"""Garments on a simulated belt: their outlines, dyes, trims, weights, and how they come to lie."""

from itertools import pairwise

import numpy as np
import pytest

from weft_datasets.belt.climate import Climate
from weft_datasets.belt.layout import placed_pieces
from weft_datasets.belt.pieces import KINDS, BeltPiece, drawn_piece
from weft_datasets.belt.pixels import VISIBLE_NM, drawn_belt, drawn_garment
from weft_datasets.belt.scene import drawn_surface
from weft_datasets.belt.shapes import CUTS, drawn_shape
from weft_datasets.belt.trims import drawn_trims
from weft_datasets.belt.wardrobe import WARDROBE, colour_of, drawn_dye, linear_rgb
from weft_datasets.garments import GARMENTS
from weft_datasets.instruments import INNER_NM

CLIMATE = Climate(drawn_belt(np.random.default_rng(0)), humidity=0.5, cell_mm=5.0)


@pytest.fixture(scope="module")
def pieces() -> list[BeltPiece]:
    return [drawn_piece(number, (1,), CLIMATE) for number in range(1, 181)]


@pytest.mark.parametrize("kind", sorted(CUTS))
def test_a_garment_keeps_its_cloth_however_it_is_folded_and_tossed(kind: str) -> None:
    area = {garment.name: garment.area_m2 for garment in GARMENTS}[kind]
    shapes = [
        drawn_shape(np.random.default_rng(seed), kind, area_m2=area, cell_mm=5.0, belt_mm=1_000.0)
        for seed in range(6)
    ]

    cloth = [float(shape.sum()) * 25e-6 * CUTS[kind].sides for shape in shapes]
    assert np.median(cloth) == pytest.approx(area, rel=0.10)
    assert max(shape.shape[1] for shape in shapes) <= 1_000.0 / 5.0 + 1


def test_a_large_garment_is_folded_until_it_fits_the_belt() -> None:
    shape = drawn_shape(np.random.default_rng(1), "coat", area_m2=2.4, cell_mm=5.0, belt_mm=600.0)

    assert shape.max() >= 2
    assert shape.shape[1] * 5.0 < 700.0


@pytest.mark.parametrize(
    ("dye", "named"),
    [("white", "white"), ("navy", "navy"), ("red", "red"), ("green", "green"), ("blue", "blue")],
)
def test_a_dye_gives_cloth_the_colour_it_is_named_after(dye: str, named: str) -> None:
    cotton = drawn_garment(np.random.default_rng(3), backing=CLIMATE.backing, shares={"cotton": 1.0})
    k = np.interp(VISIBLE_NM, INNER_NM, drawn_dye(np.random.default_rng(0), name=dye))
    ratio = 1.0 + k / 12.0  # Kubelka-Munk of a thick cloth that scatters 12 m2/kg
    seen = ratio - np.sqrt(ratio * ratio - 1.0)

    assert cotton.visible.shape == VISIBLE_NM.shape
    assert colour_of(linear_rgb(seen, VISIBLE_NM))[0] == named


def test_a_perfect_white_is_white_and_half_of_its_light_is_the_lab_grey() -> None:
    name, white = colour_of(linear_rgb(np.ones_like(VISIBLE_NM), VISIBLE_NM))
    _, grey = colour_of(linear_rgb(np.full_like(VISIBLE_NM, 0.184), VISIBLE_NM))

    assert (name, round(white.lightness, 1)) == ("white", 100.0)
    assert grey.lightness == pytest.approx(50.0, abs=0.2)
    assert max(abs(grey.a), abs(grey.b)) < 0.1


@pytest.mark.parametrize("dye", sorted(WARDROBE))
def test_dyes_leave_the_nir_nearly_alone(dye: str) -> None:
    """Reactive and disperse blacks are seen through at 1000 nm; carbon black is another matter."""
    k = drawn_dye(np.random.default_rng(1), name=dye)

    assert k[INNER_NM > 1_000].max() < 0.1 * max(k[INNER_NM < 780].max(), 1e-9) + 1e-6


def test_masses_and_areas_are_those_of_garments(pieces: list[BeltPiece]) -> None:
    textile = [piece for piece in pieces if piece.shares]

    assert 180 < np.median([piece.grams for piece in textile]) < 420
    for piece in textile:
        typical = KINDS[piece.kind]
        assert 0.3 * typical.grams < piece.grams < 3.5 * typical.grams, piece.kind
        assert piece.area_cm2 < 1.6 * typical.area_m2 * 1e4
        assert sum(piece.shares.values()) == pytest.approx(1.0, abs=2e-4)


def test_strangers_lined_striped_and_trimmed_pieces_all_turn_up(pieces: list[BeltPiece]) -> None:
    kinds = {trim.kind for piece in pieces for trim in piece.trims}

    assert kinds == {"zip", "button", "print", "label"}
    assert 1 <= sum(piece.material == "stranger" for piece in pieces) < 16
    assert 3 <= sum(piece.mixed for piece in pieces) < 30
    assert any(piece.pattern is not None for piece in pieces)
    assert any(piece.stain is not None for piece in pieces)
    assert {"cotton", "polyester", "blend", "other"} <= {piece.material for piece in pieces}


def test_a_lined_piece_is_of_no_single_class_and_weighs_in_both_cloths(pieces: list[BeltPiece]) -> None:
    lined = [piece for piece in pieces if piece.mixed]

    assert {piece.material for piece in lined} == {"other"}
    for piece in lined:
        both = set(piece.cloths[0].shares) | set(piece.cloths[1].shares)
        assert set(piece.shares) == both


def test_trims_cover_what_they_say_and_stay_on_the_cloth() -> None:
    found = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        parts = np.zeros((120, 100), np.uint8)
        parts[20:100, 10:90] = 1
        trims = drawn_trims(rng, "hoodie", parts, CLIMATE, first=2)
        for place, trim in enumerate(trims):
            covered = int((parts == 2 + place).sum())
            # A later one may lie on an earlier.
            assert 0 <= covered <= trim.cells
            found += 1
        assert (parts[:20] == 0).all()
        assert (parts[20:100, 10:90] > 0).all()
    assert found > 15


def test_a_piece_depends_on_the_seed_and_its_number_alone(pieces: list[BeltPiece]) -> None:
    again = drawn_piece(17, (1,), CLIMATE)

    np.testing.assert_array_equal(again.parts, pieces[16].parts)
    np.testing.assert_array_equal(again.cloths[0].near, pieces[16].cloths[0].near)
    assert not np.array_equal(drawn_piece(17, (2,), CLIMATE).colours, again.colours)


def test_pieces_lie_in_order_with_gaps_unless_they_meet() -> None:
    laid = list(placed_pieces((7,), CLIMATE, from_mm=300.0, until_mm=60_000.0))
    gaps = [b.laid.first_mm - a.laid.last_mm for a, b in pairwise(laid) if b.meets == "apart"]
    meeting = [b for b in laid if b.meets != "apart"]

    assert laid[0].laid.first_mm == 300.0
    assert [placed.laid.piece.number for placed in laid] == list(range(1, len(laid) + 1))
    assert min(gaps) >= -1_000.0
    assert np.quantile(gaps, 0.1) >= 60.0
    assert max(gaps) <= 320.0
    assert 0.01 < len(meeting) / len(laid) < 0.2
    assert all(p.laid.left_mm >= 0 and p.laid.right_mm <= 1_000 + 1e-6 for p in laid)


def test_touching_pieces_touch_and_overlapping_ones_overlap() -> None:
    laid = list(placed_pieces((8,), CLIMATE, from_mm=0.0, until_mm=60_000.0))
    assert {placed.meets for placed in laid} == {"apart", "touches", "overlaps"}
    for before, after in pairwise(laid):
        if after.meets == "apart":
            continue
        one, other = before.laid, after.laid
        cell = CLIMATE.cell_mm
        down = round((other.first_mm - one.first_mm) / cell)
        right = round((other.left_mm - one.left_mm) / cell)
        rows, columns = np.nonzero(other.piece.parts)
        rows, columns = rows + down, columns + right
        tall, wide = one.piece.parts.shape
        inside = (rows >= 0) & (rows < tall) & (columns >= 0) & (columns < wide)
        shared = int((one.piece.parts[rows[inside], columns[inside]] > 0).sum())
        assert (shared > 0) == (after.meets == "overlaps")


def test_dust_lies_all_over_the_belt() -> None:
    surface = drawn_surface((1,), CLIMATE, from_mm=0.0, to_mm=20_000.0)

    assert 300 < len(surface.specks.belt_mm) < 600
    assert (np.diff(surface.specks.belt_mm) >= 0).all()
    assert {lint.name for lint in surface.lint} >= {"cotton", "polyester"}
