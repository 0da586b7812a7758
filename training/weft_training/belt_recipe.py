"""The sections of a recipe that are a belt's own: one camera's fixed bands, pixels of garments, their vote.

See `weft_training.recipe` for the whole of it and docs/line/bundle.md for every key.
"""

from pydantic import Field, model_validator

from weft.line.description import NirCamera
from weft_training.section import FibreData, Section, one_source


class LineCamera(Section):
    """The bands that the bundle reads: those of the camera that it is for, evenly spaced."""

    name: str  # for the card: "like a Specim FX17"
    first_nm: float = Field(gt=0)
    last_nm: float = Field(gt=0)
    bands: int = Field(ge=8, le=1_000)

    @model_validator(mode="after")
    def ascends(self) -> "LineCamera":
        if not self.first_nm < self.last_nm:
            raise ValueError("first_nm must lie below last_nm")
        return self

    def wavelengths(self) -> list[float]:
        """As the line's description spells them out."""
        return list(self.described().wavelength_nm)

    def described(self) -> NirCamera:
        """Such a camera over a belt of one metre, for the simulator."""
        return NirCamera(
            position_mm=0,
            field_of_view_mm=1000,
            pixels=640,
            first_nm=self.first_nm,
            last_nm=self.last_nm,
            bands=self.bands,
            lines_per_s=670,
        )


class SimulateBelt(Section):
    pieces: int = Field(ge=2)  # garments and what else falls onto a belt
    seed: int = Field(ge=0)
    pixels: int = Field(default=96, ge=8)  # of each piece, from anywhere on it
    cameras: int = Field(default=48, ge=1)  # units of the camera, each with its own axis, light and faults


class BeltData(FibreData):
    """Garments with their pixels; or any spectra with a composition, each then a garment's one pixel."""

    simulate: SimulateBelt | None = None

    @model_validator(mode="after")
    def has_one_source(self) -> "BeltData":
        return one_source(self)


class BeltModel(Section):
    camera: LineCamera
    components: int = Field(default=64, ge=2)  # of the SNV spectra, whitened: where the net begins
    noise_floor: float = Field(default=0.01, gt=0)  # of SNV: components that vary less are not blown up
    hidden: tuple[int, ...] = (128, 64)
    dropout: float = Field(default=0.05, ge=0, lt=1)


class BeltAugment(Section):
    """How pixels are changed in training; the simulator has changed them enough by itself."""

    pixels: int = Field(default=16, ge=2)  # of a garment in one batch
    pooled: float = Field(default=0.25, ge=0, le=1)  # part of them that are means of several: less noise
    shift_nm: float = Field(default=0.3, ge=0)  # standard deviation, by garment
    gain: float = Field(default=0.02, ge=0, lt=1)  # of absorbance, by garment
    slope: float = Field(default=0.005, ge=0)  # absorbance over the whole axis, by garment
    noise: float = Field(default=0.0, ge=0)  # absorbance, by pixel and band
    garment_loss: float = Field(default=1.0, ge=0)  # weight of the mean of a garment's pixels in the loss


class BeltVote(Section):
    """Rules of the vote; `weft.card.VoteCard` says what each means. Margins are calibrated, not chosen."""

    fewest_pixels: int = Field(default=8, ge=1)
    stray_distance: float = Field(default=0.25, gt=0, le=1)
    part_distance: float = Field(default=0.3, gt=0, le=1)
    # Of 1,423 simulated pieces of one cloth 0.2 % are called mixed so, of 51 in two clearly different ones
    # 92 %; with 4.0 and 0.1 it is 2.2 % and 94 %.
    part_separation: float = Field(default=5.5, gt=0)
    part_share: float = Field(default=0.13, gt=0, lt=0.5)
    trial: int = Field(default=1_500, ge=0)  # pieces left out of training that travel on the card
