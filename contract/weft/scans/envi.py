"""ENVI cubes: header and data beside it, or both in a zip; raw counts with white and dark references."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from weft.errors import BrokenScanError, ReferenceNeededError, UnsupportedScanError
from weft.scans.archive import is_zip, unpack
from weft.scans.cube import Levels, build_cube
from weft.scans.envi_header import HEADER_BYTES, Header, is_envi_header, parse_header
from weft.spectra import Cube, reference_levels

Files = Mapping[str, Path]  # what the sender calls a file -> where it lies

_DATA_SUFFIXES: Final = (
    "",
    ".dat",
    ".raw",
    ".img",
    ".bil",
    ".bip",
    ".bsq",
    ".bin",
    ".cue",
    ".hyspex",
    ".sli",
)
_NO_DATA: Final = (
    ".hdr",
    ".txt",
    ".xml",
    ".json",
    ".csv",
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".log",
    ".pdf",
    ".md",
)
_NO_CUBE: Final = (*_NO_DATA, ".zip", ".jdx", ".dx", ".jcamp")
_KINDS: Final = ("cube", "white", "dark")
_REFERENCE: Final = re.compile(r"(white|dark)", re.I)
_REFERENCE_LINES: Final = 256


@dataclass(frozen=True, slots=True)
class Source:
    """A header with its data file, or data alone that is laid out like another's (a reference)."""

    header: Header
    data: Path

    def values(self) -> NDArray[Any]:
        """Memory-mapped, shape (H, W, bands), in the file's own type."""
        header = self.header
        found = self.data.stat().st_size
        if found != header.data_bytes:
            raise BrokenScanError(
                f"{header.name}: describes {header.data_bytes:,} bytes, the data has {found:,}; "
                "send the header that belongs to it, or copy the data again"
            )
        size = {"l": header.lines, "s": header.samples, "b": header.bands}
        axes = {"bil": "lbs", "bip": "lsb", "bsq": "bls"}[header.interleave]
        shape = tuple(size[axis] for axis in axes)
        mapped = np.memmap(self.data, header.dtype, "r", offset=header.offset, shape=shape)
        return mapped.transpose([axes.index(axis) for axis in "lsb"])


def read_envi_path(
    path: Path,
    *,
    unit: str | None = None,
    quantity: str | None = None,
    white: Path | None = None,
    dark: Path | None = None,
) -> Cube:
    """Read a header (or its data file) with what lies beside it; references are named one by one.

    Raises:
        UnsupportedScanError: No data file beside the header.
        BrokenScanError: The header and the data do not belong together, no wavelengths, nothing but NaN.
        ScanTooLargeError: More than 2 GB.
        ReferenceNeededError: Raw counts without both references, or references that are of no use.
        QuantityError: Quantity or unit is missing or does not fit the values.
    """
    main = open_envi(path)
    references = tuple(
        None if file is None else _reference(file.name, file, main.header) for file in (white, dark)
    )
    return _cube(main, references[0], references[1], unit=unit, quantity=quantity)


def read_envi_zip(
    name: str,
    data: bytes,
    *,
    unit: str | None = None,
    quantity: str | None = None,
    white: bytes | None = None,
    dark: bytes | None = None,
) -> Cube:
    """Read header and data from a zip; `white*` and `dark*` in it, or sent beside it, are the references.

    A reference sent beside it is itself a zip, or bare data laid out as the cube's. Raises what
    `read_envi_path` raises, and what `weft.scans.archive.unpack` refuses.
    """
    with tempfile.TemporaryDirectory(prefix="weft-cube-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        (folder / "cube").mkdir()
        files = unpack(name, data, folder / "cube")
        inside = {kind: {key: path for key, path in files.items() if _kind(key) == kind} for kind in _KINDS}
        main = _only(name, inside["cube"])
        references: list[Source | None] = []
        for kind, sent in (("white", white), ("dark", dark)):
            if sent is not None:
                references.append(_sent_reference(kind, sent, main.header, folder))
            else:
                references.append(_packed_reference(name, inside[kind], main.header))
        return _cube(main, references[0], references[1], unit=unit, quantity=quantity)


def _kind(key: str) -> str:
    found = _REFERENCE.match(_base(key))
    return found[1].lower() if found else "cube"


def _base(key: str) -> str:
    return key.replace("\\", "/").rsplit("/", 1)[-1]


def _only(name: str, files: Files) -> Source:
    headers = [key for key in files if key.lower().endswith(".hdr")]
    if len(headers) != 1:
        raise UnsupportedScanError(
            f"{name}: {len(headers)} ENVI headers in the zip beside references, "
            "needed one; send one cube with its .hdr"
        )
    header = parse_header(_base(headers[0]), _head(files[headers[0]]))
    key = _data_of(headers[0], files)
    if key is None:
        raise UnsupportedScanError(f"{name}: no data for {header.name} in the zip; put both under one name")
    return Source(header, files[key])


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEADER_BYTES + 1)


