"""Simulated swatches with a scan and a photo each, to try what a photo beside a scan is worth.

How far a cloth's look tells its fibre is a setting here, not a claim: at `telling` 0 all fibres look alike,
at 1 each has a look of its own. Nobody has measured what it is for real clothes; the photographed swatches of
one public set told nothing (`weft leaderboard nirscan-photo`). The same seed gives the same bytes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from weft_datasets import swatches
from weft_datasets.instruments import PRESETS, drawn_unit, grid_of, measured
from weft_datasets.makes import Spread
from weft_datasets.manifest import Manifest, make_manifest, write_manifest

LOOKS: Final = ("twill", "knit", "plain", "pile", "satin")  # one for each fibre, in the order they are named
SIDE_PX: Final = 224


def write_pairs(
    out: Path,
    *,
    subjects: int,
    seed: int,
    fibres: Sequence[str] = ("cotton", "nylon", "polyester"),
    telling: float = 0.8,
    dark: float = 0.5,
    scans: int = 2,
) -> Manifest:
    """Simulate pure swatches in turn of `fibres`; write `out/manifest.parquet` and `out/photos`.

    Args:
        telling: How often a swatch has the look of its fibre; else it has any look.
        dark: Share of swatches so full of pigment that next to nothing of their fibre is to be scanned.

    Raises:
        ValueError: No subjects, more fibres than looks, or a share outside 0..1.
    """
    if subjects < 1 or not 2 <= len(fibres) <= len(LOOKS) or not (0 <= telling <= 1 and 0 <= dark <= 1):
        raise ValueError(
            f"need subjects, 2 to {len(LOOKS)} fibres and shares of 0 to 1; got {subjects} subjects, "
            f"{len(fibres)} fibres, telling {telling:g}, dark {dark:g}"
        )
    (out / "photos").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for subject in range(subjects):
        rng = np.random.default_rng([seed, subject])
        place = subject % len(fibres)
        black = bool(rng.random() < dark)
        look = place if rng.random() < telling else int(rng.integers(len(fibres)))
        photo = f"photos/p{subject:05d}.png"
        Image.fromarray(drawn_cloth(LOOKS[look], rng, dark=black)).save(out / photo)
        truth = {f"{name}_pct": 100.0 * (name == fibres[place]) for name in fibres}
        for scan, row in enumerate(_scans(fibres[place], rng, black=black, count=scans)):
            rows.append(
                {
                    "capture": f"p{subject:05d}-{scan}",
                    "subject": f"p{subject:05d}",
                    "kind": "spectrum",
                    "photo_path": photo,
                    "klass": "dark" if black else "clear",
                    "simulated": True,
                    **truth,
                    **row,
                }
            )
    notes = {"source": "simulated scans and photos", "licence": "Apache-2.0", "simulated": True, "seed": seed}
    notes |= {"telling": telling, "dark": dark}
    manifest = make_manifest(pd.DataFrame(rows), root=out, name="simulated-pairs", notes=notes)
    return write_manifest(manifest, out / "manifest.parquet")


def drawn_cloth(look: str, rng: np.random.Generator, *, dark: bool) -> NDArray[np.uint8]:
    """A photo of cloth, (SIDE_PX, SIDE_PX, 3): how its threads lie is its look, its colour is anybody's."""
    down, across = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float64)
    thread = rng.uniform(5.0, 9.0)  # px
    turn = rng.normal(0.0, 0.1)
    along = 2 * np.pi * (across * np.cos(turn) + down * np.sin(turn)) / thread
    over = 2 * np.pi * (down * np.cos(turn) - across * np.sin(turn)) / thread
    if look == "twill":
        relief = np.sin(along + over)
    elif look == "knit":
        relief = np.sin(along + 1.5 * np.abs(np.sin(over / 2)))
    elif look == "plain":
        relief = np.sin(along) * np.sin(over)
    elif look == "pile":
        relief = rng.normal(size=down.shape)
    else:  # satin: hardly a thread to be seen, long highlights of its folds
        relief = 0.15 * np.sin(along) + 2.0 * np.sin(along / 12 + rng.uniform(0, 6))
    colour = rng.uniform(20, 60, 3) if dark else rng.uniform(60, 220, 3)
    light = 1 + 0.18 * relief + 0.1 * np.sin(down / rng.uniform(40, 90)) + rng.normal(0, 0.03, down.shape)
    return np.clip(colour * light[..., None] * rng.uniform(0.85, 1.15), 0, 255).astype(np.uint8)


def _scans(fibre: str, rng: np.random.Generator, *, black: bool, count: int) -> Iterator[dict[str, Any]]:
    spread = Spread()
    swatch = swatches.drawn_swatch(rng, spread=spread, black=black, shares={fibre: 1.0})
    humidity = float(rng.uniform(0.2, 0.85))
    preset = PRESETS[0]
    unit = drawn_unit(preset, np.random.default_rng(0))  # one handheld for all
    wavelength = grid_of(preset)
    for _ in range(count):
        seen = swatches.reflectance(swatch, rng, spread=spread, humidity=humidity)
        yield {
            "wavelength_nm": wavelength,
            "absorbance": measured(seen, unit, wavelength, rng),
            "instrument": preset.name,
            "quantity": preset.quantity,
        }
