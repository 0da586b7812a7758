"""One piece on the belt: its cloth, a second cloth or lining, its trims and stains, and its truth."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from weft.line.colours import Lab
from weft_datasets.belt.climate import Climate
from weft_datasets.belt.labels import MaterialClass, class_of
from weft_datasets.belt.pixels import HABITS as CLOTH
from weft_datasets.belt.pixels import NEAR_NM, STEPS, VISIBLE_NM, Garment, drawn_garment
from weft_datasets.belt.shapes import CUTS, Layers, drawn_shape
from weft_datasets.belt.trims import Trim, drawn_trims
from weft_datasets.belt.wardrobe import colour_of, linear_rgb
from weft_datasets.garments import GARMENTS
from weft_datasets.garments import Garment as Kind
from weft_datasets.swatches import Shares


@dataclass(frozen=True, slots=True)
class PieceHabits:
    second_cloth: float = 0.06  # share of garments with a lining or panel of another cloth in view
    stained: float = 0.08
    patterned: float = 0.20  # stripes or checks of a second dye
    area: float = 0.12  # of ln of a kind's typical area


HABITS = PieceHabits()
KINDS: dict[str, Kind] = {kind.name: kind for kind in GARMENTS if kind.name in CUTS}
STRANGER_SHAPES: tuple[tuple[str, float], ...] = (
    ("towel", 0.10),
    ("cap", 0.12),
    ("socks", 0.10),
    ("gloves", 0.08),
)


@dataclass(frozen=True, slots=True, eq=False)
class BeltPiece:
    """A piece before it is laid down. Maps have shape (h, w): rows upstream, columns to the right."""

    number: int  # from 1
    kind: str  # of garment, or the stranger's name
    cloths: tuple[Garment, ...]  # the main one, the second if any, then those of the trims
    parts: NDArray[np.uint8]  # 0: none of it; else 1 + place in `cloths`
    layers: Layers  # times its own number of layers
    stain: NDArray[np.bool_] | None
    pattern: NDArray[np.bool_] | None  # where a second dye is
    colours: NDArray[np.float32]  # (cloths + 1, 3) linear RGB; the last is the pattern's
    trims: tuple[Trim, ...]
    shares: Shares  # of the whole piece by weight
    grams: float
    cell_mm: float
    mixed: bool = False
    seed: tuple[int, ...] = field(default=())

    @property
    def material(self) -> MaterialClass:
        """Of a lined piece "other": no lane for one fibre or one blend can use it."""
        return "other" if self.mixed else class_of(self.shares)

    @property
    def area_cm2(self) -> float:
        return float((self.parts > 0).sum()) * self.cell_mm**2 / 100.0

    @property
    def colour(self) -> tuple[str, Lab]:
        """Of the dye that most of it shows."""
        if self.pattern is not None and self.pattern[self.parts == 1].mean() > 0.5:
            return colour_of(self.colours[-1])
        return colour_of(self.colours[0])


def drawn_piece(number: int, seed: tuple[int, ...], climate: Climate) -> BeltPiece:
    """The piece of that number; depends on nothing but the seed and what its belt is."""
    rng = np.random.default_rng([*seed, number])
    if rng.random() < CLOTH.stranger:
        return _stranger(number, rng, climate, seed)
    odds = np.array([kind.share_summer + kind.share_winter for kind in KINDS.values()])
    kind = list(KINDS.values())[int(rng.choice(len(KINDS), p=odds / odds.sum()))]
    weight = kind.grams_per_m2 / 1000.0 * float(np.exp(rng.normal(0.0, 0.8 * kind.spread)))
    area = kind.area_m2 * float(np.exp(rng.normal(0.0, HABITS.area)))
    main = _cloth(rng, climate, weight, sides=CUTS[kind.name].sides)
    layers = drawn_shape(rng, kind.name, area_m2=area, cell_mm=climate.cell_mm, belt_mm=climate.belt_mm)
    parts = (layers > 0).astype(np.uint8)
    cloths = [main]
    if rng.random() < HABITS.second_cloth:
        cloths.append(_cloth(rng, climate, 0.6 * weight, sides=CUTS[kind.name].sides))
        _lay_second(parts, rng)
    cloth_only = parts.copy()
    trims = drawn_trims(rng, kind.name, parts, climate, first=len(cloths) + 1)
    cloths.extend(trim.cloth for trim in trims)
    shares, grams = _weighed(cloths, cloth_only, layers, climate.cell_mm)
    return BeltPiece(
        number=number,
        kind=kind.name,
        cloths=tuple(cloths),
        parts=parts,
        layers=layers,
        stain=_stain(rng, parts) if rng.random() < HABITS.stained else None,
        pattern=_pattern(rng, parts, climate.cell_mm) if rng.random() < HABITS.patterned else None,
        colours=_colours(cloths, trims, rng),
        trims=trims,
        shares=shares,
        grams=grams,
        cell_mm=climate.cell_mm,
        mixed=bool((cloth_only == 2).any()),
        seed=(*seed, number),
    )


def _cloth(rng: np.random.Generator, climate: Climate, weight: float, *, sides: int) -> Garment:
    found = drawn_garment(
        rng,
        backing=climate.backing,
        humidity=climate.humidity,
        weight=weight,
        habits=replace(CLOTH, stranger=0.0, single=float(sides == 1)),
    )
    assert found.near.shape == (STEPS, len(NEAR_NM))
    return found


def _stranger(number: int, rng: np.random.Generator, climate: Climate, seed: tuple[int, ...]) -> BeltPiece:
    """A bag, a sole, a print sheet: in the outline of something small."""
    only = replace(CLOTH, stranger=1.0)
    found = drawn_garment(rng, backing=climate.backing, humidity=climate.humidity, habits=only)
    outline, area = STRANGER_SHAPES[int(rng.integers(len(STRANGER_SHAPES)))]
    sides = CUTS[outline].sides
    area = area * sides * float(np.exp(rng.normal(0.0, 0.4)))
    layers = drawn_shape(rng, outline, area_m2=area, cell_mm=climate.cell_mm, belt_mm=climate.belt_mm)
    cells = float((layers > 0).sum())
    return BeltPiece(
        number=number,
        kind=found.name,
        cloths=(found,),
        parts=(layers > 0).astype(np.uint8),
        layers=np.minimum(layers, 1),
        stain=None,
        pattern=None,
        colours=_colours([found], (), rng),
        trims=(),
        shares={},
        grams=max(found.weight * cells * climate.cell_mm**2 * 1e-3, 1.0),
        cell_mm=climate.cell_mm,
        seed=(*seed, number),
    )


def _weighed(
    cloths: list[Garment], parts: NDArray[np.uint8], layers: Layers, cell_mm: float
) -> tuple[Shares, float]:
    """Shares by weight and grams of the cloth, folds and back included; trims weigh next to nothing."""
    total: dict[str, float] = {}
    for place, cloth in enumerate(cloths[: int(parts.max())]):
        cells = float(layers[parts == place + 1].sum()) * cloth.layers
        grams = cloth.weight * cells * cell_mm**2 * 1e-3  # kg/m2 x mm2
        for name, share in cloth.shares.items():
            total[name] = total.get(name, 0.0) + share * grams
    grams = sum(total.values())
    return {name: round(value / grams, 4) for name, value in total.items()}, grams


def _lay_second(parts: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """A half plane across the piece: a lining turned out, a yoke, the other panel."""
    rows, columns = np.nonzero(parts)
    angle = rng.uniform(0.0, 2 * np.pi)
    along = rows * np.cos(angle) + columns * np.sin(angle)
    second = along < np.quantile(along, rng.uniform(0.15, 0.5))
    parts[rows[second], columns[second]] = 2


def _stain(rng: np.random.Generator, parts: NDArray[np.uint8]) -> NDArray[np.bool_]:
    rows, columns = np.nonzero(parts)
    at = int(rng.integers(len(rows)))
    reach = rng.uniform(8.0, 40.0)
    down, across = np.ogrid[: parts.shape[0], : parts.shape[1]]
    return np.hypot((down - rows[at]) * rng.uniform(0.6, 1.6), across - columns[at]) < reach


def _pattern(rng: np.random.Generator, parts: NDArray[np.uint8], cell_mm: float) -> NDArray[np.bool_]:
    angle, repeat_mm = rng.uniform(0.0, np.pi), rng.uniform(8.0, 70.0)
    down, across = np.ogrid[: parts.shape[0], : parts.shape[1]]
    filled = rng.uniform(0.2, 0.5)

    def stripes(turn: float) -> NDArray[np.bool_]:
        along = (down * np.cos(turn) + across * np.sin(turn)) * cell_mm / repeat_mm
        return (along % 1.0) < filled

    first = stripes(angle)
    return first | stripes(angle + np.pi / 2) if rng.random() < 0.3 else first


def _colours(cloths: list[Garment], trims: tuple[Trim, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Linear RGB of each cloth, trims in their own, and of the pattern's second dye: (cloths + 1, 3)."""
    found = [linear_rgb(cloth.visible + cloth.shine, VISIBLE_NM) for cloth in cloths]
    for place, trim in enumerate(reversed(trims), start=1):
        if trim.colour is not None:
            found[-place] = np.array(trim.colour, np.float32)
    second = found[0] * rng.uniform(0.15, 0.7) if found[0].mean() > 0.2 else found[0] + rng.uniform(0.1, 0.7)
    return np.array([*found, np.clip(second, 0.0, 1.0)], np.float32)
