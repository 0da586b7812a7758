"""Kept, weighed estimates -> a manifest to train on. Writes Parquet itself: serving knows no data sets."""

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

from sqlalchemy import select

from weft.errors import StoreError
from weft_serving.kept import read_one, write_whole
from weft_serving.kept_objects import is_object
from weft_serving.store import open_store
from weft_serving.tables import EstimateRow

_NOTES: Final = {"licence": "your own", "simulated": False, "source": "estimates weighed in service"}


@dataclass(frozen=True, slots=True)
class HarvestReport:
    captures: int
    subjects: int
    unweighed: int
    not_kept: int
    unusable: int
    missing: int

    def __str__(self) -> str:
        left_out = {
            "estimates without a weighing": self.unweighed,
            "weighed ones without kept photos": self.not_kept,
            "unusable photos": self.unusable,
            "missing files": self.missing,
        }
        told = ", ".join(f"{count} {what}" for what, count in left_out.items() if count)
        return f"{self.captures} photos of {self.subjects} parcels" + (f"; left out: {told}" if told else "")


def harvest_manifest(database_url: str, out: Path, *, photos: Path | None = None) -> HarvestReport:
    """Write a manifest of every usable kept photo of a weighed estimate.

    Args:
        out: Parquet file; the photos' paths in it are relative to its folder.
        photos: Where the folders of kept photos lie now, if they were moved. Those in an object store are
            fetched to the folder `<out>-photos` otherwise.

    Raises:
        StoreError: The database cannot be read, there is nothing to harvest, or the file cannot be written.
    """
    rows: list[dict[str, Any]] = []
    counts = {"unweighed": 0, "not_kept": 0, "unusable": 0, "missing": 0}
    store = open_store(database_url)
    try:
        with store.reading() as session:
            for estimate in session.scalars(
                select(EstimateRow).order_by(EstimateRow.created_at, EstimateRow.id)
            ):
                rows += _captures(estimate, counts, out=out.resolve(), photos=photos)
    finally:
        store.close()
    subjects = len({row["subject"] for row in rows})
    report = HarvestReport(captures=len(rows), subjects=subjects, **counts)
    if not rows:
        raise StoreError(
            f"nothing to harvest ({report}); keep photos with WEFT_KEEP_PHOTOS=FOLDER and post weighings to "
            "/v1/estimates/{id}/weighing"
        )
    _write(rows, out)
    return report


def _captures(
    estimate: EstimateRow, counts: dict[str, int], *, out: Path, photos: Path | None
) -> list[dict[str, Any]]:
    if not estimate.weighings:
        counts["unweighed"] += 1
        return []
    if not estimate.kept:
        counts["not_kept"] += 1
        return []
    found: list[dict[str, Any]] = []
    for number, (kept, finding) in enumerate(zip(estimate.kept, estimate.photos, strict=False), start=1):
        if not kept or not finding["usable"]:
            counts["unusable"] += 1
            continue
        path = _file(kept, beside=out, photos=photos)
        if path is None:
            counts["missing"] += 1
        else:
            found.append(_capture(estimate, number, os.path.relpath(path, out.parent)))
    return found


def _file(kept: str, *, beside: Path, photos: Path | None) -> Path | None:
    """Where a kept photo lies; one in an object store is fetched to a folder beside the manifest, once."""
    inside = PurePath(kept).parts[-2:]  # the estimate's id and the photo's name
    if photos is not None:
        path = photos.resolve().joinpath(*inside)
    elif is_object(kept):
        path = beside.with_name(f"{beside.stem}-photos").joinpath(*inside)
        if not path.is_file() and (data := read_one(kept)) is not None:
            write_whole(path, data)
    else:
        path = Path(kept)
    return path if path.is_file() else None


def _capture(estimate: EstimateRow, number: int, path: str) -> dict[str, Any]:
    return {
        "capture": f"{estimate.id}-{number}",
        "subject": estimate.parcel or estimate.id,
        "kind": "photo",
        "path": path,
        "grams": estimate.weighings[-1].grams,
        "season": estimate.season,
        "wrap": estimate.wrap,
        "mark": estimate.mark,
        "mark_mm": estimate.mark_mm,
        "captured_at": estimate.created_at.isoformat(),
        "simulated": False,
    }


def _write(rows: list[dict[str, Any]], out: Path) -> None:
    import pyarrow as pa  # only harvesting needs it; a service starts without
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.float64()
    schema = pa.schema(
        [(name, text) for name in ("capture", "subject", "kind", "path")]
        + [("grams", number)]
        + [(name, text) for name in ("season", "wrap", "mark")]
        + [("mark_mm", number), ("captured_at", text), ("simulated", pa.bool_())],
        metadata={"weft.name": out.stem, "weft.notes": json.dumps(_NOTES, sort_keys=True)},
    )
    half = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), half)
        os.replace(half, out)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise StoreError(f"{out} cannot be written ({error.strerror}); name another file") from error
