"""Pieces whose truth is known: a bundle's own trial, or a table of pieces that someone checked."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from weft.errors import FibreError, LineError
from weft.fibres import check_shares
from weft.line.decide import grams_of
from weft.line.reader import BeltReader
from weft.line.records import Mass, Piece, Place, Share
from weft.line.spread import Outcome

FILE: Final = "pieces.jsonl"
_MOST_PIECES: Final = 200_000
_OWN: Final = ("truth", "truth_colour", "truth_grams", "simulated")


@dataclass(frozen=True, slots=True)
class KnownPiece:
    piece: Piece
    truth: Mapping[str, float]  # by weight; empty: no textile
    colour: str | None  # true, or as it was seen where nobody checked
    grams: float  # true, or as estimated
    simulated: bool

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.piece.shares, self.truth, self.grams)


def trial_outcomes(reader: BeltReader) -> tuple[Outcome, ...]:
    """Pieces that the bundle's training left out, without those that a flag keeps out of every lane.

    Empty where the bundle carries no trial: chances are then those of the margins.
    """
    trial = reader.trial
    if trial is None:
        return ()
    usual = ~trial.mixed & (trial.unknown < reader.unknown_threshold)
    found: list[Outcome] = []
    for row in usual.nonzero()[0]:
        columns = zip(reader.fibres, trial.predicted[row], trial.low[row], trial.high[row], strict=True)
        shares = tuple(
            Share(fibre=name, share=float(share), low=float(low), high=float(high))
            for name, share, low, high in columns
            if high > 0
        )
        truth = {name: float(share) for name, share in zip(reader.fibres, trial.truth[row], strict=True)}
        found.append(Outcome(shares, {name: share for name, share in truth.items() if share > 0}))
    return tuple(found)


def trial_pieces(reader: BeltReader) -> list[KnownPiece]:
    """The same pieces as records, to plan by; they have no colour, and each counts as 250 g in 2,500 cm2."""
    simulated = reader.bundle.card.trained_on == "simulated"
    return [
        KnownPiece(_plain_piece(number, each.shares), each.truth, None, 250.0, simulated)
        for number, each in enumerate(trial_outcomes(reader), 1)
    ]


def read_pieces(path: Path) -> list[KnownPiece]:
    """Read pieces with their truth, in the order in which they came.

    A JSON Lines file holds one record of a piece a row (`weft.line.records.Piece`) and beside its fields
    `truth` (fibre -> share by weight; {} for what is no textile) and, where known, `truth_colour`,
    `truth_grams` and `simulated`. A CSV has the same names as columns, with JSON where a value is no plain
    one. A folder is searched for `pieces.jsonl`.

    Raises:
        LineError: A row cannot be read; the message names it.
    """
    file = path / FILE if path.is_dir() else path
    found: list[KnownPiece] = []
    try:
        for number, row in _rows(file):
            if len(found) == _MOST_PIECES:
                raise LineError(f"{file}: more than {_MOST_PIECES:,} pieces; give a part of them")
            found.append(_known(row, f"{file}, row {number}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LineError(f"{file}: cannot be read ({error}); name a JSONL or CSV file of pieces") from error
    if not found:
        raise LineError(f"{file}: no piece in it; needed pieces with their truth")
    return found


def _rows(file: Path) -> Iterator[tuple[int, Any]]:
    with file.open(encoding="utf-8", newline="") as lines:
        if file.suffix.lower() == ".csv":
            for number, row in enumerate(csv.DictReader(lines), 2):
                yield number, {key: _plain(value) for key, value in row.items() if value not in ("", None)}
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise LineError(f"{file}, row {number}: no JSON ({error}); correct that row") from error


def _plain(text: Any) -> Any:
    """A cell of a CSV; numbers stay text, which may be a name made of digits."""
    if not isinstance(text, str) or not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _known(row: Any, where: str) -> KnownPiece:
    if not isinstance(row, dict) or not isinstance(row.get("truth"), dict):
        raise LineError(f"{where}: no `truth`; needed a piece with its true shares, or {{}} for no textile")
    try:
        piece = Piece.model_validate_json(json.dumps({k: v for k, v in row.items() if k not in _OWN}))
        truth = check_shares(row["truth"]) if row["truth"] else {}
        grams = float(row.get("truth_grams") or grams_of(piece))
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(step) for step in first["loc"])
        raise LineError(f"{where}: {at}: {first['msg']}; correct that row") from error
    except (FibreError, TypeError, ValueError) as error:
        raise LineError(f"{where}: {error}") from error
    seen = piece.colour.name if piece.colour else None
    return KnownPiece(
        piece,
        truth,
        row.get("truth_colour") or seen,
        grams,
        str(row.get("simulated", False)).lower() == "true",
    )


def _plain_piece(number: int, shares: tuple[Share, ...]) -> Piece:
    return Piece(
        line="trial",
        number=number,
        seen_at=datetime.fromtimestamp(0, UTC),
        place=Place(first_mm=0, last_mm=500, left_mm=0, right_mm=500),
        outline_mm=(),
        area_cm2=2_500,
        pixels=1_000,
        voted=1_000,
        shares=shares,
        unknown=0.0,
        mass=Mass(grams=250, low_grams=250, high_grams=250),
        bundle_sha256="",
    )
