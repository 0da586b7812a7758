"""One's own data: a CSV or Parquet with a row a capture, photos or scans in files or spectra in columns.

`docs/data.md` is the description for those who write such a table; this module is what it describes.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from weft.errors import ManifestError, ScanError
from weft.scans import read_scan_path
from weft.spectra import QUANTITIES, Cube, Scan, make_scan
from weft_datasets.columns import CLOSED, TYPES, some, truth_columns
from weft_datasets.importers.headings import Headings, Unit, understand
from weft_datasets.manifest import Manifest, make_manifest

PHOTO_SUFFIXES: Final = frozenset(
    [".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".gif", ".npy"]
)
FORGOTTEN: Final = ("nan", "none", "null", "")


@dataclass(frozen=True)
class Said:
    """What the user added on the command line."""

    axis: Unit | None = None
    quantity: str | None = None  # for rows without a value in the column `quantity`
    columns: Mapping[str, str] = field(default_factory=dict)  # manifest column -> heading
    name: str | None = None
    licence: str | None = None


def read(source: Path, said: Said | None = None) -> Manifest:
    """Read the table at `source`, or the only one in the folder `source`.

    Raises:
        ManifestError: Headings, subjects, files or values are missing or wrong; it names rows and files.
    """
    said = said or Said()
    table = find_table(source)
    given, decimal = _read_table(table)
    headings = understand(given.columns, given=said.columns, axis=said.axis)
    remarks = list(headings.remarks)
    rows = _typed(given, headings, decimal)
    rows = _truth(rows, remarks)
    rows = _marks(rows, remarks)
    rows = _with_photos(rows, table.parent)
    rows = _contents(rows, given, headings, _Where(table.parent, said.axis, said.quantity))
    rows = _captures(rows)
    notes: dict[str, Any] = {
        "source": table.name,
        "licence": said.licence or "not stated",
        "remarks": remarks,
    }
    # Bad values are left for `weft check` to list with pictures; training refuses them.
    return make_manifest(rows, root=table.parent, name=said.name or table.stem, notes=notes, strict=False)


def find_table(source: Path) -> Path:
    """Raises ManifestError where there is no table or more than one."""
    if source.is_file():
        if source.suffix.lower() not in (".csv", ".tsv", ".txt", ".parquet"):
            raise ManifestError(f"{source.name}: needed is a table of captures, .csv or .parquet")
        return source
    if not source.is_dir():
        raise ManifestError(
            f"{source}: no such file or folder; name a table of captures or the folder that holds it"
        )
    tables = sorted(path for path in source.iterdir() if path.suffix.lower() in (".csv", ".tsv", ".parquet"))
    named = [path for path in tables if path.stem.lower() == "captures"]
    chosen = named or tables
    if len(chosen) != 1:
        found = f"it holds {some([path.name for path in tables])}" if tables else "it holds none"
        raise ManifestError(f"{source}: needed is one table of captures, {found}; name the file itself")
    return chosen[0]


def _read_table(table: Path) -> tuple[pd.DataFrame, str]:
    """The table and its decimal mark."""
    decimal = "."
    try:
        if table.suffix.lower() == ".parquet":
            given = pd.read_parquet(table)
            given.columns = [str(column) for column in given.columns]
        else:
            given, decimal = _read_text(table)
    except (pa.ArrowException, pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, OSError) as error:
        raise ManifestError(f"{table.name} cannot be read as a table: {str(error).strip()}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{table.name} is not UTF-8 text ({error.reason}); save it again as UTF-8"
        ) from error
    if given.empty:
        raise ManifestError(f"{table.name} has no rows")
    return given, decimal


def _read_text(table: Path) -> tuple[pd.DataFrame, str]:
    """Comma, semicolon or tab; a decimal comma where fields are not parted by commas.

    Everything that is not a number in the manifest stays text: subject 007 is not 7.
    """
    with table.open(encoding="utf-8-sig", newline="") as stream:
        first = stream.readline()
        second = stream.readline()
    mark = max(",;\t", key=first.count)
    headings = next(csv.reader([first], delimiter=mark), [])
    twice = sorted({name for name in headings if headings.count(name) > 1})
    if twice:
        raise ManifestError(f"{table.name} has more than one column called {some(twice)}; name each once")
    fields = next(csv.reader([second], delimiter=mark), [])
    decimal = (
        "," if mark != "," and any(re.fullmatch(r"-?\d+,\d+", field.strip()) for field in fields) else "."
    )
    text = {name: str for name in headings if not _is_number(name)}
    given = pd.read_csv(table, sep=mark, decimal=decimal, dtype=text, encoding="utf-8-sig", low_memory=False)
    return given, decimal


def _is_number(name: str) -> bool:
    return name.strip()[:1].isdigit()


def _typed(given: pd.DataFrame, headings: Headings, decimal: str) -> pd.DataFrame:
    """Known columns under Weft's names, text trimmed and numbers checked; then the table's own."""
    rows: dict[str, pd.Series] = {}
    for heading, column in headings.rename.items():
        values = given[heading]
        kind = TYPES.get(column, pa.float64() if column == "kilograms" else pa.string())
        if column in ("values", "wavenumber_cm1") or pa.types.is_list(kind):
            rows[column] = values
        elif pa.types.is_floating(kind):
            rows[column] = _numbers(values, heading, decimal)
        elif pa.types.is_boolean(kind):
            rows[column] = values.astype(str).str.strip().str.casefold().isin(("true", "1", "yes"))
        else:
            rows[column] = _text(values, fold=column in CLOSED or column == "quantity")
    for heading in headings.own:
        numbers = pd.to_numeric(given[heading], errors="coerce")
        whole = bool((numbers.notna() | given[heading].isna()).all())
        rows[heading] = numbers if whole else given[heading]
    return pd.DataFrame(rows, index=given.index)


def _text(values: pd.Series, *, fold: bool) -> pd.Series:
    cleaned = values.astype("string").str.strip()
    cleaned = cleaned.str.casefold() if fold else cleaned
    return cleaned.where(cleaned != "", pd.NA).astype(object)


def _numbers(values: pd.Series, heading: str, decimal: str) -> pd.Series:
    text = values.astype("string").str.strip()
    # "12,5" can only be a decimal comma; "1,250" may be a thousand, unless the table writes decimals so.
    comma = "," if decimal == "," else r"(?<=\d),(?=\d{1,2}$)"
    plain = text.str.replace(comma, ".", regex=True)
    numbers = pd.to_numeric(plain.replace("", pd.NA), errors="coerce")
    wrong = numbers.isna() & text.notna() & ~text.str.casefold().isin(FORGOTTEN)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ManifestError(
            f"column '{heading}', row {row + 1}: '{text.iloc[row]}' is no number "
            f"({int(wrong.sum())} such rows); write the number alone, the unit belongs to the heading"
        )
    return numbers.astype(np.float64)


def _truth(rows: pd.DataFrame, remarks: list[str]) -> pd.DataFrame:
    if "kilograms" in rows:
        rows = rows.rename(columns={"kilograms": "grams"})
        rows["grams"] = (rows["grams"] * 1000.0).round(6)
    shares = truth_columns(rows.columns)
    if shares:
        total = rows[shares].sum(axis=1)[rows[shares].notna().any(axis=1)]
        if len(total) and ((total - 1).abs() < 0.02).all():
            raise ManifestError(
                f"the shares {some(shares)} sum to 1 in every row, as fractions do; give percent, 0 to 100"
            )
    if "grams" not in rows and not shares:
        remarks.append(
            "no grams, kilograms or <fibre>_pct column: nothing can be trained or measured on this"
        )
    return rows


def _marks(rows: pd.DataFrame, remarks: list[str]) -> pd.DataFrame:
    if "mark_mm" not in rows:
        return rows
    if "mark" not in rows:
        remarks.append(
            "'mark_mm' without 'mark' was taken as the side of a QR label; a coin needs mark = disc"
        )
        rows["mark"] = np.where(rows["mark_mm"].notna(), "qr", None)
    return rows


@dataclass(frozen=True)
class _Where:
    root: Path
    axis: Unit | None
    quantity: str | None


def _contents(rows: pd.DataFrame, given: pd.DataFrame, headings: Headings, where: _Where) -> pd.DataFrame:
    """What was captured: spectra from columns or lists, photos by path, scans read from their files."""
    if headings.points:
        axis = np.array(list(headings.points.values()))
        values = given[list(headings.points)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
        return _with_scans(rows, [(row, _axis(axis, headings.unit)) for row in values], where)
    if "absorbance" in rows or "values" in rows:
        return _from_lists(rows, where)
    if "path" not in rows:
        raise ManifestError(
            "the table has neither a column 'path' nor columns named by wavelength; add one of them"
        )
    rows["path"] = _found(rows["path"], where.root)
    is_photo = rows["path"].map(lambda path: Path(path).suffix.lower() in PHOTO_SUFFIXES)
    if "kind" not in rows:
        rows["kind"] = np.where(is_photo, "photo", "spectrum")
    if (rows["kind"] == "spectrum").all():
        return _from_files(rows, where)
    return rows.drop(columns=[name for name in ("white", "dark") if name in rows])


def _axis(values: np.ndarray, unit: Unit | None) -> dict[str, np.ndarray]:
    if unit == "cm-1":
        return {"wavenumber_cm1": values}
    return {"wavelength_nm": values * 1000.0 if unit == "um" else values}


def _from_lists(rows: pd.DataFrame, where: _Where) -> pd.DataFrame:
    """Parquet only: a list of numbers in each row."""
    name = "values" if "values" in rows else "absorbance"
    axis = "wavelength_nm" if "wavelength_nm" in rows else "wavenumber_cm1"
    if axis not in rows:
        raise ManifestError(f"column '{name}' needs its axis in a column 'wavelength_nm' or 'wavenumber_cm1'")
    if name == "absorbance":
        rows["quantity"] = "absorbance"
    lists = [(value, {axis: grid}) for value, grid in zip(rows[name], rows[axis], strict=True)]
    kept = rows.drop(
        columns=[c for c in ("values", "wavenumber_cm1", "wavelength_nm", "absorbance") if c in rows]
    )
    return _with_scans(kept, lists, where)


def _with_scans(rows: pd.DataFrame, spectra: list[tuple[Any, dict[str, Any]]], where: _Where) -> pd.DataFrame:
    quantities = _quantities(rows, where)
    if quantities.isna().any():
        raise ManifestError(
            f"what the spectra are is not said for {int(quantities.isna().sum())} of {len(rows)} rows; say "
            f"--quantity or add a column 'quantity' with one of {', '.join(QUANTITIES)}"
        )
    scans: list[Scan] = []
    broken: list[str] = []
    for number, ((values, axis), quantity) in enumerate(zip(spectra, quantities, strict=True), start=1):
        try:
            scans.append(make_scan(values=values, quantity=quantity, **axis))
        except ScanError as error:
            broken.append(f"row {number}: {error}")
    return _filled(rows, scans, broken)


def _from_files(rows: pd.DataFrame, where: _Where) -> pd.DataFrame:
    quantities = _quantities(rows, where)
    references = {
        name: _found(rows[name], where.root) if name in rows else pd.Series([None] * len(rows), dtype=object)
        for name in ("white", "dark")
    }
    scans: list[Scan] = []
    broken: list[str] = []
    for place, path in enumerate(rows["path"]):
        beside = {
            name: where.root / column.iloc[place] if isinstance(column.iloc[place], str) else None
            for name, column in references.items()
        }
        quantity = quantities.iloc[place]
        try:
            scan = read_scan_path(
                where.root / path,
                unit=where.axis,
                quantity=quantity if isinstance(quantity, str) else None,
                **beside,
            )
        except ScanError as error:
            broken.append(f"{path}: {error}")
            continue
        scans.append(scan.mean_scan() if isinstance(scan, Cube) else scan)
    # The spectrum now lies in the manifest: the file is named, but no longer needed.
    rows = rows.rename(columns={"path": "scan_path"})
    return _filled(rows.drop(columns=[name for name in ("white", "dark") if name in rows]), scans, broken)


def _quantities(rows: pd.DataFrame, where: _Where) -> pd.Series:
    said = rows["quantity"] if "quantity" in rows else pd.Series([None] * len(rows), dtype=object)
    quantities = said.where(said.notna(), where.quantity)
    odd = sorted(set(quantities.dropna()) - set(QUANTITIES))
    if odd:
        raise ManifestError(f"quantity is {some(odd)}; it may be {', '.join(QUANTITIES)}")
    return quantities


def _filled(rows: pd.DataFrame, scans: list[Scan], broken: list[str]) -> pd.DataFrame:
    if broken:
        shown = "; ".join(broken[:5])
        raise ManifestError(f"{len(broken)} of {len(rows)} spectra cannot be read: {shown}")
    instruments = pd.Series([scan.instrument for scan in scans], dtype=object, index=rows.index)
    if "instrument" in rows:
        instruments = rows["instrument"].where(rows["instrument"].notna(), instruments)
    return rows.assign(
        kind="spectrum",
        wavelength_nm=[scan.wavelength_nm for scan in scans],
        absorbance=[scan.absorbance for scan in scans],
        quantity=[scan.quantity for scan in scans],
        instrument=instruments,
    )


def _found(paths: pd.Series, root: Path) -> pd.Series:
    """Paths as they can be opened; a table written on Windows has its backslashes turned."""
    empty = paths.isna()
    if empty.any():
        raise ManifestError(
            f"{int(empty.sum())} of {len(paths)} rows have no {paths.name}, the first is row "
            f"{int(np.flatnonzero(empty)[0]) + 1}"
        )
    turned = [path if (root / path).is_file() else path.replace("\\", "/") for path in paths]
    missing = [path for path in turned if not (root / path).is_file()]
    if missing:
        raise ManifestError(
            f"{len(missing)} of {len(paths)} files are missing: {some(missing, most=10)}; paths start "
            f"at the folder of the table, {root}"
        )
    return pd.Series(turned, index=paths.index, name=paths.name, dtype=object)


def _with_photos(rows: pd.DataFrame, root: Path) -> pd.DataFrame:
    """`photo_path`, where the table has it, as it can be opened; None for a scan without a photo."""
    if "photo_path" not in rows:
        return rows
    given = rows["photo_path"].notna()
    found = pd.Series([None] * len(rows), index=rows.index, dtype=object)
    found[given] = _found(rows.loc[given, "photo_path"], root)
    return rows.assign(photo_path=found)


def _captures(rows: pd.DataFrame) -> pd.DataFrame:
    """Where a table names no captures: the path, or the subject with a running number."""
    if "capture" in rows:
        return rows
    for column in ("path", "scan_path"):
        if column in rows:
            return rows.assign(capture=rows[column])
    number = rows.groupby("subject", dropna=False).cumcount() + 1
    return rows.assign(capture=[f"{s}-{n:03d}" for s, n in zip(rows["subject"], number, strict=True)])
