"""One subject or scan of a manifest asked of a bundle: a row of an archive's table."""

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from weft.bundle import Bundle, load_bundle
from weft.errors import InputError, ManifestError
from weft.identifier import Identifier
from weft.limits import PHOTOS_PER_ESTIMATE
from weft.weigher import PhotoFinding, Prepared, Weigher
from weft_datasets.captures import prepared_photo, scan_of
from weft_datasets.manifest import Manifest, read_manifest

# A file may be missing, unreadable, or an array that is none: a row says so, and the run goes on.
_BROKEN: Final = (InputError, OSError, ValueError)


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
