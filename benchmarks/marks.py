"""How well scale marks are found, by tilt, blur and light: rendered photos of 8 megapixels, and real ones.

    python benchmarks/marks.py --scenes 10 --plot docs/images/marks.png     about 5 CPU minutes
    python benchmarks/marks.py --scenes 10 --json > marks.json
    python benchmarks/marks.py --food ../shared/data/photos/weighed_food_with_coin
    python benchmarks/marks.py --without ../shared/data/photos/garments_cc0/images

Every rendered photo shows all four marks on one ground, so each is searched amid the others: a QR label of
60 mm, a dot of 60 mm, a ruler of 250 mm and an A4 sheet, in a scene 1.2 m wide.
"""

import argparse
import hashlib
import json
import math
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import simplejpeg

from weft.marks import SEARCH_PX, MarkHint, MarkKind
from weft.marks.prints import dot_page, label_pages, make_label, ruler_page
from weft.weigher import prepare_pixels
from weft_datasets.importers.ecustfd import read as read_food
from weft_datasets.render.flat import PAPER, Print, Shot, View, cut, flat_photo, printed
from weft_datasets.render.room import Room

SCENE_MM: Final = 1200.0
HINTS: Final[dict[MarkKind, MarkHint]] = {
    "qr": MarkHint("qr", 60),
    "disc": MarkHint("disc", 60),
    "ruler": MarkHint("ruler", 250),
    "sheet": MarkHint("sheet", 297),
}
WRONG: Final = 0.2
ASIDE_OF_5: Final = 2  # objects of the food photos that no weight of the disc finder was fitted on


class Condition(NamedTuple):
    name: str
    tilt: tuple[float, float]
    shot: Shot


CONDITIONS: Final = (
    Condition("tilt 0-10", (0, 10), Shot()),
    Condition("tilt 20-30", (20, 30), Shot()),
    Condition("tilt 40-50", (40, 50), Shot()),
    Condition("tilt 55-62", (55, 62), Shot()),
    Condition("blur 2 px", (10, 40), Shot(blur_px=2.0)),
    Condition("blur 4 px", (10, 40), Shot(blur_px=4.0)),
    Condition("blur 7 px", (10, 40), Shot(blur_px=7.0)),
    Condition("shake 12 px", (10, 40), Shot(shake_px=12.0)),
    Condition("dim, grainy", (10, 40), Shot(exposure=0.12, grain=0.03)),
    Condition("shadow edge", (10, 40), Shot(shadow=0.65)),
    Condition("one-sided, warm", (10, 40), Shot(slope=0.55, warm=(1.0, 0.78, 0.5))),
)


class Look(NamedTuple):
    """One mark looked for in one photo; `off` relative error of the scale, nan where none was found."""

    condition: str
    kind: str
    off: float
    tilt_off: float
    confidence: float
    ms: float


def place(rng: np.random.Generator) -> dict[MarkKind, Print]:
    """The four marks in the four quarters of the ground, each turned and moved a little."""
    quarters = np.array([(-230, 130), (230, 130), (-230, -130), (230, -130)], np.float64)
    spots = [tuple(spot + rng.uniform(-25, 25, 2)) for spot in quarters[rng.permutation(4)]]
    (label,) = label_pages([make_label(f"P-{rng.integers(1e6):06d}", 60)], sheet=False)
    ruler = ruler_page(250)
    dot = dot_page(60)
    left, top = ruler.grey[0][:2]
    strip = cut(ruler, (left, top, ruler.grey[0][2], ruler.grey[2][3]))
    left, top, wide, _ = dot.grey[0]
    turns = rng.uniform(0, 2 * math.pi, 4)
    return {
        "qr": printed(label, place_mm=spots[0], turn=turns[0]),
        "disc": printed(cut(dot, (left, top, wide, wide)), place_mm=spots[1], turn=turns[1]),
        "ruler": printed(strip, place_mm=spots[2], turn=turns[2]),
        "sheet": Print(np.full((297, 210), PAPER), 210, spots[3], turns[3]),
    }


def middle_of(kind: MarkKind, each: Print) -> tuple[float, float]:
    """Where the mark's scale is meant; the codes of a label and a ruler lie off the middle of their paper."""
    down = {"qr": 4.5, "ruler": 7.0}.get(kind, 0.0)
    return (
        each.place_mm[0] - down * math.sin(each.turn),
        each.place_mm[1] + down * math.cos(each.turn),
    )


