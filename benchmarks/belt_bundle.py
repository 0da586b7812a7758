"""A belt bundle beside SNV + LDA, on the same pieces of simulated belts that neither has seen.

The belts are those of `belt_hardness.py`, each with its own camera, belt and climate; SNV + LDA is trained as
there. The bundle answers with the vote of a piece's pixels; the two shares by which it is put into a class
are chosen on the bundle's own trial, the pieces that its training left out. Also said: how often all true
shares lie inside the margins, what is unknown, and how often pieces of two cloths are told so.
Run: python benchmarks/belt_bundle.py [--bundle FILE --belts 30 --pieces 40] [--json]
"""

import argparse
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from belt_hardness import FLOOR, LINE, PIXELS, TEST_SEEDS, TRAIN_SEEDS, gathered, snv
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from weft.bundle import BUNDLED, load_bundle
from weft.line.description import read_description
from weft.line.reader import BeltReader, Trial, Vote
from weft_datasets.belt.camera import drawn_camera
from weft_datasets.belt.climate import Climate
from weft_datasets.belt.labels import class_of
from weft_datasets.belt.pieces import BeltPiece, drawn_piece
from weft_datasets.belt.pixels import drawn_belt
from weft_datasets.belt.samples import mended
from weft_datasets.belt.scene import drawn_surface, piece_pixels
from weft_datasets.belt.version import BELT_VERSION

CLASSES = ("cotton", "polyester", "blend", "other", "stranger")


class Known(NamedTuple):
    """One piece: its pixels as the line reads them, edges by the belt left out."""

    piece: BeltPiece
    reflectance: NDArray[np.float32]  # (n, L)


def belt_pieces(seed: int, pieces: int) -> Iterator[Known]:
    """Pieces of one belt, lined ones too."""
    rng = np.random.default_rng([seed, 1])
    camera = drawn_camera(rng, read_description(LINE).nir)
    climate = Climate(drawn_belt(rng), float(rng.uniform(0.3, 0.7)), cell_mm=4.0)
    surface = drawn_surface((seed, 2), climate, from_mm=0.0, to_mm=2_000.0)
    levels = camera.levels(rng)
    for number in range(1, pieces + 1):
        piece = drawn_piece(number, (seed, 3), climate)
        seen = piece_pixels(piece, surface, camera, rng, count=PIXELS, pixel_mm=6.25, levels=levels)
        yield Known(piece, mended(seen.reflectance[(seen.part > 0) & seen.pure]))


def classed(
    shares: NDArray[np.float64], unknown: NDArray[np.bool_], cut: tuple[float, float]
) -> NDArray[np.str_]:
    """Class of each of (N, 2) shares of cotton and polyester.

    Args:
        cut: From which share on both together are of no other fibre, and from which on the lesser counts.
    """
    most, least = cut
    cotton, polyester = shares.T
    found = np.full(len(shares), "other", dtype="<U9")
    found[(np.minimum(cotton, polyester) >= least) & (cotton + polyester >= most)] = "blend"
    found[(cotton >= most) & (polyester < least)] = "cotton"
    found[(polyester >= most) & (cotton < least)] = "polyester"
    found[unknown] = "stranger"
    return found


def chosen_cut(trial: Trial) -> tuple[float, float]:
    """The two shares that put most of each class of the trial right."""
    at = [trial.fibres.index("cotton"), trial.fibres.index("polyester")]
    single = ~trial.mixed
    truth = np.array(
        [
            class_of({name: share for name, share in zip(trial.fibres, row, strict=True) if share > 0})
            for row in np.round(trial.truth[single], 4)
        ]
    )
    unknown = trial.unknown[single] >= 0.5

    def right(cut: tuple[float, float]) -> float:
        found = classed(trial.predicted[single][:, at], unknown, cut)
        return float(np.mean([(found[truth == name] == name).mean() for name in CLASSES]))

    return max(product((0.8, 0.84, 0.88, 0.9, 0.92, 0.94), (0.06, 0.08, 0.1, 0.12, 0.15)), key=right)


