"""Zips, buttons, prints and labels: small parts of other material that must not vote on its fibres."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weft_datasets.belt.climate import Climate
from weft_datasets.belt.pixels import HABITS, NEAR_NM, STATES, STEPS, VISIBLE_NM, Garment, drawn_garment
from weft_datasets.belt.pixels import garment_of as stranger_garment
from weft_datasets.render.noise import field
from weft_datasets.strangers import drawn_stranger, odds_of

TrimKind = Literal["zip", "button", "print", "label"]
Parts = NDArray[np.uint8]
RGB = tuple[float, float, float]

# How often a garment of a kind carries one in view.
ZIPPED = {"hoodie": 0.5, "fleece": 0.6, "coat": 0.5, "light jacket": 0.8, "jeans": 0.4, "trousers": 0.4,
          "dress": 0.2, "skirt": 0.3}  # fmt: skip
BUTTONED = {"shirt": 0.9, "coat": 0.5, "jeans": 0.5, "trousers": 0.4, "dress": 0.15, "pullover": 0.1}
PRINTED = {"t-shirt": 0.40, "hoodie": 0.4, "pullover": 0.08, "dress": 0.05, "underwear": 0.03}
LABELLED = 0.25  # of all garments show a label


@dataclass(frozen=True, slots=True)
class Trim:
    kind: TrimKind
    material: str
    cloth: Garment  # as its pixels are seen
    cells: int  # how many of the piece's map it covers
    colour: RGB | None  # linear; None: as its own dyes have it


def drawn_trims(
    rng: np.random.Generator, kind: str, parts: Parts, climate: Climate, *, first: int
) -> tuple[Trim, ...]:
    """Draw the trims of one garment into its map `parts`; the first gets the number `first`."""
    found: list[Trim] = []
    drawers = (("zip", ZIPPED), ("button", BUTTONED), ("print", PRINTED))
    wanted: list[TrimKind] = [name for name, odds in drawers if rng.random() < odds.get(kind, 0.0)]
    if rng.random() < LABELLED:
        wanted.append("label")
    for name in wanted:
        mask = _PLACED[name](rng, parts, climate.cell_mm) & (parts > 0)
        if mask.sum() < 4:
            continue
        material, cloth, colour = _made_of(rng, name, climate)
        parts[mask] = first + len(found)
        found.append(Trim(name, material, cloth, int(mask.sum()), colour))
    return tuple(found)


def _made_of(rng: np.random.Generator, name: TrimKind, climate: Climate) -> tuple[str, Garment, RGB | None]:
    grey: RGB = (0.5, 0.5, 0.52)
    if name == "zip" and rng.random() < 0.6:
        return "metal", metal(), grey
    if name == "button" and rng.random() < 0.25:
        return "metal", metal(), grey
    if name == "label" or name == "zip":
        fibre = "polyester" if name == "label" or rng.random() < 0.6 else "nylon"
        made = drawn_garment(rng, backing=climate.backing, humidity=climate.humidity, shares={fibre: 1.0})
        return fibre, made, (0.8, 0.8, 0.8) if name == "label" else None
    options = {"button": ("pmma", "abs", "polystyrene"), "print": ("pvc", "pvc", "pmma", "silicone")}[name]
    material = str(rng.choice(options))
    thing = drawn_stranger(rng, spread=HABITS.spread, odds=odds_of(only=(material,)))
    colour: RGB = tuple(float(v) for v in rng.uniform(0.02, 0.9, 3))  # pyright: ignore[reportAssignmentType]
    return material, stranger_garment(thing, rng, climate.backing), colour


def metal() -> Garment:
    """Teeth of a zip: a grey mirror that now and then fills the detector."""
    level = np.full((STEPS, len(NEAR_NM)), 0.55)
    return Garment(
        shares={},
        material="stranger",
        name="metal",
        layers=1.0,
        near=level,
        by_state=np.array([np.full(len(NEAR_NM), 0.25 if row == 3 else 0.0) for row in range(len(STATES))]),
        visible=np.full(len(VISIBLE_NM), 0.5),
        weight=1.0,
        shine=0.35,
    )


def _somewhere(rng: np.random.Generator, parts: Parts) -> tuple[float, float]:
    rows, columns = np.nonzero(parts == 1)
    at = int(rng.integers(len(rows)))
    return float(rows[at]), float(columns[at])


def _turned(
    rng: np.random.Generator, parts: Parts, cell_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Millimetres along and across a line through the piece."""
    row, column = _somewhere(rng, parts)
    angle = rng.uniform(0.0, np.pi)
    down, across = np.ogrid[: parts.shape[0], : parts.shape[1]]
    y, x = (down - row) * cell_mm, (across - column) * cell_mm
    return y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)


def _zip(rng: np.random.Generator, parts: Parts, cell_mm: float) -> NDArray[np.bool_]:
    along, across = _turned(rng, parts, cell_mm)
    bend = 12.0 * np.sin(along / rng.uniform(60.0, 200.0))
    return (np.abs(across - bend) < rng.uniform(4.0, 8.0)) & (np.abs(along) < rng.uniform(70.0, 320.0))


def _buttons(rng: np.random.Generator, parts: Parts, cell_mm: float) -> NDArray[np.bool_]:
    along, across = _turned(rng, parts, cell_mm)
    apart, radius = rng.uniform(60.0, 110.0), rng.uniform(5.0, 11.0)
    near = along - apart * np.round(along / apart)
    return (np.hypot(near, across) < radius) & (np.abs(along) < apart * rng.uniform(0.6, 4.0))


def _print(rng: np.random.Generator, parts: Parts, cell_mm: float) -> NDArray[np.bool_]:
    along, across = _turned(rng, parts, cell_mm)
    half = rng.uniform(45.0, 130.0, 2)
    inside = (np.abs(along) < half[0]) & (np.abs(across) < half[1])
    # Letters and pictures leave cloth free: a field of noise cut at a level.
    row, column = rng.integers(0, 512, 2)
    down = (np.arange(parts.shape[0]) + row) % 512
    right = (np.arange(parts.shape[1]) + column) % 512
    return inside & (field(5.0)[np.ix_(down, right)] > rng.uniform(-2.5, 0.0))


def _label(rng: np.random.Generator, parts: Parts, cell_mm: float) -> NDArray[np.bool_]:
    along, across = _turned(rng, parts, cell_mm)
    return (np.abs(along) < rng.uniform(14.0, 30.0)) & (np.abs(across) < rng.uniform(8.0, 16.0))


_PLACED = {"zip": _zip, "button": _buttons, "print": _print, "label": _label}
