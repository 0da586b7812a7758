"""What is true of each simulated piece: the rows of a recording's truth.csv."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from weft.errors import LineError
from weft.line.description import LineDescription
from weft_datasets.belt.labels import MaterialClass
from weft_datasets.belt.layout import Meeting, Placed
from weft_datasets.swatches import Shares

COLUMNS = (
    "piece", "first_mm", "last_mm", "left_mm", "right_mm", "first_encoder", "composition", "kind", "colour",
    "L", "a", "b", "area_cm2", "grams", "overlaps", "touches", "trims", "material", "mixed", "parts",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PieceTruth:
    piece: int
    first_mm: float  # belt_mm
    last_mm: float
    left_mm: float  # x_mm
    right_mm: float
    first_encoder: int  # when its leading edge passes the NIR stripe
    composition: Shares  # by weight of the whole piece; empty: no textile
    kind: str
    colour: str
    lab: tuple[float, float, float]
    area_cm2: float  # as seen from above
    grams: float
    material: MaterialClass
    mixed: bool  # two cloths in view
    overlaps: tuple[int, ...] = ()
    touches: tuple[int, ...] = ()
    trims: tuple[dict[str, str | float], ...] = ()  # kind, material, area_cm2
    parts: tuple[dict[str, float], ...] = ()  # shares of each cloth in view

    def meeting(self, how: Meeting, other: int) -> "PieceTruth":
        """This row with another piece noted that it lies against or on."""
        if how == "overlaps":
            return replace(self, overlaps=(*self.overlaps, other))
        return replace(self, touches=(*self.touches, other))


def truth_of(placed: Placed, description: LineDescription) -> PieceTruth:
    laid, piece = placed.laid, placed.laid.piece
    colour, lab = piece.colour
    cm2 = piece.cell_mm**2 / 100.0
    return PieceTruth(
        piece=piece.number,
        first_mm=round(laid.first_mm, 2),
        last_mm=round(laid.last_mm, 2),
        left_mm=round(laid.left_mm, 2),
        right_mm=round(laid.right_mm, 2),
        first_encoder=round(description.encoder_at(laid.first_mm, description.nir.position_mm)),
        composition=dict(piece.shares),
        kind=piece.kind,
        colour=colour,
        lab=(round(lab.lightness, 1), round(lab.a, 1), round(lab.b, 1)),
        area_cm2=round(piece.area_cm2, 1),
        grams=round(piece.grams, 1),
        material=piece.material,
        mixed=piece.mixed,
        trims=tuple(
            {"kind": t.kind, "material": t.material, "area_cm2": round(t.cells * cm2, 1)} for t in piece.trims
        ),
        parts=tuple(dict(cloth.shares) for cloth in piece.cloths[: len(piece.cloths) - len(piece.trims)]),
    )


def write_truth(rows: Iterable[PieceTruth], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow(
                [
                    row.piece, row.first_mm, row.last_mm, row.left_mm, row.right_mm, row.first_encoder,
                    json.dumps(row.composition), row.kind, row.colour, *row.lab, row.area_cm2, row.grams,
                    " ".join(map(str, row.overlaps)), " ".join(map(str, row.touches)), json.dumps(row.trims),
                    row.material, row.mixed, json.dumps(row.parts),
                ]
            )  # fmt: skip


def read_truth(path: Path) -> list[PieceTruth]:
    """Raises LineError where the file is none that `write_truth` wrote."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_row(row) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise LineError(
            f"{path}: no truth of a simulated belt ({error}); simulate it again with weft simulate belt"
        ) from error


def _row(row: dict[str, str]) -> PieceTruth:
    return PieceTruth(
        piece=int(row["piece"]),
        first_mm=float(row["first_mm"]),
        last_mm=float(row["last_mm"]),
        left_mm=float(row["left_mm"]),
        right_mm=float(row["right_mm"]),
        first_encoder=int(row["first_encoder"]),
        composition=json.loads(row["composition"]),
        kind=row["kind"],
        colour=row["colour"],
        lab=(float(row["L"]), float(row["a"]), float(row["b"])),
        area_cm2=float(row["area_cm2"]),
        grams=float(row["grams"]),
        material=row["material"],  # pyright: ignore[reportArgumentType]
        mixed=row["mixed"] == "True",
        overlaps=tuple(map(int, row["overlaps"].split())),
        touches=tuple(map(int, row["touches"].split())),
        trims=tuple(json.loads(row["trims"])),
        parts=tuple(json.loads(row["parts"])),
    )
