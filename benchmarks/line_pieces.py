"""How pieces are found on the simulated belt: whole, alone, flagged where two lie together; and a picture.

    python benchmarks/line_pieces.py                              the table, 8 belts of 45 s, 2 CPU minutes
    python benchmarks/line_pieces.py --json
    python benchmarks/line_pieces.py --plot docs/images/line-pieces.png --seeds 7003
    python benchmarks/line_pieces.py --fit --seeds 7000 7001 7002 7003 7004 7005 7006 7007 \\
        --crowded 500 501 502 503 504 505 506 507                 constants of serving's crowding.py

Everything here is simulated. The table's seeds took no part in the fit.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from weft.bundle import BUNDLED, load_bundle  # noqa: E402
from weft.line.description import LineDescription, read_description  # noqa: E402
from weft.line.reader import BeltReader  # noqa: E402
from weft_datasets.belt import layout  # noqa: E402
from weft_datasets.belt.scene import PARTS  # noqa: E402
from weft_datasets.belt.stream import Belt  # noqa: E402
from weft_datasets.belt.truth import PieceTruth  # noqa: E402
from weft_serving.line.see.crowding import Evidence  # noqa: E402
from weft_serving.line.see.nir import NirPath  # noqa: E402
from weft_serving.line.see.pieces import FoundPiece, PieceFinder  # noqa: E402
from weft_serving.line.see.references import make_references  # noqa: E402

SEEDS: Final = tuple(range(7010, 7018))
CROWDED: Final = 0.12  # of pieces touch the one before, and as many lie on it, when weights are fitted
WHOLE: Final = 0.9  # of a piece's pixels
LOST: Final = 0.5
PRESENT: Final = 0.02  # of a patch that a piece must make up to be in it
FIBRE_COLOURS: Final = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167), (150, 110, 80), (120, 190, 60), (150, 120, 220), (160, 160, 160), (110, 30, 30),
)  # fmt: skip


class Seen(NamedTuple):
    """A patch that was found, beside what truly lies there."""

    piece: FoundPiece
    pixels: dict[int, int]  # of each true piece that makes up a part of it
    evidence: Evidence | None


class Run(NamedTuple):
    """One belt."""

    truth: dict[int, PieceTruth]
    pixels: dict[int, int]  # that the camera saw of each
    seen: list[Seen]
    dust: int
    missed: float  # part of the pieces' pixels that were taken for belt
    false: float  # part of the belt's pixels, away from any thing, that were not
    finding_ms: float  # for each patch: runs, cut, outline
    counts: NDArray[np.float32]  # (h, W) mean, for the picture
    rows_mm: NDArray[np.float64]  # (h,) belt_mm


def run(line: LineDescription, reader: BeltReader, *, seed: int, seconds: float) -> Run:
    belt = Belt(line, seconds=seconds, seed=seed, tail_mm=1_000)
    white, dark = belt.references()
    references = make_references(white, dark, line.nir, taken_at=datetime.now(UTC), max_age_s=3600)
    path = NirPath(
        line.nir, references, reader, mm_per_line=line.belt.speed_mm_per_s / line.nir.lines_per_s, threads=1
    )
    finder = PieceFinder(line, maps=True)
    found: list[FoundPiece] = []
    codes, travel, there, light = [], [], [], []
    spent = 0.0
    for block in belt.blocks():
        read = path.read(block.counts, block.travel_mm)
        start = time.thread_time()
        found += finder.add(read)
        spent += time.thread_time() - start
        codes.append(block.codes)
        travel.append(block.travel_mm)
        there.append(read.foreground)
        light.append(block.counts.mean(axis=2, dtype=np.float32))
    found += finder.flush()
    path.close()
    code, foreground = np.concatenate(codes), np.concatenate(there)
    lies, thing = code > 0, code != 0
    near = np.pad(thing, 1)
    around = np.logical_or.reduce(
        [near[a : a + thing.shape[0], b : b + thing.shape[1]] for a in range(3) for b in range(3)]
    )
    rows_mm = np.concatenate(travel) - line.nir.position_mm
    truth = {row.piece: row for row in belt.truth}
    return Run(
        truth=truth,
        pixels={number: int((lies & (code // PARTS == number)).sum()) for number in truth},
        seen=[_seen(piece, code, rows_mm, line) for piece in found],
        dust=finder.dust,
        missed=float((lies & ~foreground).sum() / max(lies.sum(), 1)),
        false=float((foreground & ~around).sum() / max((~around).sum(), 1)),
        finding_ms=1e3 * spent / max(len(found), 1),
        counts=np.concatenate(light),
        rows_mm=rows_mm,
    )


def _seen(
    piece: FoundPiece, code: NDArray[np.int32], rows_mm: NDArray[np.float64], line: LineDescription
) -> Seen:
    top = int(np.argmin(np.abs(rows_mm - piece.rows_mm[0])))
    left = round((piece.place.left_mm - line.nir.left_mm) / line.nir.mm_per_pixel)
    under = code[top : top + piece.mask.shape[0], left : left + piece.mask.shape[1]][piece.mask]
    numbers, many = np.unique(under[under > 0] // PARTS, return_counts=True)
    pixels = {
        int(number): int(count)
        for number, count in zip(numbers, many, strict=True)
        if count >= max(8, PRESENT * piece.pixels)
    }
    return Seen(piece, pixels, piece.evidence)


def table(runs: list[Run]) -> dict[str, Any]:
    """Shares of true pieces and of patches; everything simulated."""
    alone = whole = lost = parted = flagged = single = 0
    together = {"touching": [0, 0], "overlapping": [0, 0]}
    off_mm: list[float] = []
    for one in runs:
        by_piece: dict[int, list[Seen]] = {}
        for seen in one.seen:
            for number in seen.pixels:
                by_piece.setdefault(number, []).append(seen)
            if len(seen.pixels) == 1:
                single += 1
                flagged += _crowded(seen)
            elif len(seen.pixels) > 1:
                rows = [one.truth[number] for number in seen.pixels if number in one.truth]
                on = any(set(row.overlaps) & set(seen.pixels) for row in rows)
                count = together["overlapping" if on else "touching"]
                count[0] += 1
                count[1] += _crowded(seen) or "long" in seen.piece.flags
        for number, row in one.truth.items():
            if row.touches or row.overlaps or not one.pixels[number]:
                continue
            alone += 1
            parts = [(seen.pixels[number] / one.pixels[number], seen) for seen in by_piece.get(number, [])]
            most, best = max(parts, key=lambda part: part[0], default=(0.0, None))
            lost += most < LOST
            parted += sum(share > 0.1 for share, _ in parts) > 1
            if best is not None and most >= WHOLE and len(best.pixels) == 1 and not best.piece.flags:
                whole += 1
                off_mm.append(abs(best.piece.place.first_mm - row.first_mm))
    return {
        "simulated": True,
        "pieces_alone": alone,
        "whole_and_unflagged": whole / alone,
        "lost": lost / alone,
        "parted": parted / alone,
        "single_flagged_as_several": flagged / max(single, 1),
        **{f"{how}_flagged": count[1] / max(count[0], 1) for how, count in together.items()},
        **{f"{how}_patches": count[0] for how, count in together.items()},
        "pixels_missed": float(np.mean([one.missed for one in runs])),
        "belt_pixels_taken_for_pieces": float(np.mean([one.false for one in runs])),
        "leading_edge_off_mm": float(np.median(off_mm)) if off_mm else None,
        "dust_per_m": float(np.mean([1e3 * one.dust / float(np.ptp(one.rows_mm)) for one in runs])),
        "finding_ms_per_patch": float(np.mean([one.finding_ms for one in runs])),
    }


def _crowded(seen: Seen) -> bool:
    return bool({"touching", "overlapping"} & set(seen.piece.flags))


def fit(runs: list[Run]) -> None:
    """Print weights of `Evidence` for the chance that a patch is more than one piece."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    every = [
        (seen.evidence[:6], len(seen.pixels) > 1, seen.evidence.length)
        for one in runs
        for seen in one.seen
        if seen.evidence is not None and seen.pixels and "long" not in seen.piece.flags
    ]
    given, several = np.array([row[0] for row in every]), np.array([row[1] for row in every])
    middle, spread = given.mean(axis=0), given.std(axis=0)
    model = LogisticRegression()
    chances = cross_val_predict(model, (given - middle) / spread, several, cv=8, method="predict_proba")[:, 1]
    for wrong in (0.01, 0.02, 0.03, 0.05):
        limit = float(np.quantile(chances[~several], 1 - wrong))
        print(f"{wrong:.0%} of {int((~several).sum())} single ones above {limit:.2f}, and of "
              f"{int(several.sum())} with several {(chances[several] > limit).mean():.1%}")  # fmt: skip
    model.fit((given - middle) / spread, several)
    weights = model.coef_[0] / spread
    print("_WEIGHTS =", tuple(round(float(weight), 3) for weight in weights))
    print("_INTERCEPT =", round(float(model.intercept_[0] - weights @ middle), 2))


