"""A line as its plant describes it in `configs/lines/*.yaml`: cameras, belt, references, ejectors.

Coordinates. `travel_mm` is how far the belt has moved: encoder counts over counts per millimetre. A place
along the line (`position_mm`) is fixed to the floor and grows downstream. A place on the belt is `belt_mm =
travel_mm - position_mm`: a piece keeps its own, and what enters later has a larger one. Across the belt,
`x_mm` runs from the left edge as one looks downstream.
"""

from itertools import combinations, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weft.errors import LineDescriptionError

Gain = Annotated[float, Field(gt=0.05, lt=20)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
_DESCRIPTION_BYTES = 1_000_000


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Belt(Section):
    width_mm: float = Field(gt=0, le=5_000)
    speed_mm_per_s: float = Field(gt=0, le=10_000)  # the usual one; the encoder says the true one
    counts_per_mm: float = Field(gt=0, le=10_000)  # encoder counts for each millimetre of travel


class NirCamera(Section):
    """A line camera that sees every wavelength of one stripe across the belt at once."""

    position_mm: float  # of the stripe
    left_mm: float = 0.0  # x_mm of the outer edge of its first pixel
    field_of_view_mm: float = Field(gt=0)  # width of the stripe
    pixels: int = Field(ge=8, le=4_096)  # W
    wavelength_nm: tuple[float, ...] = ()  # (L,) ascending; or first, last and the number of bands:
    first_nm: float | None = None
    last_nm: float | None = None
    bands: int | None = Field(default=None, ge=8, le=1_000)
    lines_per_s: float = Field(gt=0, le=10_000)
    full_scale: int = Field(default=4_095, ge=255, le=65_535)  # counts at which a pixel is saturated

    @model_validator(mode="before")
    @classmethod
    def spell_out_the_axis(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("wavelength_nm"):
            first, last, bands = (given.get(key) for key in ("first_nm", "last_nm", "bands"))
            if not (isinstance(first, int | float) and isinstance(last, int | float)) or not isinstance(
                bands, int
            ):
                raise ValueError("needs wavelength_nm, or first_nm, last_nm and bands")
            if not first < last or not 8 <= bands <= 1_000:
                raise ValueError("first_nm must lie below last_nm, with 8 to 1,000 bands")
            step = (last - first) / (bands - 1)
            return {**given, "wavelength_nm": tuple(round(first + step * band, 4) for band in range(bands))}
        return given

    @model_validator(mode="after")
    def wavelengths_ascend(self) -> "NirCamera":
        axis = self.wavelength_nm
        if not 8 <= len(axis) <= 1_000 or any(b <= a for a, b in pairwise(axis)):
            raise ValueError("wavelength_nm must hold 8 to 1,000 ascending wavelengths")
        return self

    @property
    def mm_per_pixel(self) -> float:
        """Across the belt; along it, a pixel is as long as the belt moves between two lines."""
        return self.field_of_view_mm / self.pixels


class ColourCamera(Section):
    """An area camera that looks straight down. Row 0 of its picture is the one furthest upstream."""

    position_mm: float  # of the middle of its picture
    left_mm: float = 0.0  # x_mm of the outer edge of its first column
    width_px: int = Field(ge=32, le=8_192)
    height_px: int = Field(ge=32, le=8_192)
    mm_per_pixel: float = Field(gt=0, le=50)
    frames_per_s: float = Field(gt=0, le=1_000)
    # What linear red, green and blue are multiplied by so that a white tile is white; `weft line calibrate`.
    gain_rgb: tuple[Gain, Gain, Gain] = (1.0, 1.0, 1.0)


class References(Section):
    """White and dark frames of the NIR camera: how old they may become, and what is noticed by itself."""

    folder: Path | None = None  # with white.hdr and dark.hdr; None: they come with the stream
    max_age_s: float = Field(default=4 * 3600, gt=0)


class Ejector(Section):
    name: Name
    position_mm: float
    left_mm: float  # the part of the belt that it reaches, across
    right_mm: float
    delay_ms: float = Field(ge=0, le=1_000)  # from the command to air on the belt
    jitter_ms: float = Field(default=0.0, ge=0, le=1_000)  # standard deviation of that delay
    pulse_ms: float = Field(default=40.0, gt=0, le=2_000)


class LineDescription(Section):
    """One line, without what its lanes take: that is in `LaneRules`, which change while it runs."""

    name: Name
    belt: Belt
    nir: NirCamera
    colour: ColourCamera | None = None
    references: References = References()
    ejectors: tuple[Ejector, ...] = Field(min_length=1, max_length=64)
    decide_within_ms: float = Field(default=500.0, gt=0)  # after a piece's last line; later is an alarm
    longest_piece_mm: float = Field(default=1_500.0, gt=0)  # a longer one is no single garment
    shortest_piece_mm: float = Field(default=40.0, gt=0)  # a smaller one is dust or a button

    @model_validator(mode="after")
    def hangs_together(self) -> "LineDescription":
        for one, other in combinations(self.ejectors, 2):
            if one.name == other.name:
                raise ValueError(f"two ejectors are called {one.name!r}")
        for ejector in self.ejectors:
            if not 0 <= ejector.left_mm < ejector.right_mm <= self.belt.width_mm:
                raise ValueError(
                    f"ejector {ejector.name!r} must reach a part of 0 to {self.belt.width_mm:g} mm"
                )
            if ejector.position_mm <= self.nir.position_mm:
                raise ValueError(f"ejector {ejector.name!r} must lie downstream of the NIR camera")
        return self

    def travel_mm(self, encoder: float) -> float:
        """How far the belt has moved at this encoder count."""
        return encoder / self.belt.counts_per_mm

    def encoder_at(self, belt_mm: float, position_mm: float) -> float:
        """Encoder count at which a place on the belt comes past a position of the line."""
        return (belt_mm + position_mm) * self.belt.counts_per_mm


def read_description(path: Path) -> LineDescription:
    """Read the `line` part of a line's file; a misspelt or missing key is an error, never a default.

    Raises:
        LineDescriptionError: The file cannot be read, or a value is impossible; the message names it.
    """
    return _checked(LineDescription, read_part(path, "line"), path)


def read_part(path: Path, part: Literal["line", "lanes"]) -> Any:
    """One of the two parts of a line's file, as plain YAML values."""
    try:
        if path.stat().st_size > _DESCRIPTION_BYTES:
            raise LineDescriptionError(f"{path}: larger than a megabyte, which no line file is; name another")
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: a date that is none
        reason = str(error).splitlines()[0]
        raise LineDescriptionError(f"{path}: cannot be read ({reason}); name a line's YAML file") from error
    if not isinstance(found, dict) or set(found) != {"line", "lanes"}:
        got = ", ".join(map(str, found)) if isinstance(found, dict) else "something else"
        raise LineDescriptionError(
            f"{path}: holds {got[:200] or 'nothing'}, needed the two parts line and lanes; see configs/lines/"
        )
    return found[part]


def _checked(model: type[LineDescription], given: Any, path: Path) -> LineDescription:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "line"
        said = first["msg"].removeprefix("Value error, ")
        raise LineDescriptionError(f"{path}: {where}: {said}; correct it and start again") from error
