"""How hard the simulated belt is: what SNV and LDA, the field's plain method, sort right on it.

Each belt has its own camera, belt material and climate. SNV + LDA is trained on the pieces of some belts and
asked about those of others, by the mean spectrum of all that the camera sees of a piece, trims and edges
included. Run: python benchmarks/belt_hardness.py [--belts 60 --pieces 40] [--json]

With --ejectors, what the simulated ejectors cost somebody who knows the truth, aiming at every piece or only
at those that touch no other: a minute.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from weft.line.description import LineDescription, NirCamera, read_description
from weft.line.lanes import LaneRules
from weft.line.rules import read_rules
from weft_datasets.belt.camera import drawn_camera
from weft_datasets.belt.climate import Climate
from weft_datasets.belt.ejector import Fire, landed
from weft_datasets.belt.pieces import drawn_piece
from weft_datasets.belt.pixels import drawn_belt
from weft_datasets.belt.scene import drawn_surface, piece_pixels
from weft_datasets.belt.sorted import Sorted, sorted_by, takes
from weft_datasets.belt.stream import Belt
from weft_datasets.belt.truth import PieceTruth
from weft_datasets.belt.version import BELT_VERSION

LINE = Path(__file__).resolve().parents[1] / "configs" / "lines" / "demo.yaml"
TEST_SEEDS, TRAIN_SEEDS = 5_000, 6_000  # belts from here on
EJECTOR_SEEDS = (9_100, 9_101, 9_102)
PIXELS = 120  # of a piece: its mean moves by less than a tenth of the noise between pieces
PUBLISHED = {"cotton": 0.950, "polyester": 0.975, "blend": 0.850}
FLOOR = 0.004  # reflectance


def belt_means(seed: int, pieces: int) -> tuple[NDArray[np.float32], list[str]]:
    """Mean absorbance (pieces, L) and class of the pieces of one belt; lined pieces are left out."""
    rng = np.random.default_rng([seed, 1])
    camera = drawn_camera(rng, read_description(LINE).nir)
    climate = Climate(drawn_belt(rng), float(rng.uniform(0.3, 0.7)), cell_mm=4.0)
    surface = drawn_surface((seed, 2), climate, from_mm=0.0, to_mm=2_000.0)
    levels = camera.levels(rng)
    means: list[NDArray[np.float32]] = []
    classes: list[str] = []
    number = 0
    while len(means) < pieces:
        number += 1
        piece = drawn_piece(number, (seed, 3), climate)
        if piece.mixed:
            continue
        seen = piece_pixels(piece, surface, camera, rng, count=PIXELS, pixel_mm=6.25, levels=levels)
        means.append(-np.log10(np.maximum(np.nanmean(seen.reflectance, axis=0), FLOOR)))
        classes.append(piece.material)
    return np.array(means), classes


def gathered(first: int, belts: int, pieces: int) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    found = [belt_means(first + belt, pieces) for belt in range(belts)]
    return np.concatenate([means for means, _ in found]), np.array([c for _, cs in found for c in cs])


def snv(absorbance: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = absorbance - absorbance.mean(axis=1, keepdims=True)
    return centred / centred.std(axis=1, keepdims=True)


class Found(TypedDict):
    simulated: bool
    belt_version: str
    trained_on: int
    pieces: dict[str, int]
    sorted_right: dict[str, float]
    purity: dict[str, float]


def sorted_right(belts: int, pieces: int) -> Found:
    """Share of the test belts' pieces that SNV + LDA puts into their class."""
    x, y = gathered(TRAIN_SEEDS, belts, pieces)
    test_x, test_y = gathered(TEST_SEEDS, max(2 * belts // 3, 1), pieces)
    classes = [str(name) for name in np.unique(y)]
    # Published figures come from sets with as many pieces of each class, so each is as likely here.
    model = LinearDiscriminantAnalysis(priors=np.full(len(classes), 1.0 / len(classes)))
    answer = model.fit(snv(x), y).predict(snv(test_x))
    return {
        "simulated": True,
        "belt_version": BELT_VERSION,
        "trained_on": len(y),
        "pieces": {name: int((test_y == name).sum()) for name in classes},
        "sorted_right": {name: float((answer[test_y == name] == name).mean()) for name in classes},
        "purity": {name: float((test_y[answer == name] == name).mean()) for name in classes},
    }


def known(description: LineDescription, rules: LaneRules, *, alone: bool) -> Sorted:
    """Belts sorted by the truth: what the ejectors, and leaving what touches, cost."""
    coarse = {"pixels": 8, "bands": 8, "lines_per_s": 10.0, "wavelength_nm": ()}
    nir = NirCamera.model_validate({**description.nir.model_dump(), **coarse})  # nobody looks at the counts
    pieces: list[PieceTruth] = []
    where: dict[int, str | None] = {}
    for seed in EJECTOR_SEEDS:
        belt = Belt(description.model_copy(update={"nir": nir}), seconds=120, seed=seed, tail_mm=1_200.0)
        list(belt.blocks())
        aimed = [row for row in belt.truth if not (alone and (row.touches or row.overlaps))]
        fires = [
            fire for row in aimed for lane in rules.lanes if takes(rules, lane.name, row)
            for fire in [_aim(description, row, str(lane.ejector))]
        ]  # fmt: skip
        taken = landed(belt.truth, fires, description, seed=seed)
        pieces += [replace(row, piece=seed * 10_000 + row.piece) for row in belt.truth]
        where.update({seed * 10_000 + number: ejector for number, ejector in taken.items()})
    return sorted_by(pieces, where, rules)


def _aim(description: LineDescription, row: PieceTruth, name: str) -> Fire:
    ejector = next(each for each in description.ejectors if each.name == name)
    speed = description.belt.speed_mm_per_s / 1_000.0  # mm/ms
    middle = 0.5 * (row.first_mm + row.last_mm) - ejector.delay_ms * speed
    half = 0.5 * ejector.pulse_ms * speed
    ends = [round(description.encoder_at(middle + off, ejector.position_mm)) for off in (-half, half)]
    return Fire(name, ends[0], ends[1])


def say_ejectors() -> None:
    description = read_description(LINE)
    rules = read_rules(LINE, description)
    for words, alone in (("every piece", False), ("pieces that touch no other", True)):
        found = known(description, rules, alone=alone)
        print(f"by the truth, aiming at {words}, of {sum(found.pieces.values())} simulated pieces:")
        for name, lane in found.lanes.items():
            shares = f"purity {lane.purity or 0:.1%}, recovery {lane.recovery or 0:.1%}"
            print(f"  {name:10} {shares}, {lane.pieces} pieces")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--belts", type=int, default=60)
    parser.add_argument("--pieces", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ejectors", action="store_true")
    asked = parser.parse_args()
    if asked.ejectors:
        say_ejectors()
        return
    found = sorted_right(asked.belts, asked.pieces)
    if asked.json:
        print(json.dumps(found))
        return
    print(
        f"SNV + LDA on simulated belts (version {BELT_VERSION}), trained on {found['trained_on']} pieces "
        f"of {asked.belts} other belts"
    )
    for name, right in found["sorted_right"].items():
        said = f", published {PUBLISHED[name]:.1%}" if name in PUBLISHED else ""
        count, pure = found["pieces"][name], found["purity"][name]
        print(f"{name:10} sorted right {right:.1%}{said}; purity {pure:.1%}; {count} pieces")


if __name__ == "__main__":
    main()