def _data_of(header: str, files: Files) -> str | None:
    """The data file of a header: the same name with a usual ending; else the only file that can be data."""
    stem = header[:-4].lower()
    others = {key.lower(): key for key in files if not key.lower().endswith(_NO_DATA)}
    for suffix in _DATA_SUFFIXES:
        if stem + suffix in others:
            return others[stem + suffix]
    same = [key for low, key in others.items() if low.rsplit(".", 1)[0] == stem]
    if len(same) == 1:
        return same[0]
    return next(iter(others.values())) if len(others) == 1 else None


def header_beside(path: Path) -> Path | None:
    """The header of a cube named by its data file, or the header itself; None for anything else."""
    if path.suffix.lower() == ".hdr":
        return path
    if path.suffix.lower() in _NO_CUBE:
        return None
    names = (path.with_name(path.name + ending) for ending in (".hdr", ".HDR"))
    return next(
        (found for found in (*names, path.with_suffix(".hdr"), path.with_suffix(".HDR")) if found.is_file()),
        None,
    )


def open_envi(path: Path) -> Source:
    """A header with its data file, either named by the other, in the same folder; nothing is read yet.

    Raises:
        UnsupportedScanError: One of the two is missing.
        BrokenScanError: The header cannot be believed.
        ScanTooLargeError: More than 2 GB.
    """
    found = header_beside(path)
    if found is None or not found.is_file():
        raise UnsupportedScanError(f"{path.name}: no ENVI header beside it; name a .hdr file")
    header = parse_header(found.name, _head(found))
    if path.suffix.lower() != ".hdr":
        return Source(header, path)
    beside = {
        entry.name: entry
        for entry in found.parent.iterdir()
        if entry.name.lower().startswith(found.stem.lower()) and entry.is_file()
    }
    key = _data_of(found.name, beside)
    if key is None:
        raise UnsupportedScanError(
            f"{found.name}: no data file beside it; "
            "put it there under the same name, ending in .dat, .raw or .img"
        )
    return Source(header, beside[key])


def _reference(name: str, path: Path, like: Header) -> Source:
    """A reference with its own header, or bare data laid out as the cube's, of any number of lines."""
    if header_beside(path) is not None:
        return open_envi(path)
    return _bare(name, path, like)


def _bare(name: str, path: Path, like: Header) -> Source:
    line = like.samples * like.bands * like.dtype.itemsize
    size = path.stat().st_size - like.offset
    if size <= 0 or size % line:
        raise ReferenceNeededError(
            f"{name}: {size:,} bytes are no whole lines of {like.samples} samples x {like.bands} bands; "
            "send the reference with its own header"
        )
    return Source(replace(like, name=name, lines=size // line), path)


def _packed_reference(name: str, files: Files, like: Header) -> Source | None:
    if not files:
        return None
    if any(key.lower().endswith(".hdr") for key in files):
        return _only(name, files)
    if len(files) > 1:
        raise ReferenceNeededError(
            f"{name}: {len(files)} files may be one reference; send one of each with its .hdr"
        )
    key, path = next(iter(files.items()))
    return _bare(_base(key), path, like)


def _sent_reference(kind: str, data: bytes, like: Header, folder: Path) -> Source:
    place = folder / kind
    place.mkdir()
    if is_zip(data):
        return _only(kind, unpack(kind, data, place))
    if is_envi_header(data):
        raise ReferenceNeededError(f"{kind}: a header without its data; send both in one zip")
    target = place / "data"
    target.write_bytes(data)
    return _bare(kind, target, like)


def _cube(
    main: Source, white: Source | None, dark: Source | None, *, unit: str | None, quantity: str | None
) -> Cube:
    if (white is None) != (dark is None):
        missing = "dark" if dark is None else "white"
        raise ReferenceNeededError(f"{main.header.name}: the {missing} reference is missing; send both")
    levels = _levels(main.header, white, dark) if white is not None and dark is not None else None
    return build_cube(main.header, main.values(), levels, unit=unit, quantity=quantity)


def _levels(header: Header, white: Source, dark: Source) -> Levels:
    frames: list[NDArray[Any]] = []
    for name, source in (("white", white), ("dark", dark)):
        got = source.header
        if got.bands != header.bands or got.samples not in (1, header.samples):
            raise ReferenceNeededError(
                f"the {name} reference has {got.samples} samples x {got.bands} bands, "
                f"needed {header.samples} x {header.bands}; record it with the same settings as the cube"
            )
        step = -(-got.lines // _REFERENCE_LINES)
        frames.append(source.values()[::step])
    return Levels(*reference_levels((header.samples, header.bands), white=frames[0], dark=frames[1]))