PICTURE_MM: Final = 6.25  # a pixel of the picture


def draw(one: Run, line: LineDescription, reader: BeltReader, path: Path, *, metres: float = 9.0) -> None:
    """The belt as the camera saw it with outlines, and below it the main fibre of each pixel."""
    wide, tall = round(metres * 1000 / PICTURE_MM), round(line.nir.field_of_view_mm / PICTURE_MM)
    shown = one.counts[: int(np.searchsorted(one.rows_mm, one.rows_mm[0] + metres * 1000))]
    grey = np.clip(255 * (shown / np.quantile(shown, 0.995)) ** 0.6, 0, 255).astype(np.uint8)
    belt = Image.fromarray(grey.T).resize((wide, tall)).convert("RGB")
    fibre = Image.new("RGB", (wide, tall), (24, 24, 24))
    names = [*reader.fibres, "no textile"]
    palette = [FIBRE_COLOURS[at % len(FIBRE_COLOURS)] for at in range(len(names) - 1)] + [(255, 255, 255)]
    used = set[int]()
    pen = ImageDraw.Draw(belt)
    for seen in one.seen:
        piece = seen.piece
        left = (piece.place.first_mm - one.rows_mm[0]) / PICTURE_MM
        top = (piece.place.left_mm - line.nir.left_mm) / PICTURE_MM
        main, cover = _fibres(piece, reader.unknown_threshold, line)
        used |= set(np.unique(np.asarray(main)[np.asarray(cover) > 0]).tolist())
        colours = Image.fromarray(np.array(palette, np.uint8)[np.asarray(main)])
        fibre.paste(colours, (round(left), round(top)), cover)
        ring = [
            ((a - one.rows_mm[0]) / PICTURE_MM, (x - line.nir.left_mm) / PICTURE_MM)
            for a, x in piece.outline_mm
        ]
        pen.line([*ring, ring[0]], fill=(255, 90, 60) if piece.flags else (90, 230, 120), width=2)
        vote = reader.vote(piece.shares, piece.unknown)
        said = [f"{share.fibre} {share.share:.0%}" for share in vote.shares[:2] if share.share > 0.05]
        label = ", ".join([*(said or ["no textile"]), *piece.flags])
        spot = left + 4, max(top - 14, 2)
        pen.rectangle(pen.textbbox(spot, label), fill=(0, 0, 0))
        pen.text(spot, label, (255, 255, 255))
    sheet = Image.new("RGB", (wide, 2 * tall + 50), (255, 255, 255))
    sheet.paste(belt, (0, 0))
    sheet.paste(fibre, (0, tall + 6))
    pen, at = ImageDraw.Draw(sheet), 6
    for number in sorted(used):
        pen.rectangle((at, 2 * tall + 14, at + 14, 2 * tall + 28), fill=palette[number], outline=0)
        pen.text((at + 18, 2 * tall + 15), names[number], (0, 0, 0))
        at += 30 + 7 * len(names[number])
    caption = (
        f"Simulated belt, {metres:g} m, moving to the left. Green: a piece; red: flagged. "
        "Below: the main fibre of each pixel as the bundle reads it."
    )
    pen.text((6, 2 * tall + 34), caption, (0, 0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _fibres(piece: FoundPiece, threshold: float, line: LineDescription) -> tuple[Image.Image, Image.Image]:
    """Place of each pixel's main fibre (the number of fibres: none of them), and where the piece is."""
    assert piece.fibre_map is not None
    on = ~np.isnan(piece.fibre_map[..., 0])
    main = np.nan_to_num(piece.fibre_map[..., :-1], nan=-1.0).argmax(axis=2).astype(np.uint8)
    main[piece.fibre_map[..., -1] >= threshold] = piece.fibre_map.shape[2] - 1
    long_mm = piece.place.last_mm - piece.place.first_mm
    size = round(long_mm / PICTURE_MM), round(piece.mask.shape[1] * line.nir.mm_per_pixel / PICTURE_MM)
    nearest = Image.Resampling.NEAREST
    return (
        Image.fromarray(main.T).resize(size, nearest),
        Image.fromarray((255 * on.T).astype(np.uint8)).resize(size, nearest),
    )


def runs_of(seeds: list[int], seconds: float, line: LineDescription, reader: BeltReader) -> Iterator[Run]:
    for seed in seeds:
        yield run(line, reader, seed=seed, seconds=seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="how pieces are found on the simulated belt")
    parser.add_argument("--line", type=Path, default=Path("configs/lines/demo.yaml"))
    parser.add_argument("--bundle", type=Path, default=BUNDLED / "belt.onnx")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--crowded", type=int, nargs="*", default=[], help="seeds with many meetings, to fit on"
    )
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    line = read_description(given.line)
    reader = BeltReader(load_bundle(given.bundle, task="belt", threads=1))
    if given.fit:
        usual = list(runs_of(given.seeds, given.seconds, line, reader))
        layout.HABITS = replace(layout.HABITS, touching=CROWDED, overlapping=CROWDED)
        fit([*usual, *runs_of(given.crowded, given.seconds, line, reader)])
        return
    if given.plot is not None:
        draw(run(line, reader, seed=given.seeds[0], seconds=12), line, reader, given.plot)
        return
    found = table(list(runs_of(given.seeds, given.seconds, line, reader)))
    if given.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' ')}: {f'{value:.4g}' if isinstance(value, float) else value}")


if __name__ == "__main__":
    main()
