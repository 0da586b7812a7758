"""What the pixels of one garment look like to a NIR line camera: low-rank, about the physics of its cloth.

A garment is drawn once (`drawn_garment`): its cloth from `swatches`, how much of each fibre the light meets,
how damp it is, what lies under it. From the physics come the logarithms of its reflectance at four
thicknesses, and how one standard deviation of each state of a pixel (more of one fibre, damper, more dye,
coarser, more holes, tilted) changes them. A pixel is then a sum of few spectra, so a million of them are
one matrix product (`reflectance`).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from weft_datasets.absorption import Floats
from weft_datasets.belt.labels import MaterialClass, class_of, drawn_label
from weft_datasets.belt.wardrobe import drawn_dye
from weft_datasets.instruments import INNER_NM, blurred, drawn_wave
from weft_datasets.makes import Spread
from weft_datasets.scatter import layer_reflectance
from weft_datasets.strangers import Stranger, drawn_stranger, odds_of
from weft_datasets.swatches import LABEL_ERROR, Shares, Swatch, drawn_swatch, mixed_layer

Pixels = NDArray[np.float32]

NEAR = (INNER_NM >= 880.0) & (INNER_NM <= 1780.0)
NEAR_NM: Floats = INNER_NM[NEAR]  # (N,) what a camera up to 1720 nm can need
VISIBLE = (INNER_NM >= 380.0) & (INNER_NM <= 780.0)
VISIBLE_NM: Floats = INNER_NM[VISIBLE]  # (V,)
STEPS = 4  # thicknesses: 1, 2, 4 and 8 times one layer
STATES = ("share", "moisture", "dye", "coarseness", "cover", "tilt", "bow", "wave", "ripple")


# Makes of one fibre. `Spread` of simulated scans also holds how far the table of bands may be wrong; one
# plant's infeed has one chemistry, so that of a belt is narrower.
MAKES = Spread(shift_cm1=6.0, width=0.08, strength=0.26, scale=0.15, pedestal=0.12)


@dataclass(frozen=True, slots=True)
class ClothHabits:
    """How garments differ, and pixels of one garment; standard deviations where nothing else is said."""

    spread: Spread = MAKES
    stranger: float = 0.03  # share of pieces that are no textile
    black: float = 0.015  # share of garments full of carbon black
    humidity: float = 0.10  # of a garment about the hall's
    pixel_share: float = 1.0  # of what a spot's finite number of yarns gives
    pixel_moisture: float = 0.25  # natural logarithm
    pixel_dye: float = 0.20  # natural logarithm
    pixel_coarseness: float = 0.15  # natural logarithm of S
    pixel_cover: float = 0.03  # share of the surface
    pixel_tilt: float = 0.02  # of log reflectance from end to end: angle to the lamps
    pixel_bow: float = 0.006
    pixel_wave: float = 0.003
    shade: float = 0.14  # of log reflectance: folds and angle
    gathered: float = 0.35  # of log2 of the thickness: gathers and folds
    single: float = 0.10  # share of garments that lie as one layer


HABITS = ClothHabits()


@dataclass(frozen=True, slots=True)
class Garment:
    """One piece as light meets it, on its belt."""

    shares: Shares  # by weight as its label says, sum 1; empty for a stranger
    material: MaterialClass
    name: str  # of a stranger; else the material class
    layers: float  # how many lie over each other where it is smooth
    near: Floats  # (STEPS, N) reflectance at 1, 2, 4, 8 layers, over NEAR_NM, before its shine
    by_state: Floats  # (J, N) change of log reflectance by one standard deviation of each of STATES
    visible: Floats  # (V,) reflectance over VISIBLE_NM where it is smooth
    weight: float  # kg/m2, one layer
    shine: float  # mean of what the surface sends back unread


@dataclass(frozen=True, slots=True)
class Spectra:
    """A garment on one camera's axis: all that its pixels are mixed from."""

    level: Pixels  # (STEPS, L) log reflectance
    by_state: Pixels  # (J, L)
    slope: Pixels  # (STEPS, L) change of `level` with 1 nm
    layers: float
    shine: float


