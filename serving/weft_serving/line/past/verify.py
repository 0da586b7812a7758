"""A sample of a line's pieces on its way to the hand and back: sheet, truth, training data."""

import base64
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import jinja2

from weft.errors import FibreError, LineError, StoreError
from weft.fibres import FIBRES
from weft.label_text import OTHER_FIBRES, read_label
from weft.line.records import Share
from weft_serving.line.past.archive import LineArchive
from weft_serving.line.past.checks import Checks, Drawn, Judge
from weft_serving.line.past.purity import Purity, measure
from weft_serving.line.stream.whole_files import write_whole
from weft_serving.store import Store

_PAGES: Final = Path(__file__).parents[2] / "pages"
_NO_TEXTILE: Final = frozenset({"none", "no textile", "not a textile", "unknown", "plastic"})
_MOST_FAULTS: Final = 8
_SHEET_BYTES: Final = 20_000_000
_FIELDS: Final[tuple[str, ...]] = (
    "piece",
    "seen_at",
    "lane",
    "colour",
    "grams",
    "area_cm2",
    "composition",
    "read_as",
)


def write_sheet(drawn: Sequence[Drawn], out: Path) -> list[Path]:
    """A CSV to fill in, and beside it the same as a page with pictures to find the pieces by.

    What the line read is in the last column, and folded away on the page: who checks should not know it.

    Raises:
        StoreError: A file cannot be written.
    """
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, fieldnames=_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(each) for each in drawn)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_PAGES), autoescape=True)
    page = environment.get_template("line_sheet.html").render(
        line=drawn[0].decision.piece.line if drawn else "",
        sheet=out.name,
        rows=[_row(each) | {"picture": _picture(each), "flags": each.decision.piece.flags} for each in drawn],
        simulated=any(each.decision.simulated for each in drawn),
    )
    files = {out: text.getvalue(), out.with_suffix(".html"): page}
    for path, content in files.items():
        write_whole(path, content.encode())
    return list(files)


def read_sheet(path: Path) -> dict[int, tuple[str, dict[str, float]]]:
    """What hands wrote: by piece the text and its shares, empty for no textile. Empty fields are left out.

    Raises:
        LineError: The file or some of its lines cannot be read; all such lines are named, and none is taken.
    """
    rows = _csv_rows(path)
    found: dict[int, tuple[str, dict[str, float]]] = {}
    faults: list[str] = []
    for place, row in enumerate(rows, start=2):
        said = (row.get("composition") or "").strip()
        if not said:
            continue
        number = (row.get("piece") or "").strip()
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            faults.append(f"line {place}: piece is {number[:20]!r}, needed a number")
        elif int(number) in found:
            faults.append(f"line {place}: piece {number} is named a second time")
        else:
            try:
                found[int(number)] = (said, {} if said.casefold() in _NO_TEXTILE else read_label(said))
            except FibreError as error:
                faults.append(f"line {place}: {error}")
    if faults:
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise LineError(
            f"{path}: {'; '.join(faults[:_MOST_FAULTS])}{more}; nothing was taken, correct and repeat"
        )
    if not found:
        raise LineError(
            f"{path}: no line has a composition; write it as on a label: 95 % cotton 5 % elastane"
        )
    return found


def take_sheet(store: Store, line: str, path: Path) -> int:
    """Note the truth of a filled sheet; how many pieces it names.

    Raises:
        LineError: The sheet cannot be read, or names pieces that were not drawn; nothing was taken.
        StoreError: The database cannot be used.
    """
    found = read_sheet(path)
    strange = Checks(store).take(line, found)
    if strange:
        shown = ", ".join(map(str, sorted(strange)[:10]))
        raise LineError(
            f"{path}: {len(strange)} of {len(found)} pieces were never drawn on line {line!r} ({shown}); "
            "only drawn ones measure purity, so nothing was taken: draw with --draw and fill in that sheet"
        )
    return len(found)


def measured_lanes(store: Store, line: str) -> list[Purity]:
    """Of every lane that any piece was checked of."""
    judge = Judge(LineArchive(store), line)
    found = [check for each in Checks(store).drawn(line, checked=True) if (check := judge.check(each))]
    lanes = dict.fromkeys(check.lane for check in found)
    return [measure(lane, [check for check in found if check.lane == lane]) for lane in sorted(lanes)]


def export_checked(store: Store, line: str, out: Path) -> int:
    """Write the hand-checked pieces whose spectrum is kept as a manifest to train on; how many.

    Raises:
        StoreError: There are none, the file cannot be written, or pyarrow is not installed.
    """
    drawn = Checks(store).drawn(line, checked=True)
    rows = [_capture(each) for each in drawn if each.evidence is not None and each.truth is not None]
    if not rows:
        raise StoreError(
            f"no hand-checked piece of line {line!r} has a spectrum; draw with --draw, fill in the sheet, "
            "and give it back with --checked"
        )
    _write_manifest(rows, out, simulated=any(row["simulated"] for row in rows))
    return len(rows)


