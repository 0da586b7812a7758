"""A stretch of simulated belt as one picture: in colour and as the NIR camera sees it, truth drawn in.

Upper band: the colour frames side by side. Lower band: the NIR lines in false colours, red the depth of
polyester's band at 1660 nm, green that of cellulose about 1490 nm, blue the brightness at 1300 nm. Outlines
and words are truth, not found.
"""

from pathlib import Path
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from weft.line.description import ColourCamera, LineDescription
from weft_datasets.belt.scene import PARTS
from weft_datasets.belt.stream import Belt, Block, Picture
from weft_datasets.belt.truth import PieceTruth

MM: Final = 3.2  # a pixel of the sheet
_WORDS: Final = 78  # pixels for what is said under each band
_BANDS_NM: Final = {
    "polyester": (1660.0, (1622.0, 1694.0)),
    "cellulose": (1490.0, (1310.0, 1690.0)),
}  # of a feature, and of the ground beside it
_DEPTHS: Final = {"polyester": 0.16, "cellulose": 0.16}  # drawn as full red or green, in absorbance
_LINE: Final = (255, 255, 255)

Image8 = NDArray[np.uint8]


def write_sheet(description: LineDescription, path: Path, *, seconds: float, seed: int) -> None:
    """Draw the first `seconds` of the belt of that seed.

    Raises:
        ValueError: The line has no colour camera.
    """
    camera = description.colour
    if camera is None:
        raise ValueError(f"line {description.name} has no colour camera; a sheet needs one")
    belt = Belt(description, seconds=seconds, seed=seed)
    blocks: list[Block] = []
    pictures: list[Picture] = []
    for event in belt.events():
        if isinstance(event, Block):
            blocks.append(event)
        else:
            pictures.append(event)
    across = round(description.belt.width_mm / MM)
    length = round((blocks[-1].travel_mm[-1] - description.nir.position_mm) / MM)
    colour = _colour(pictures, camera, length, across)
    near, codes = _near(blocks, belt, length, across)
    outlined = [_outlined(band, codes) for band in (colour, near)]
    sheet = Image.new("RGB", (length, 2 * (across + _WORDS)), (24, 24, 26))
    draw = ImageDraw.Draw(sheet)
    for place, band in enumerate(outlined):
        sheet.paste(Image.fromarray(band), (0, place * (across + _WORDS)))
    for row in belt.truth:
        _say(draw, row, across)
    path.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours: a third of the bytes, and nobody measures on a sheet.
    sheet.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _colour(pictures: list[Picture], camera: ColourCamera, length: int, across: int) -> Image8:
    """The middles of the frames, (across, length, 3): right is upstream."""
    out = np.zeros((length, across, 3), np.uint8)
    x = ((np.arange(across) + 0.5) * MM - camera.left_mm) / camera.mm_per_pixel
    columns = x.astype(int).clip(0, camera.width_px - 1)
    for picture in pictures[::6]:
        image = simplejpeg.decode_jpeg(picture.jpeg)
        # Of a frame its middle, as the line does; all of the first, which nothing came before.
        half = (0.35 if picture.number else 0.5) * camera.height_px * camera.mm_per_pixel
        middle = picture.travel_mm - camera.position_mm
        rows = np.arange(max(int((middle - half) / MM), 0), min(int((middle + half) / MM), length))
        away = (middle - (rows + 0.5) * MM) / camera.mm_per_pixel
        source = np.round((camera.height_px - 1) / 2 + away).astype(int)
        out[rows] = image[source.clip(0, camera.height_px - 1)][:, columns]
    return np.ascontiguousarray(out.transpose(1, 0, 2))


def _near(blocks: list[Block], belt: Belt, length: int, across: int) -> tuple[Image8, NDArray[np.int32]]:
    """False colours (across, length, 3) and the number of the piece in each pixel, 0 for none."""
    white, dark = (frame.mean(axis=0, dtype=np.float32) for frame in belt.references())
    counts = np.concatenate([block.counts for block in blocks])
    codes = np.concatenate([block.codes for block in blocks])
    travel = np.concatenate([block.travel_mm for block in blocks])
    absorbance = -np.log10(np.maximum((counts - dark) / np.maximum(white - dark, 1.0), 0.01))
    nm = np.array(belt.description.nir.wavelength_nm)

    def at(where: float) -> NDArray[np.float32]:
        near = np.abs(nm - where) <= max(9.0, float(np.abs(nm - where).min()))
        return np.median(absorbance[..., near], axis=-1)

    def depth(name: str) -> NDArray[np.float32]:
        centre, (left, right) = _BANDS_NM[name]
        share = (centre - left) / (right - left)
        return (at(centre) - (1 - share) * at(left) - share * at(right)) / _DEPTHS[name]

    bright = 0.9 * 10.0 ** -at(1300.0)
    shown = np.stack([depth("polyester"), depth("cellulose"), bright], axis=-1)
    shown[codes <= 0] *= 0.35  # belt and dust
    rows = np.searchsorted(travel - belt.description.nir.position_mm, (np.arange(length) + 0.5) * MM)
    nir = belt.description.nir
    columns = (((np.arange(across) + 0.5) * MM - nir.left_mm) / nir.mm_per_pixel).astype(int)
    grid = np.ix_(rows.clip(0, len(travel) - 1), columns.clip(0, nir.pixels - 1))
    image = (np.clip(shown, 0, 1) * 255).astype(np.uint8)[grid]
    numbers = np.maximum(codes, 0)[grid] // PARTS
    return np.ascontiguousarray(image.transpose(1, 0, 2)), np.ascontiguousarray(numbers.T)


def _outlined(band: Image8, numbers: NDArray[np.int32]) -> Image8:
    edge = np.zeros(numbers.shape, bool)
    edge[1:] |= numbers[1:] != numbers[:-1]
    edge[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    out = band.copy()
    out[edge] = _LINE
    return out


def _say(draw: ImageDraw.ImageDraw, row: PieceTruth, across: int) -> None:
    left = row.first_mm / MM
    small = ImageFont.load_default(13)
    cloth = " ".join(f"{share:.0%} {fibre}" for fibre, share in row.composition.items()) or "no textile"
    meets = [f"touches {n}" for n in row.touches] + [f"overlaps {n}" for n in row.overlaps]
    said = [
        (f"{row.piece}  {row.kind}, {row.colour}", f"{row.grams:.0f} g, {row.area_cm2:.0f} cm2"),
        (cloth, ", ".join([*(str(trim["kind"]) for trim in row.trims), *meets, *["lined"] * row.mixed])),
    ]
    for place, words in enumerate(said):
        top = across + place * (across + _WORDS) + 6 + 34 * (row.piece % 2)
        for at, word in enumerate(words):
            draw.text((left, top + 15 * at), word, font=small, fill=(225, 225, 228))