@dataclass(frozen=True, slots=True)
class States:
    """How each of P pixels differs from the garment's mean."""

    layers: Pixels  # (P,)
    by_state: Pixels  # (P, J) in standard deviations
    shade: Pixels  # (P,) of log reflectance
    shine: Pixels  # (P,) times the garment's


def drawn_belt(rng: np.random.Generator) -> Floats:
    """Reflectance of an empty conveyor belt, (INNER,): PVC or rubber, dark to green-grey."""
    kind = "pvc" if rng.random() < 0.7 else "rubber"
    cover = drawn_stranger(rng, spread=HABITS.spread, odds=odds_of(only=(kind,)))
    carbon = rng.uniform(1.5, 12.0) * (INNER_NM / 1300.0) ** -rng.uniform(0.0, 0.8)
    scatter = cover.scatter * rng.uniform(0.3, 0.7)
    return 0.02 + layer_reflectance(
        cover.absorption + carbon, scatter, weight=3.0, backing=np.full_like(INNER_NM, 0.05)
    )


def drawn_garment(
    rng: np.random.Generator,
    *,
    backing: Floats | None = None,
    humidity: float = 0.5,
    shares: Shares | None = None,
    weight: float | None = None,
    habits: ClothHabits = HABITS,
) -> Garment:
    """One piece: a garment, now and then a stranger.

    Args:
        backing: Reflectance of the belt, (INNER,); None: a belt of its own is drawn.
        humidity: Relative, of the hall, 0..1.
        shares: What its label says; None: drawn, strangers among them.
        weight: kg/m2 of one layer; None: drawn.
    """
    backing = drawn_belt(rng) if backing is None else backing
    if shares is None and rng.random() < habits.stranger:
        return garment_of(drawn_stranger(rng, spread=habits.spread, odds=STRANGER_ODDS), rng, backing, habits)
    shares = drawn_label(rng) if shares is None else shares
    black = bool(rng.random() < habits.black)
    cloth = drawn_swatch(rng, spread=habits.spread, black=black, shares=shares)
    cloth = _dyed(cloth, drawn_dye(rng, name="black" if black else None), weight)
    damp = float(np.clip(humidity + rng.normal(0.0, habits.humidity), 0.1, 0.9))
    layers = 1.0 if rng.random() < habits.single else 2.0
    return _garment(_Lit(cloth, _lit_shares(cloth, rng), damp, backing), rng, layers, habits)


# What falls onto a belt with the clothes: bags, hangers, shoe soles, print sheets, foils, metal.
STRANGER_ODDS = {
    "polyethylene": 4.0,
    "polystyrene": 3.0,
    "pvc": 5.0,
    "abs": 2.0,
    "pmma": 1.0,
    "polycarbonate": 1.0,
    "rubber": 5.0,
    "silicone": 1.0,
    "invented": 3.0,
    "grey": 1.0,
    "leather": 3.0,
}


def _dyed(cloth: Swatch, dye: Floats, weight: float | None) -> Swatch:
    """In the visible the wardrobe's dyes alone; in the NIR their tails over what `swatches` drew."""
    yellow = 0.4 * np.exp(-(INNER_NM - 340.0) / 90.0)
    colour = np.where(INNER_NM < 780.0, dye + yellow, cloth.colour + dye)
    return replace(cloth, colour=colour, weight=cloth.weight if weight is None else weight)


