"""An archive scored with a bundle: a row a parcel or scan, the same in one process and on a cluster.

Each is asked alone: no answer depends on which others it was asked beside, or where. What is answered is kept
in a folder beside the table that is being made: a run that was stopped goes on from there.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from weft.bundle import Bundle, load_bundle
from weft.errors import InputError, ManifestError
from weft.identifier import Identifier
from weft.limits import PHOTOS_PER_ESTIMATE
from weft.weigher import PhotoFinding, Prepared, Weigher
from weft_datasets.captures import prepared_photo, scan_of
from weft_datasets.manifest import Manifest, read_manifest

# A file may be missing, unreadable, or an array that is none: a row says so, and the run goes on.
_BROKEN: Final = (InputError, OSError, ValueError)
_PART_ROWS: Final = 256  # answers in one file of the folder beside the table


class Told(Protocol):
    """Called with how many of how many are answered."""

    def __call__(self, done: int, of: int) -> object: ...


@dataclass(frozen=True, slots=True)
class ScoreReport:
    rows: int
    answered: int
    resumed: int  # of the rows, from an earlier run
    task: str

    def __str__(self) -> str:
        what = "parcels" if self.task == "weight" else "scans"
        earlier = f", {self.resumed} of them by an earlier run" if self.resumed else ""
        unanswered = self.rows - self.answered
        left = f"; {unanswered} without an answer: see the columns `error` and `advice`" if unanswered else ""
        return f"{self.rows} {what}{earlier}{left}"


class Scorer:
    """Answers by number. Made anew wherever it works: what it is made from are two paths."""

    def __init__(self, manifest_path: Path, bundle_path: Path) -> None:
        self.manifest = read_manifest(manifest_path, strict=False)
        self.bundle = load_bundle(bundle_path, threads=1)  # as many at a time as there are workers
        self.weighs = self.bundle.card.task == "weight"
        _check_kind(self.bundle, self.manifest)
        groups = self.manifest.frame.groupby("subject", sort=True).indices
        self._manifest_bytes = hashlib.sha256(manifest_path.read_bytes()).digest()
        self._subjects: list[tuple[str, Any]] = [(str(name), places) for name, places in groups.items()]
        self._asks = Weigher(self.bundle) if self.weighs else Identifier(self.bundle)

    def __len__(self) -> int:
        return len(self._subjects) if self.weighs else len(self.manifest.frame)

    def key(self) -> str:
        """Changes with the bundle and with the manifest, not with the files that it names."""
        return hashlib.sha256(self.bundle.sha256.encode() + self._manifest_bytes).hexdigest()[:16]

    def score(self, number: int) -> dict[str, Any]:
        """Row `number`, JSON values; a file that cannot be used is told in `error`."""
        row = self._weighed(number) if self.weighs else self._identified(number)
        card = self.bundle.card
        made_by = {
            "bundle_name": card.name,
            "bundle_version": card.version,
            "bundle_sha256": self.bundle.sha256,
        }
        return {"number": number} | row | made_by

    def _weighed(self, number: int) -> dict[str, Any]:
        assert isinstance(self._asks, Weigher), "a weight bundle is asked by a weigher"
        assert self.bundle.card.weight is not None, "a weight bundle has this section"
        subject, places = self._subjects[number]
        photos = self.manifest.frame.iloc[
            _spread(places, min(PHOTOS_PER_ESTIMATE, self.bundle.card.weight.max_photos))
        ]
        first = photos.iloc[0]
        row: dict[str, Any] = {
            "subject": subject,
            "photos": len(places),
            "photos_usable": 0,
            **dict.fromkeys(("grams", "low_grams", "high_grams", "coverage", "error")),
            "advice": [],
            "warnings": [],
            "grams_truth": _number(first.get("grams")),
        }
        prepared: list[Prepared] = []
        faults: list[str] = []
        for _, photo in photos.iterrows():
            try:
                prepared.append(prepared_photo(self._asks, self.manifest, photo))
            except _BROKEN as error:
                prepared.append(Prepared(None, 0.0, PhotoFinding(False, ("broken",), None)))
                faults.append(_told(error, photo["path"]))
        row["error"] = "; ".join(faults) or None
        if len(faults) == len(prepared):
            return row
        try:
            found = self._asks.weigh(
                prepared, season=_word(first.get("season")), wrap=_word(first.get("wrap"))
            )
        except InputError as error:
            return row | {"error": str(error)}
        return row | {
            "photos_usable": sum(photo.usable for photo in found.photos),
            **{name: getattr(found, name) for name in ("grams", "low_grams", "high_grams", "coverage")},
            "advice": sorted({word for photo in found.photos for word in photo.advice}),
            "warnings": list(found.warnings),
        }

    def _identified(self, number: int) -> dict[str, Any]:
        assert isinstance(self._asks, Identifier), "a composition bundle is asked by an identifier"
        fibres = self._asks.card.fibres
        capture = self.manifest.frame.iloc[number]
        row: dict[str, Any] = {"subject": capture["subject"], "capture": capture["capture"], "error": None}
        row |= dict.fromkeys(("unknown", "coverage"))
        for name in fibres:
            row |= dict.fromkeys((f"{name}_share", f"low_{name}_share", f"high_{name}_share"))
        row["warnings"] = []
        truth = self.manifest.take(np.arange(len(self.manifest.frame)) == number).shares(fibres)[0]
        row |= {f"{name}_share_truth": _number(truth[place]) for place, name in enumerate(fibres)}
        try:
            found = self._asks.identify(scan_of(self.manifest, number))
        except _BROKEN as error:
            return row | {"error": _told(error, capture.get("path"))}
        row |= {
            "unknown": found.unknown,
            "coverage": self.bundle.card.coverage,
            "warnings": list(found.warnings),
        }
        for share in found.shares:
            name = share.fibre
            row |= {
                f"{name}_share": share.share,
                f"low_{name}_share": share.low,
                f"high_{name}_share": share.high,
            }
        return row


def score_manifest(
    manifest_path: Path,
    bundle_path: Path,
    out: Path,
    *,
    workers: int = 1,
    ray: bool = False,
    tell: Told | None = None,
) -> ScoreReport:
    """Score every parcel (photos) or scan of a manifest into a Parquet table, written whole or not at all.

    Args:
        workers: Answered at a time: threads of this process, or with `ray` its actors, of one CPU each.
        ray: On the Ray cluster that RAY_ADDRESS names, else on one that is started here and ended again.

    Raises:
        BundleError: The bundle does not hold.
        ManifestError: No manifest, one of the other kind, a table that cannot be written, or no Ray.
    """
    scorer = Scorer(manifest_path, bundle_path)
    parts = out.with_name(f".{out.name}.{scorer.key()}.parts")
    try:
        parts.mkdir(parents=True, exist_ok=True)
        rows = _kept(parts)
        todo = [number for number in range(len(scorer)) if number not in rows]
        resumed = len(rows)
        if ray:
            from weft_datasets.score_ray import score_by_ray

            made = score_by_ray(manifest_path, bundle_path, todo, workers=workers)
        else:
            made = _score_here(scorer, todo, workers)
        for part in _parts(made):
            _keep(parts, part)
            rows |= {row["number"]: row for row in part}
            if tell is not None:
                tell(done=len(rows), of=len(scorer))
        _write_table([rows[number] for number in sorted(rows)], out, scorer.weighs)
        shutil.rmtree(parts, ignore_errors=True)
    except OSError as error:
        raise ManifestError(f"{out} cannot be written ({error.strerror}); name another file") from error
    answered = sum(row["grams" if scorer.weighs else "unknown"] is not None for row in rows.values())
    return ScoreReport(len(rows), answered, resumed, scorer.bundle.card.task)


def _score_here(scorer: Scorer, todo: Sequence[int], workers: int) -> Iterator[dict[str, Any]]:
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(todo), _PART_ROWS):  # no more asked ahead than is kept at once
            yield from pool.map(scorer.score, todo[start : start + _PART_ROWS])


def _parts(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _PART_ROWS:
            yield part
            part = []
    if part:
        yield part


def _keep(folder: Path, part: list[dict[str, Any]]) -> None:
    half = folder / f".{uuid.uuid4().hex}"
    half.write_text("".join(json.dumps(row) + "\n" for row in part))
    os.replace(half, folder / f"{part[0]['number']}.jsonl")


def _kept(folder: Path) -> dict[int, dict[str, Any]]:
    rows = (json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines())
    return {row["number"]: row for row in rows}


def _write_table(rows: list[dict[str, Any]], out: Path, weighs: bool) -> None:
    texts = {"subject", "capture", "error", "bundle_name", "bundle_version", "bundle_sha256"}
    lists = {"advice", "warnings"}
    counts = {"photos", "photos_usable"}
    fields = [
        (
            name,
            pa.string()
            if name in texts
            else pa.list_(pa.string())
            if name in lists
            else pa.int64()
            if name in counts
            else pa.float64(),
        )
        for name in rows[0]
        if name != "number"
    ]
    about = {"weft.scored": "photos" if weighs else "scans"}
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields, metadata=about))
    half = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    try:
        pq.write_table(table, half, compression="zstd")
        os.replace(half, out)
    finally:
        half.unlink(missing_ok=True)


def _check_kind(bundle: Bundle, manifest: Manifest) -> None:
    needs = {"weight": "photo", "composition": "spectrum"}.get(bundle.card.task)
    if needs is None:
        raise ManifestError(
            f"bundle {bundle.card.name} is for {bundle.card.task}; name one for weight or composition"
        )
    if manifest.kind != needs:
        raise ManifestError(
            f"manifest '{manifest.name}' holds {manifest.kind} rows, bundle {bundle.card.name} needs "
            f"{needs} rows; name a manifest or bundle of the other kind"
        )


def _spread(places: Any, most: int) -> Any:
    """At most so many of them, evenly from the first to the last."""
    return (
        places if len(places) <= most else places[np.linspace(0, len(places) - 1, most).round().astype(int)]
    )


def _told(error: Exception, path: Any) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{path}: {said}" if isinstance(path, str) else said


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
