"""Real photos, spoilt in known ways: `weft simulate faults`. The good ones go along: the set is complete."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simplejpeg
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray
from PIL import Image

from weft.errors import ManifestError
from weft.photos import decode_photo
from weft_datasets.faults import SPOILT, spoiled_photo
from weft_datasets.manifest import Manifest, make_manifest, write_manifest
from weft_datasets.render.sensor import develop


def write_spoilt(manifest: Manifest, out: Path, *, photos: int, seed: int, size_px: int = 320) -> Manifest:
    """Write up to `photos` photos of a manifest, each as it is and with every fault of `SPOILT`, below `out`.

    The good ones are made as small as a part that was cut out, and half of them pass through the simulated
    sensor of the spoilt ones: neither softness nor grain may tell them apart. Subjects stay what they are.

    Raises:
        ManifestError: It holds no photos, or one cannot be decoded.
    """
    if manifest.kind != "photo":
        raise ManifestError(f"manifest '{manifest.name}' holds {manifest.kind} rows; photos are needed")
    frame = manifest.frame
    if "fault" in frame:
        frame = frame[frame["fault"].isna()]
    frame = frame[~frame["path"].str.endswith(".npy")]
    if frame.empty:
        raise ManifestError(f"manifest '{manifest.name}' has no good photo; there is nothing to spoil")
    chosen = default_rng(seed).permutation(len(frame))[:photos]
    (out / "photos").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for place in np.sort(chosen):
        row = frame.iloc[place]
        rng = default_rng(SeedSequence(seed, spawn_key=(int(place),)))
        pixels = _read(manifest.file(row["path"]), size_px)
        common = {"subject": row["subject"], "kind": "photo", "simulated": False}
        name = f"p{place:06d}"
        _write(out / f"photos/{name}.jpg", rng, _rephotographed(rng, pixels))
        rows.append(common | {"capture": name, "path": f"photos/{name}.jpg", "fault": None})
        for fault in SPOILT:
            path = f"photos/{name}-{fault}.jpg"
            _write(out / path, rng, spoiled_photo(rng, fault, pixels))
            spoilt = {"capture": f"{name}-{fault}", "path": path, "fault": fault, "simulated": True}
            rows.append(common | spoilt)
    notes = {name: manifest.notes[name] for name in ("source", "licence") if name in manifest.notes}
    notes |= {"simulated": False, "remarks": [f"photos of '{manifest.name}'; their faults are simulated"]}
    made = make_manifest(pd.DataFrame(rows), root=out, name=f"{manifest.name}-faults", notes=notes)
    return write_manifest(made, out / "manifest.parquet")


def _rephotographed(rng: Generator, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels = _at_most(pixels, round(float(rng.uniform(0.5, 1.0)) * max(pixels.shape)))
    if rng.random() < 0.5:
        return pixels
    return develop(rng, (pixels.astype(np.float32) / 255) ** 2.2, visible=[0, 1, 2])


def _read(file: Path, size_px: int) -> NDArray[np.uint8]:
    """Decoded as a bundle would, then to a longest side of `size_px` at most."""
    return _at_most(decode_photo(file.read_bytes(), longest_px=size_px).pixels, size_px)


def _at_most(pixels: NDArray[np.uint8], longest_px: int) -> NDArray[np.uint8]:
    shrink = longest_px / max(pixels.shape)
    if shrink >= 1:
        return pixels
    size = (max(round(pixels.shape[1] * shrink), 1), max(round(pixels.shape[0] * shrink), 1))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _write(file: Path, rng: Generator, pixels: NDArray[np.uint8]) -> None:
    quality = int(rng.integers(70, 96))
    file.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality))
