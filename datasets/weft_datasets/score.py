"""An archive scored with a bundle: a row a parcel or scan, the same in one process and on a cluster.

Each is asked alone: no answer depends on which others it was asked beside, or where. What is answered is kept
in a folder beside the table that is being made: a run that was stopped goes on from there.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from weft.errors import ManifestError
from weft_datasets.score_ray import score_by_ray
from weft_datasets.scorer import Scorer

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
