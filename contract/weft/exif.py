"""The one thing that is read of a photo's EXIF: how the camera was held."""

import struct


def exif_orientation(tiff: bytes) -> int:
    """Orientation 1..8 from an EXIF block (without `Exif\\0\\0`); 1 where it is absent or makes no sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack(f"{order}I", tiff[4:8])
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack(f"{order}H", tiff[start : start + 2])
    for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack(f"{order}HHIH", tiff[entry : entry + 10])
        if tag == 0x0112:
            return value if kind == 3 and 1 <= value <= 8 else 1
    return 1
