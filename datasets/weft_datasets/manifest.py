"""The manifest: one row a capture, with its subject and its truth; a Parquet file beside or above the data.

Notes (name, source, licence, bands, whether simulated) travel in the Parquet schema's metadata. The same
manifest gives the same bytes. Photos stay where they are: `path` is relative to the manifest's folder
wherever the two share a folder above the file system's root. Nothing of a photo's EXIF is ever copied in.
"""

import glob
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from weft.errors import ManifestError
from weft_datasets.columns import (
    KINDS,
    REQUIRED,
    TYPES,
    UNKNOWN,
    some,
    truth_columns,
    unknown_fibre_columns,
    value_faults,
)

PATH_COLUMNS = ("path", "photo_path")


@dataclass(frozen=True, eq=False)
class Manifest:
    frame: pd.DataFrame  # columns of `weft_datasets.columns.TYPES`, and any others the source had
    root: Path  # relative paths in `frame` start here
    name: str
    notes: Mapping[str, Any]  # JSON values; "source", "licence", "simulated", "bands" are the usual ones

    @property
    def kind(self) -> Literal["photo", "spectrum"]:
        kind: Literal["photo", "spectrum"] = self.frame["kind"].iloc[0]
        return kind

    @property
    def fibres(self) -> tuple[str, ...]:
        """Names of the fibres that have a share column with at least one value above 0."""
        columns = [c for c in truth_columns(self.frame.columns) if c != UNKNOWN]
        return tuple(c.removesuffix("_pct") for c in columns if (self.frame[c] > 0).any())

    @property
    def has_grams(self) -> bool:
        return "grams" in self.frame and bool(self.frame["grams"].notna().any())

    @property
    def has_composition(self) -> bool:
        columns = truth_columns(self.frame.columns)
        return bool(columns) and bool(self.frame[columns].notna().any(axis=None))

    def shares(self, fibres: tuple[str, ...]) -> NDArray[np.float64]:
        """Truth as fractions, shape (rows, F + 1): `fibres` in that order, then what is unknown.

        A row without any share column filled is NaN throughout; a fibre left empty beside others is 0.
        A fibre that is present but not among `fibres` counts as unknown.
        """
        columns = truth_columns(self.frame.columns)
        given = self.frame[columns].to_numpy(np.float64)
        labelled = ~np.isnan(given).all(axis=1)
        filled = np.nan_to_num(given) / 100.0
        out = np.zeros((len(self.frame), len(fibres) + 1))
        for column, values in zip(columns, filled.T, strict=True):
            name = column.removesuffix("_pct")
            out[:, fibres.index(name) if name in fibres else -1] += values
        out[~labelled] = np.nan
        return out

    def file(self, path: str) -> Path:
        """Where the file behind a value of `path` or `photo_path` lies."""
        return self.root / path

    def missing_files(self) -> list[str]:
        """Every path in the manifest behind which there is no file, as written, once."""
        return [path for path in _paths(self.frame) if not self.file(path).is_file()]

    def take(self, keep: NDArray[np.bool_] | pd.Series) -> "Manifest":
        """The same manifest with only the rows where `keep` is true."""
        return replace(self, frame=self.frame.loc[np.asarray(keep, bool)].reset_index(drop=True))

    def fingerprint(self) -> str:
        """sha256 over captures, truth and the contents of files and spectra; where files lie does not count.

        Raises:
            ManifestError: A file is missing.
        """
        missing = self.missing_files()
        if missing:
            raise ManifestError(
                f"manifest '{self.name}': {len(missing)} files are missing: {some(missing)}; "
                f"put them back below {self.root} or import again"
            )
        digests = {path: _digest(self.file(path)) for path in _paths(self.frame)}
        total = hashlib.sha256(json.dumps(self.notes.get("bands"), sort_keys=True).encode())
        for row in self.frame.sort_values("capture").to_dict(orient="records"):
            total.update(_row_bytes(row, digests))
        return total.hexdigest()


def make_manifest(
    frame: pd.DataFrame, *, root: Path, name: str, notes: Mapping[str, Any], strict: bool = True
) -> Manifest:
    """Check a table of captures and give every known column its type.

    Args:
        strict: Also refuse values that would spoil a training. `weft check` reports those instead.

    Raises:
        ManifestError: Columns, subjects or kinds are missing or misspelt; or, if strict, a bad value.
    """
    _check_structure(frame, name)
    if "simulated" not in frame:
        frame = frame.assign(simulated=bool(notes.get("simulated", False)))
    made = _to_arrow(frame, name).to_pandas()
    manifest = Manifest(frame=made, root=root, name=name, notes=dict(notes))
    if strict:
        faults = value_faults(made)
        if faults:
            raise ManifestError(f"manifest '{name}': {faults[0]}; `weft check` lists everything")
    return manifest


def read_manifest(path: Path, *, strict: bool = True) -> Manifest:
    """Read a manifest. Whether its files are there is asked by `missing_files`, not here.

    Raises:
        ManifestError: The file is no manifest, or (if strict) holds values that would spoil a training.
    """
    path = Path(path)
    if not path.is_file():
        raise ManifestError(
            f"{path}: no such manifest; make one with `weft import KIND SOURCE --out {path.name}`"
        )
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path}: not a Parquet file ({error}); make one with `weft import`") from error
    metadata = table.schema.metadata or {}
    name = metadata.get(b"weft.name", path.stem.encode()).decode()
    notes = json.loads(metadata.get(b"weft.notes", b"{}"))
    return make_manifest(table.to_pandas(), root=path.parent, name=name, notes=notes, strict=strict)