@dataclass(frozen=True, slots=True)
class _Lit:
    """A cloth in one state: what the physics is asked about."""

    cloth: Swatch
    lit: Floats  # (fibres,) shares that the light meets
    humidity: float
    backing: Floats
    dye: float = 1.0
    coarse: float = 1.0
    holes: float = 0.0

    def reflectance(self, layers: float) -> Floats:
        """Over INNER, before the shine."""
        cloth = self.cloth
        absorption = [
            # Sorption isotherm as in `swatches`: near linear from 20 to 80 % humidity.
            cloth.absorption[name]
            + cloth.regain[name] * (0.25 + 1.15 * self.humidity) * cloth.water
            + self.dye * cloth.colour
            for name in cloth.shares
        ]
        scatter = [cloth.scatter[name] / self.coarse for name in cloth.shares]
        weight = cloth.weight * layers
        inner = mixed_layer(self.lit, absorption, scatter, cloth.apart, weight, self.backing)
        open_part = np.clip((1.0 - cloth.cover) ** layers + self.holes, 0.0, 0.9)
        return (1.0 - open_part) * inner + open_part * self.backing


def _lit_shares(cloth: Swatch, rng: np.random.Generator) -> Floats:
    """What the light meets, (fibres,): the label's with its error, the face's lean, less the hidden."""
    lit = np.array(list(cloth.shares.values()))
    if len(lit) == 1:
        return lit
    lit = np.clip(lit + rng.normal(0.0, LABEL_ERROR, len(lit)), 0.005, 1.0)
    hidden = np.array([cloth.hidden if name == "elastane" else 0.0 for name in cloth.shares])
    lit = lit * (1.0 - hidden)
    lit = lit / lit.sum()
    # A plated knit shows one face; under several layers the light sees little of the other.
    lean = 0.35 * cloth.plated * min(lit[0], 1.0 - lit[0]) * rng.choice([-1.0, 1.0])
    return _moved(lit, lean)


def _moved(lit: Floats, by: float) -> Floats:
    """The first fibre's share raised by `by`, the others' lowered in proportion."""
    if len(lit) == 1:
        return lit
    first = float(np.clip(lit[0] + by, 0.002, 0.998))
    return np.append(first, lit[1:] * (1.0 - first) / (1.0 - lit[0]))


def _garment(lit: _Lit, rng: np.random.Generator, layers: float, habits: ClothHabits) -> Garment:
    cloth = lit.cloth
    steps = np.array([lit.reflectance(2.0**step)[NEAR] for step in range(STEPS)])
    base = lit.reflectance(layers)
    first = float(lit.lit[0])
    # As `swatches` draws a spot: a Dirichlet of this concentration.
    by_share = habits.pixel_share * np.sqrt(first * (1.0 - first) / (401.0 - 280.0 * cloth.apart))
    changed = (
        replace(lit, lit=_moved(lit.lit, by_share)),
        replace(lit, humidity=lit.humidity * np.exp(habits.pixel_moisture)),
        replace(lit, dye=np.exp(habits.pixel_dye)),
        replace(lit, coarse=np.exp(habits.pixel_coarseness)),
        replace(lit, holes=habits.pixel_cover),
    )
    rows = [np.log(each.reflectance(layers)[NEAR] / base[NEAR]) for each in changed]
    return Garment(
        shares=dict(cloth.shares),
        material=class_of(cloth.shares),
        name=class_of(cloth.shares),
        layers=layers,
        near=steps,
        by_state=np.array([*rows, *_optical_rows(rng, habits)]),
        visible=base[VISIBLE],
        weight=cloth.weight,
        shine=cloth.shine,
    )


def _optical_rows(rng: np.random.Generator, habits: ClothHabits) -> list[Floats]:
    """Smooth changes of log reflectance that no chemistry explains: angle, gloss, focus."""
    along = (NEAR_NM - 1327.5) / 785.0
    waves = ((habits.pixel_bow, 300.0), (habits.pixel_wave, 120.0), (habits.pixel_wave, 60.0))
    drawn = [drawn_wave(rng, size=size, length_nm=length).at(NEAR_NM) for size, length in waves]
    return [habits.pixel_tilt * along, *drawn]