def by_class(truth: NDArray[np.str_], answer: NDArray[np.str_]) -> dict[str, dict[str, float]]:
    """Part of each class that is put into it, and part of what is put there that belongs."""
    return {
        name: {
            "sorted_right": float((answer[truth == name] == name).mean()),
            "purity": float((truth[answer == name] == name).mean()),
            "pieces": int((truth == name).sum()),
        }
        for name in CLASSES
    }


def measured(bundle: Path, belts: int, pieces: int) -> dict[str, Any]:
    reader = BeltReader(load_bundle(bundle, task="belt"))
    trial = reader.trial
    if trial is None:
        raise SystemExit(f"{bundle}: carries no trial to choose the classes' limits on")
    known = [each for belt in range(belts) for each in belt_pieces(TEST_SEEDS + belt, pieces)]
    votes = [reader.vote(*reader.read(each.reflectance)) for each in known]
    plain = np.array([not each.piece.mixed for each in known])
    truth = np.array([each.piece.material for each in known])
    shares = np.array([[_of(vote, "cotton"), _of(vote, "polyester")] for vote in votes])
    unknown = np.array([vote.unknown >= reader.unknown_threshold for vote in votes])
    mixed = np.array([vote.mixed for vote in votes])
    cut = chosen_cut(trial)
    answer = classed(shares, unknown, cut)
    x, y = gathered(TRAIN_SEEDS, 3 * belts // 2, pieces)
    model = LinearDiscriminantAnalysis(priors=np.full(len(CLASSES), 1 / len(CLASSES))).fit(snv(x), y)
    means = np.array([-np.log10(np.maximum(each.reflectance.mean(0), FLOOR)) for each in known])
    rival = model.predict(snv(means))
    held = [_inside(vote, each.piece) for vote, each in zip(votes, known, strict=True) if vote.shares]
    return {
        "simulated": True,
        "belt_version": BELT_VERSION,
        "bundle_sha256": reader.bundle.sha256,
        "limits": cut,
        "bundle": by_class(truth[plain], answer[plain]),
        "snv_lda": by_class(truth[plain], rival[plain]),
        "all_shares_inside": float(np.mean(held)),
        "called_mixed": {
            "of one cloth": float(mixed[plain].mean()),
            "of two cloths": float(mixed[~plain].mean()),
        },
    }


def _of(vote: Vote, fibre: str) -> float:
    return next((item.share for item in vote.shares if item.fibre == fibre), 0.0)


def _inside(vote: Vote, piece: BeltPiece) -> bool:
    found = {item.fibre: item for item in vote.shares}
    return all(
        (name in found and found[name].low - 1e-6 <= share <= found[name].high + 1e-6) or share < 1e-6
        for name, share in piece.shares.items()
    ) and all(item.low <= piece.shares.get(name, 0.0) + 1e-6 for name, item in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLED / "belt.onnx")
    parser.add_argument("--belts", type=int, default=30)
    parser.add_argument("--pieces", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measured(asked.bundle, asked.belts, asked.pieces)
    if asked.json:
        print(json.dumps(found))
        return
    print(f"Simulated belts (version {BELT_VERSION}), pieces of one cloth; bundle, then SNV + LDA")
    for name in CLASSES:
        ours, theirs = found["bundle"][name], found["snv_lda"][name]
        print(
            f"{name:10} sorted right {ours['sorted_right']:.1%} | {theirs['sorted_right']:.1%}   "
            f"purity {ours['purity']:.1%} | {theirs['purity']:.1%}   {ours['pieces']} pieces"
        )
    print(f"all true shares inside their margins: {found['all_shares_inside']:.1%} of pieces")
    for what, share in found["called_mixed"].items():
        print(f"called mixed, pieces {what}: {share:.1%}")


if __name__ == "__main__":
    main()
