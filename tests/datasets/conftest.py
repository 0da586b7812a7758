"""Small sources in the layout of the real ones, made by code: nothing measured is in the repository."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

Sheets = dict[str, Sequence[Sequence[str | float]]]
REAL = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def real_data() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"the measurements are not at {REAL}")
    return REAL


@pytest.fixture
def write_photo() -> Callable[..., Path]:
    return _write_photo


def _write_photo(
    path: Path, *, seed: int, quality: int = 90, exif: Image.Exif | None = None, size: int = 160
) -> Path:
    """A scene of soft blobs: alike for one seed, unlike for another, and smooth enough for JPEG."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (7, 9, 3), np.uint8)
    image = Image.fromarray(small).resize((size * 4 // 3, size), Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", quality=quality, exif=exif or Image.Exif())
    return path


@pytest.fixture
def write_xls() -> Callable[[Path, Sheets], Path]:
    return _write_xls


def _write_xls(path: Path, sheets: Sheets) -> Path:
    """A BIFF5 stream, the plainest .xls that a reader takes: text and number cells, no styles."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<HH", kind, len(body)) + body

    def bof(what: int) -> bytes:
        return record(0x0809, struct.pack("<HHHH", 0x0500, what, 0, 0))

    codepage, end = record(0x0042, struct.pack("<H", 1252)), record(0x000A, b"")
    bodies: list[bytes] = []
    for rows in sheets.values():
        body = bof(0x0010)
        for y, row in enumerate(rows):
            for x, value in enumerate(row):
                place = struct.pack("<HHH", y, x, 0)
                if isinstance(value, str):
                    body += record(0x0204, place + struct.pack("<H", len(value)) + value.encode("cp1252"))
                else:
                    body += record(0x0203, place + struct.pack("<d", value))
        bodies.append(body + end)
    heads = [len(name) for name in sheets]
    start = len(bof(0x0005)) + len(codepage) + sum(4 + 7 + length for length in heads) + len(end)
    bounds = b""
    for name, body in zip(sheets, bodies, strict=True):
        bounds += record(0x0085, struct.pack("<IHB", start, 0, len(name)) + name.encode("cp1252"))
        start += len(body)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bof(0x0005) + codepage + bounds + end + b"".join(bodies))
    return path


CENTRES_NM = {"cotton": 1480.0, "polyester": 1660.0, "nylon": 1530.0, "wool": 1510.0}


@pytest.fixture
def fabric_spectra() -> Callable[..., pd.DataFrame]:
    return _fabric_spectra


def _fabric_spectra(
    fibres: Sequence[str], *, scans: int = 3, points: int = 60, seed: int = 0
) -> pd.DataFrame:
    """One subject a fibre named; its scans are a band of that fibre on a slope, with noise of their own."""
    rng = np.random.default_rng(seed)
    nm = np.linspace(900.0, 1700.0, points)
    rows: list[dict[str, object]] = []
    for number, fibre in enumerate(fibres):
        for scan in range(scans):
            band = np.exp(-0.5 * ((nm - CENTRES_NM[fibre]) / 40.0) ** 2)
            slope = rng.normal(0, 2e-4) * (nm - 1300.0)
            values = 0.3 + 0.4 * band + slope + rng.normal(0, 0.004, points)
            rows.append(
                {
                    "capture": f"{fibre}{number}-{scan}",
                    "subject": f"{fibre}{number}",
                    "kind": "spectrum",
                    "wavelength_nm": nm,
                    "absorbance": values.astype(np.float32),
                    **{f"{name}_pct": 100.0 * (name == fibre) for name in CENTRES_NM},
                }
            )
    return pd.DataFrame(rows)
