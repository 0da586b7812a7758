"""A contact sheet: many captures of a manifest on one picture."""

from pathlib import Path

import numpy as np
from PIL import Image

from weft_datasets.manifest import Manifest


def write_contact_sheet(
    manifest: Manifest, path: Path, *, columns: int = 8, rows: int = 5, cell_px: int = 160, quality: int = 82
) -> None:
    """Write the first photo of the first `columns` x `rows` subjects as PNG or JPEG, after `path`'s ending.

    Photos with more than three bands show their first three; a lone band shows as grey.
    """
    first = manifest.frame.drop_duplicates("subject").head(columns * rows)
    used = -(-len(first) // columns)
    sheet = Image.new("RGB", (columns * cell_px, used * cell_px), (238, 238, 236))
    for place, name in enumerate(first["path"]):
        photo = _thumbnail(manifest.root / str(name), cell_px - 4)
        row, column = divmod(place, columns)
        x = column * cell_px + (cell_px - photo.width) // 2
        y = row * cell_px + (cell_px - photo.height) // 2
        sheet.paste(photo, (x, y))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        sheet.save(path, quality=quality, optimize=True)
    else:
        sheet.save(path)


def _thumbnail(path: Path, side: int) -> Image.Image:
    if path.suffix == ".npy":
        pixels = np.load(path)
        shown = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
        photo = Image.fromarray(np.ascontiguousarray(shown))
    else:
        photo = Image.open(path).convert("RGB")
    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
    return photo