def write_manifest(manifest: Manifest, path: Path) -> Manifest:
    """Write it and return it as it reads from there. Atomic; the same manifest gives the same bytes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = manifest.frame.copy()
    for column in PATH_COLUMNS:
        if column in frame:
            frame[column] = [_rebase(value, manifest.root, path.parent) for value in frame[column]]
    table = _to_arrow(frame, manifest.name).replace_schema_metadata(
        {
            "weft.name": manifest.name,
            "weft.notes": json.dumps(dict(manifest.notes), sort_keys=True, ensure_ascii=False),
        }
    )
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(table, beside, compression="zstd", store_schema=True)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return replace(manifest, frame=table.to_pandas(), root=path.parent)


def _check_structure(frame: pd.DataFrame, name: str) -> None:
    absent = [column for column in REQUIRED if column not in frame]
    if absent:
        raise ManifestError(
            f"manifest '{name}' has no column {some(absent)}; every row needs a capture, the subject "
            f"(the physical thing: splits never cut one) and a kind"
        )
    if frame.empty:
        raise ManifestError(f"manifest '{name}' has no rows; there is nothing to train or measure on")
    unknown = unknown_fibre_columns(frame.columns)
    if unknown:
        raise ManifestError(f"manifest '{name}': {unknown[0]}")
    for column in REQUIRED:
        empty = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
        if empty.any():
            raise ManifestError(
                f"manifest '{name}': {int(empty.sum())} of {len(frame)} rows have no {column}, the first is "
                f"row {int(np.flatnonzero(empty)[0]) + 1}; a manifest without subjects cannot be split"
                if column == "subject"
                else f"manifest '{name}': {int(empty.sum())} of {len(frame)} rows have no {column}"
            )
    kinds = sorted(set(frame["kind"].astype(str)))
    odd = [kind for kind in kinds if kind not in KINDS]
    if odd:
        raise ManifestError(f"manifest '{name}': kind is {some(odd)}; it may be {', '.join(KINDS)}")
    if len(kinds) > 1:
        raise ManifestError(f"manifest '{name}' mixes {some(kinds)}; make one manifest for each kind")
    twice = frame.loc[frame["capture"].duplicated(), "capture"].astype(str).tolist()
    if twice:
        raise ManifestError(f"manifest '{name}': captures named twice: {some(twice)}; name each row once")


def _to_arrow(frame: pd.DataFrame, name: str) -> pa.Table:
    """Columns in the order of `TYPES`, then the source's own by name; no pandas metadata: same bytes."""
    known = [column for column in TYPES if column in frame]
    others = sorted(str(column) for column in frame.columns if column not in TYPES)
    arrays: dict[str, pa.Array] = {}
    for column in [*known, *others]:
        try:
            arrays[column] = _to_array(frame[column], TYPES.get(column))
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise ManifestError(f"manifest '{name}': column '{column}': {error}") from error
    return pa.table(arrays)


def _to_array(values: pd.Series, kind: pa.DataType | None) -> pa.Array:
    if kind is not None and pa.types.is_list(kind):
        dtype = kind.value_type.to_pandas_dtype()
        return pa.array([None if _empty(v) else np.asarray(v, dtype) for v in values], type=kind)
    if kind is not None and pa.types.is_string(kind):
        return pa.array([None if _empty(v) else str(v) for v in values], type=kind)
    if kind is not None and pa.types.is_floating(kind):
        return pa.array(
            pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan), type=kind, from_pandas=True
        )
    if kind is not None:
        return pa.array(values, type=kind, from_pandas=True)
    if values.dtype.kind in "biuf":
        return pa.array(values, from_pandas=True)
    return pa.array([None if _empty(v) else str(v) for v in values], type=pa.string())


def _empty(value: Any) -> bool:
    return value is None or (np.isscalar(value) and bool(pd.isna(value)))


def _paths(frame: pd.DataFrame) -> list[str]:
    found: dict[str, None] = {}
    for column in PATH_COLUMNS:
        if column in frame:
            found.update(dict.fromkeys(frame[column].dropna()))
    return list(found)


def _rebase(value: Any, old: Path, new: Path) -> str | None:
    if _empty(value):
        return None
    target = Path(os.path.abspath(old / value))
    folder = Path(os.path.abspath(new))
    try:
        shared = os.path.commonpath([target, folder])
    except ValueError:  # two drives
        return target.as_posix()
    if Path(shared) == Path(target.anchor) and folder != Path(shared):
        return target.as_posix()
    return Path(os.path.relpath(target, folder)).as_posix()


def _digest(path: Path) -> str:
    files = [path, *_companions(path)]
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _companions(path: Path) -> list[Path]:
    """The data file beside an ENVI header: a changed cube must change the fingerprint."""
    if path.suffix.lower() != ".hdr":
        return []
    beside = path.parent.glob(f"{glob.escape(path.stem)}*")
    return sorted(p for p in beside if p != path and path.stem in (p.stem, p.name))


def _row_bytes(row: Mapping[str, Any], digests: Mapping[str, str]) -> bytes:
    plain: dict[str, Any] = {}
    for column, value in row.items():
        if _empty(value):
            continue
        if column in PATH_COLUMNS:
            plain[column] = digests[value]
        elif isinstance(value, np.ndarray):
            plain[column] = hashlib.sha256(value.astype("<f8").tobytes()).hexdigest()
        else:
            plain[column] = value.item() if isinstance(value, np.generic) else value
    return json.dumps(plain, sort_keys=True).encode()