def rendered(scenes: int, seed: int) -> Iterator[Look]:
    for number, condition in enumerate(CONDITIONS):
        for scene in range(scenes):
            rng = np.random.default_rng([seed, number, scene])
            room = Room.draw(rng, radius=300)
            marks = place(rng)
            view = View(
                SCENE_MM,
                float(rng.uniform(*condition.tilt)),
                float(rng.choice([0, 90, 180, 270]) + rng.normal(0, 8)),
                focal=float(rng.uniform(0.67, 0.8)),
            )
            pixels = flat_photo(rng, room, list(marks.values()), view, condition.shot)
            data = simplejpeg.encode_jpeg(pixels, quality=88, colorsubsampling="420")
            for kind, hint in HINTS.items():
                truth = view.mm_per_pixel(middle_of(kind, marks[kind]))
                yield looked(condition.name, data, hint, truth, view.tilt_degrees)


def looked(condition: str, data: bytes, hint: MarkHint, truth: float, tilt: float) -> Look:
    """Look as the service does; time is that of one core, decoding for the search included."""
    start = time.process_time()
    mark = prepare_pixels(data, decode_px=320, hint=hint).mark
    ms = 1000 * (time.process_time() - start)
    if mark is None:
        return Look(condition, hint.kind, math.nan, math.nan, math.nan, ms)
    tilt_off = math.nan if mark.tilt_degrees is None else mark.tilt_degrees - tilt
    return Look(condition, hint.kind, mark.mm_per_pixel / truth - 1, tilt_off, mark.confidence, ms)


class Coin(NamedTuple):
    """The coin of one real photo."""

    look: Look
    capture: str
    aside: bool  # its object was kept aside from fitting
    sound: bool  # its annotated box can be the coin's, as `weft import ecustfd` judges


def food(folder: Path, every: int) -> Iterator[Coin]:
    """Against every annotated box that has the size and about the shape of a coin, right or wrong."""
    manifest = read_food(folder)
    for row in manifest.frame.iloc[::every].itertuples():
        diameter_px = annotated(folder / "Annotations" / f"{row.capture}.xml", from_above=row.view == "top")
        if diameter_px is None:
            continue
        data = manifest.file(row.path).read_bytes()
        digest = hashlib.sha256(("marks" + row.subject.lower()).encode()).hexdigest()
        look = looked(f"food, {row.view}", data, MarkHint("disc", 25), 25 / diameter_px, math.nan)
        sound = bool((row.mark_mm_per_pixel_truth or 0) > 0)
        yield Coin(look, row.capture, int(digest, 16) % 5 < ASIDE_OF_5, sound)