def _row(drawn: Drawn) -> dict[str, Any]:
    piece = drawn.decision.piece
    return {
        "piece": piece.number,
        "seen_at": piece.seen_at.isoformat(timespec="seconds"),
        "lane": drawn.lane,
        "colour": piece.colour.name if piece.colour else "",
        "grams": round(piece.mass.grams) if piece.mass else "",
        "area_cm2": round(piece.area_cm2),
        "composition": drawn.said or "",
        "read_as": ", ".join(f"{percent} % {fibre}" for fibre, percent in _percents(piece.shares) if percent),
    }


def _percents(shares: Sequence[Share]) -> list[tuple[str, int]]:
    """Whole per cents that sum to 100, so that a sheet's own words can be given back as they are."""
    total = sum(share.share for share in shares) or 1.0
    exact = [(share.fibre, 100 * share.share / total) for share in shares]
    short = 100 - sum(int(percent) for _, percent in exact)
    up = sorted(exact, key=lambda item: int(item[1]) - item[1])[: max(short, 0)]
    return [(item[0], int(item[1]) + (item in up)) for item in exact]


def _picture(drawn: Drawn) -> str | None:
    if drawn.evidence is None or drawn.evidence.picture is None:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(drawn.evidence.picture).decode()


def _csv_rows(path: Path) -> list[dict[str, str | None]]:
    try:
        if path.stat().st_size > _SHEET_BYTES:
            raise LineError(f"{path}: larger than 20 MB, which no sheet is; name another")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LineError(f"{path}: cannot be read ({error}); name the filled sheet, CSV in UTF-8") from error
    first = text.partition("\n")[0]
    # A spreadsheet in half of Europe saves with semicolons.
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ","
    )
    try:
        rows = [dict(row) for row in reader]
    except csv.Error as error:
        raise LineError(f"{path}: no CSV ({error}); name the filled sheet") from error
    lacking = {"piece", "composition"} - set(reader.fieldnames or ())
    if lacking:
        raise LineError(
            f"{path}: has no column {' and '.join(sorted(lacking))}; keep the first line of the sheet"
        )
    return rows


def _capture(drawn: Drawn) -> dict[str, Any]:
    piece, evidence, truth = drawn.decision.piece, drawn.evidence, drawn.truth
    assert evidence is not None
    assert truth is not None
    shares = {f"{name}_pct": round(100 * share, 4) for name, share in truth.items() if name != OTHER_FIBRES}
    unknown = 100 * truth.get(OTHER_FIBRES, 0.0) if truth else 100.0
    return {
        "capture": f"{piece.line}-{piece.number}",
        "subject": f"{piece.line}-{piece.number}",
        "kind": "spectrum",
        "wavelength_nm": [round(float(nm), 3) for nm in evidence.wavelength_nm],
        "absorbance": evidence.absorbance.tolist(),
        **shares,
        "unknown_pct": round(unknown, 4),
        "instrument": f"line {piece.line}",
        "quantity": "absorbance",
        "captured_at": piece.seen_at.isoformat(),
        "simulated": drawn.decision.simulated,
    }


def _write_manifest(rows: list[dict[str, Any]], out: Path, *, simulated: bool) -> None:
    try:
        import pyarrow as pa  # only exporting needs it; a service starts without
        import pyarrow.parquet as pq
    except ImportError as error:
        raise StoreError(f"{out}: writing Parquet needs pyarrow; install weft[data]") from error
    text, number = pa.string(), pa.float64()
    fibres = [f"{fibre.name}_pct" for fibre in FIBRES if any(f"{fibre.name}_pct" in row for row in rows)]
    notes = {"licence": "your own", "simulated": simulated, "source": "pieces of a line checked by hand"}
    schema = pa.schema(
        [(name, text) for name in ("capture", "subject", "kind")]
        + [("wavelength_nm", pa.list_(number)), ("absorbance", pa.list_(pa.float32()))]
        + [(name, number) for name in (*fibres, "unknown_pct")]
        + [(name, text) for name in ("instrument", "quantity", "captured_at")]
        + [("simulated", pa.bool_())],
        metadata={"weft.name": out.stem, "weft.notes": json.dumps(notes, sort_keys=True)},
    )
    whole = [dict.fromkeys(fibres, 0.0) | row for row in rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(whole, schema=schema), buffer)
    write_whole(out, buffer.getvalue())