def garment_of(
    thing: Stranger, rng: np.random.Generator, backing: Floats, habits: ClothHabits = HABITS
) -> Garment:
    """A thing that is no textile, as pixels of one layer of it are seen."""

    def at(layers: float, coarse: float = 1.0) -> Floats:
        scatter = thing.scatter / coarse
        return layer_reflectance(thing.absorption, scatter, weight=thing.weight * layers, backing=backing)

    base = at(1.0)
    none = np.zeros_like(NEAR_NM)
    coarse = np.log(at(1.0, float(np.exp(habits.pixel_coarseness)))[NEAR] / base[NEAR])
    return Garment(
        shares={},
        material="stranger",
        name=thing.name,
        layers=1.0,
        near=np.array([at(2.0**step)[NEAR] for step in range(STEPS)]),
        by_state=np.array([none, none, none, coarse, none, *_optical_rows(rng, habits)]),
        visible=base[VISIBLE],
        weight=thing.weight,
        shine=thing.shine,
    )


def spectra_on(garment: Garment, wavelength_nm: Floats, *, resolution_nm: float) -> Spectra:
    """The garment through a slit of that width, at the wavelengths that the camera truly sees, shape (L,)."""

    def seen(rows: Floats) -> Pixels:
        blurry = [np.interp(wavelength_nm, NEAR_NM, blurred(r, resolution_nm=resolution_nm)) for r in rows]
        return np.array(blurry, np.float32)

    level = np.log(np.maximum(garment.near, 1e-4))
    return Spectra(
        level=seen(level),
        by_state=seen(garment.by_state),
        slope=seen(np.gradient(level, NEAR_NM, axis=1)),
        layers=garment.layers,
        shine=garment.shine,
    )


def drawn_states(
    rng: np.random.Generator, pixels: int, *, layers: float = 2.0, habits: ClothHabits = HABITS
) -> States:
    """Pixels from anywhere on a garment, each on its own; a belt lays fields of them side by side instead."""
    return states_from(
        rng.standard_normal((len(STATES) + 3, pixels), np.float32), layers=layers, habits=habits
    )


def states_from(normal: Pixels, *, layers: float | Pixels, habits: ClothHabits = HABITS) -> States:
    """States from standard normal fields, shape (J + 3, P): thickness, shade and shine come last."""
    return States(
        layers=np.asarray(layers, np.float32) * np.exp2(np.float32(habits.gathered) * normal[-3]),
        by_state=np.ascontiguousarray(normal[:-3].T),
        # Folds shade more than they brighten.
        shade=np.float32(habits.shade) * (normal[-2] - np.float32(0.3) * normal[-2] ** 2),
        shine=np.exp(np.float32(0.5) * normal[-1]),
    )


def reflectance(spectra: Spectra, states: States, shift_nm: Pixels | None = None) -> Pixels:
    """True reflectance of P pixels, shape (P, L), unitless.

    Args:
        shift_nm: How far each pixel's wavelengths lie from the axis of `spectra`, (P,); None: nowhere.
    """
    step = np.clip(np.log2(states.layers), 0.0, STEPS - 1.0)
    # Hat functions: a pixel lies between two of the thicknesses.
    hats = np.maximum(1.0 - np.abs(step[:, None] - np.arange(STEPS, dtype=np.float32)), 0.0)
    parts, rows = [hats, states.by_state, states.shade[:, None]], [spectra.level, spectra.by_state]
    rows.append(np.ones((1, spectra.level.shape[1]), np.float32))
    if shift_nm is not None:
        parts.append(shift_nm[:, None] * hats)
        rows.append(spectra.slope)
    seen = np.concatenate(parts, axis=1) @ np.concatenate(rows)
    np.exp(seen, out=seen)
    shine = (np.float32(spectra.shine) * states.shine)[:, None]
    seen *= 1.0 - shine
    seen += shine
    return seen