def annotated(file: Path, *, from_above: bool) -> float | None:
    """The coin's diameter: mean of the box's sides from above, the longer from the side; None: no box."""
    for thing in ET.parse(file).getroot().iter("object"):
        if thing.findtext("name") != "coin":
            continue
        left, top, right, low = (
            float(thing.findtext(f"bndbox/{side}", "nan")) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        wide, tall = right - left, low - top
        if min(wide, tall) < 20 or min(wide, tall) <= 0.6 * max(wide, tall):
            return None
        return (wide + tall) / 2 if from_above else max(wide, tall)
    return None


def without(folder: Path, most: int) -> Iterator[Look]:
    """Photos that show no mark: whatever is found is a false alarm."""
    paths = sorted(folder.rglob("*.jpg"))
    for path in paths[:: max(1, len(paths) // most)]:
        data = path.read_bytes()
        for hint in HINTS.values():
            yield looked("no mark", data, hint, math.nan, math.nan)


def summed(looks: list[Look]) -> dict[str, Any]:
    """Found, median error, wrong by more than 20 %, share within 5 %, tilt's median error, ms."""
    off = np.array([look.off for look in looks])
    got = np.abs(off[~np.isnan(off)])
    tilts = np.abs([look.tilt_off for look in looks if not math.isnan(look.tilt_off)])
    return {
        "photos": len(looks),
        "found": sum(not math.isnan(look.confidence) for look in looks) / len(looks),
        "median_error": float(np.median(got)) if got.size else None,
        "within_5_percent": float((got < 0.05).mean()) if got.size else None,
        "wrong": int((got > WRONG).sum()),
        "tilt_median_error_degrees": float(np.median(tilts)) if len(tilts) else None,
        "ms": float(np.mean([look.ms for look in looks])),
    }


def table(looks: list[Look]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Look]] = {}
    for look in looks:
        groups.setdefault(f"{look.kind} | {look.condition}", []).append(look)
        groups.setdefault(f"{look.kind} | all", []).append(look)
    return {name: summed(group) for name, group in sorted(groups.items())}


def bands(looks: list[Look]) -> dict[str, dict[str, Any]]:
    """By confidence: how many marks, how many of them within 5 and within 10 %."""
    rows: dict[str, dict[str, Any]] = {}
    found = [look for look in looks if not math.isnan(look.off)]
    for kind in sorted({look.kind for look in found}):
        for low, high in ((0, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 0.95), (0.95, 1.01)):
            off = np.abs([look.off for look in found if look.kind == kind and low <= look.confidence < high])
            if len(off):
                rows[f"{kind} | {low:g}-{min(high, 1):g}"] = {
                    "marks": len(off),
                    "within_5_percent": float((off < 0.05).mean()),
                    "within_10_percent": float((off < 0.1).mean()),
                }
    return rows


def plot(figures: dict[str, dict[str, Any]], out: Path) -> None:
    """Found and within 5 % for each kind and condition."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, axes = pyplot.subplots(1, len(HINTS), figsize=(13, 4.2), sharey=True)
    names = [condition.name for condition in CONDITIONS]
    titles = {"qr": "QR label, 60 mm", "disc": "dot, 60 mm", "ruler": "ruler, 250 mm", "sheet": "A4 sheet"}
    for axis, kind in zip(axes, HINTS, strict=True):
        rows = [figures[f"{kind} | {name}"] for name in names]
        found = [row["found"] for row in rows]
        right = [row["found"] * (row["within_5_percent"] or 0) for row in rows]
        y = np.arange(len(names))
        axis.barh(y, found, color="#d9a441", label="found, scale over 5 % off")
        axis.barh(y, right, color="#2f7d6d", label="found, within 5 %")
        for place, row in zip(y, rows, strict=True):
            if row["median_error"] is not None:
                axis.text(0.02, place, f"{row['median_error']:.2%}", va="center", fontsize=7, color="white")
        axis.set(title=titles[kind], yticks=y, yticklabels=names, xlim=(0, 1), xlabel="share of photos")
        axis.invert_yaxis() if kind == "qr" else None
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="lower center", ncols=2, frameon=False)
    photos = figures[f"qr | {names[0]}"]["photos"]
    fig.suptitle(
        f"Scale marks in rendered 8-megapixel photos, 1.2 m scene, {photos} photos a row; white: median error"
    )
    fig.tight_layout(rect=(0, 0.07, 1, 1))
    fig.savefig(out, dpi=90)


def measured_food(coins: list[Coin]) -> dict[str, Any]:
    return {
        "food": table([coin.look for coin in coins]),
        "food, objects kept aside": table([coin.look for coin in coins if coin.aside]),
        "food, objects fitted on": table([coin.look for coin in coins if not coin.aside]),
        "food, boxes that can be the coin's": table([coin.look for coin in coins if coin.sound]),
        "food, kept aside, such boxes": table([coin.look for coin in coins if coin.aside and coin.sound]),
        "food_by_confidence": bands([coin.look for coin in coins if coin.sound]),
        "food_wrong": {
            coin.capture: {"off": coin.look.off, "box_can_be_the_coin": coin.sound, "kept_aside": coin.aside}
            for coin in coins
            if abs(coin.look.off) > WRONG
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=int, default=0, help="rendered scenes a condition")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--food", type=Path, help="folder of the weighed food with a coin")
    parser.add_argument("--every", type=int, default=1, help="look at every n-th photo of --food only")
    parser.add_argument("--without", type=Path, help="folder of photos that show no mark")
    parser.add_argument("--most", type=int, default=200, help="photos of --without that are looked at")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    out: dict[str, Any] = {"search_px": dict(SEARCH_PX)}
    if asked.scenes:
        looks = list(rendered(asked.scenes, asked.seed))
        out["rendered"], out["rendered_by_confidence"] = table(looks), bands(looks)
        if asked.plot:
            plot(out["rendered"], asked.plot)
    if asked.food:
        out |= measured_food(list(food(asked.food, asked.every)))
    if asked.without:
        out["without"] = table(list(without(asked.without, asked.most)))
    if asked.json:
        json.dump(out, sys.stdout, indent=1)
        return
    for title, rows_ in out.items():
        print(f"\n{title}")
        for name, row in rows_.items():
            print(f"  {name:26}", row if not isinstance(row, dict) else _line(row))


def _line(row: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
    )


if __name__ == "__main__":
    main()
