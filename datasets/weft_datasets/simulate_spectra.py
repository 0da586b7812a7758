"""Labelled spectra without an instrument: absorption bands, scatter, moisture, dye, instrument errors.

The same seed gives the same bytes. `absorption` says which bands were set with real scans in view,
`instruments` what was measured on real scans; no measured spectrum was copied.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weft_datasets import strangers, swatches
from weft_datasets.absorption import FIBRE_MATERIALS, WATER, Floats, rows_of
from weft_datasets.instruments import PRESETS, Preset, Unit, drawn_unit, grid_of, measured
from weft_datasets.makes import Spread
from weft_datasets.manifest import Manifest, make_manifest, write_manifest
from weft_datasets.plastics import OTHER_MATERIALS

# Frozen: a change to any band, spread, preset or odds needs a new number, and new figures for its models.
SIMULATOR_VERSION = "2"
ORIGIN = (
    "simulated; band positions and shapes set by hand after the literature, checked against overlays of real "
    "scans; no measured spectrum was copied"
)
FIBRES = tuple(swatches.PURE)
STRANGER_SHARE = 0.22  # share of subjects that are no textile fibre
UNITS = 96  # instruments in the simulated world; a subject is scanned on one or two of them


def write_spectra(
    out: Path,
    *,
    subjects: int,
    seed: int,
    scans: tuple[int, int] = (1, 4),
    grid: tuple[float, float, float] | None = None,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Manifest:
    """Simulate garments and things that are none, and write `out/manifest.parquet`.

    Args:
        scans: Fewest and most scans of a subject.
        grid: First and last wavelength and step in nm for all scans; None: each instrument's own.
        only: Strangers of these kinds alone and no garments (`strangers.STRANGERS`, `ASKED_ONLY`).
        without: Kinds of stranger that are left out, to be kept for a test.

    Raises:
        ValueError: No subjects, a range of scans or a grid that holds nothing, a grid beyond 350-2550 nm, or
            an unknown kind of stranger.
    """
    if subjects < 1 or not 1 <= scans[0] <= scans[1]:
        raise ValueError(
            f"need at least one subject and scans in order, got {subjects} subjects, scans {scans}"
        )
    asked = None if grid is None else asked_grid(grid)
    odds = strangers.odds_of(only, without)
    rows = [
        row
        for subject in range(subjects)
        for row in simulate_subject(subject, seed, scans, asked, odds=odds, garments=not only)
    ]
    frame = pd.DataFrame(rows)
    notes = {
        "source": ORIGIN,
        "licence": "Apache-2.0",
        "simulated": True,
        "simulator_version": SIMULATOR_VERSION,
        "seed": seed,
        "subjects": subjects,
        "only": list(only),
        "without": list(without),
    }
    manifest = make_manifest(frame, root=out, name="simulated-spectra", notes=notes)
    return write_manifest(manifest, out / "manifest.parquet")


def asked_grid(grid: tuple[float, float, float]) -> Floats:
    start, stop, step = grid
    if not (350.0 <= start < stop <= 2550.0 and 0.0 < step <= (stop - start) / 8):
        raise ValueError(
            f"grid {start:g}-{stop:g} nm by {step:g} nm; need 350-2550 nm, ascending, at least 9 points"
        )
    return np.arange(start, stop + step / 2, step)


def simulate_subject(
    index: int,
    seed: int,
    scans: tuple[int, int],
    asked: Floats | None,
    *,
    odds: Mapping[str, float] = strangers.STRANGERS,
    garments: bool = True,
) -> Iterator[dict[str, Any]]:
    """All manifest rows of one subject; depends on nothing but the seed and its number."""
    rng = np.random.default_rng([seed, index])
    spread = Spread()
    strange = rng.random() < STRANGER_SHARE or not garments
    stranger = strangers.drawn_stranger(rng, spread=spread, odds=odds) if strange else None
    swatch = swatches.drawn_swatch(rng, spread=spread) if stranger is None else None
    humidity = float(rng.uniform(0.2, 0.85))
    units = [_unit(seed, rng, asked) for _ in range(2)]
    truth = _truth({} if swatch is None else swatch.shares)
    klass = stranger.name if stranger is not None else _klass(truth)
    for scan in range(int(rng.integers(scans[0], scans[1] + 1))):
        if swatch is not None:
            seen = swatches.reflectance(swatch, rng, spread=spread, humidity=humidity)
        else:
            assert stranger is not None
            seen = strangers.reflectance(stranger, rng, spread=spread)
        unit, number = units[int(rng.random() < 0.25)]
        wavelength = grid_of(unit.preset) if asked is None else asked
        yield {
            "capture": f"s{index:06d}-{scan}",
            "subject": f"s{index:06d}",
            "kind": "spectrum",
            "wavelength_nm": wavelength,
            "absorbance": measured(seen, unit, wavelength, rng),
            **truth,
            "klass": klass,
            "instrument": f"{unit.preset.name} #{number}",
            "quantity": unit.preset.quantity,
            "simulated": True,
        }


def _unit(seed: int, rng: np.random.Generator, asked: Floats | None) -> tuple[Unit, int]:
    fitting = [p for p in PRESETS if asked is None or (p.start_nm <= asked[0] and asked[-1] <= p.stop_nm)]
    if not fitting:  # no preset sees that far: stretch the widest one
        assert asked is not None
        fitting = [replace(PRESETS[4], start_nm=float(asked[0]), stop_nm=float(asked[-1]))]
    odds = np.array([p.share for p in fitting])
    preset: Preset = fitting[int(rng.choice(len(fitting), p=odds / odds.sum()))]
    number = int(rng.integers(UNITS))
    return drawn_unit(
        preset, np.random.default_rng([seed, 1 << 40, PRESETS_BY_NAME[preset.name], number])
    ), number


def parameters_digest() -> str:
    """sha256 over every band, spread, odds and preset: what `SIMULATOR_VERSION` names."""
    solids = [*FIBRE_MATERIALS.values(), *OTHER_MATERIALS.values(), WATER]
    plain = {
        "version": SIMULATOR_VERSION,
        "solids": [[s.name, s.density, s.regain, *rows_of(s)] for s in solids],
        "spread": asdict(Spread()),
        "garments": [swatches.PURE, swatches.BLENDS, swatches.FIBRE_UM, swatches.BLACK, swatches.LABEL_ERROR],
        "odds": [swatches.BLEND_SHARE, swatches.THIRD_FIBRE_SHARE, swatches.FINISHED, STRANGER_SHARE],
        "strangers": strangers.STRANGERS,
        "presets": [asdict(preset) for preset in PRESETS],
        "units": UNITS,
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


PRESETS_BY_NAME = {preset.name: place for place, preset in enumerate(PRESETS)}


def _truth(shares: swatches.Shares) -> dict[str, float]:
    truth = {f"{name}_pct": round(100.0 * shares.get(name, 0.0), 6) for name in FIBRES}
    return {**truth, "unknown_pct": 0.0 if shares else 100.0}


def _klass(truth: dict[str, float]) -> str:
    return "+".join(name.removesuffix("_pct") for name, value in truth.items() if value > 0)
