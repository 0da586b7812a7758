"""The card of a bundle: what it does, what it was made from, how good it is. JSON inside the ONNX file."""

from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weft.errors import CardError, FibreError
from weft.fibres import fibre
from weft.quality import Fault

Task = Literal["weight", "composition"]
TrainedOn = Literal["real", "simulated"]
Extra = Literal["mm_per_pixel", "season", "wrap"]
SEASONS: tuple[str, ...] = ("summer", "winter")  # graph input: 0 unknown, then 1, 2 in this order
WRAPS: tuple[str, ...] = ("bag", "box", "loose")  # graph input: 0 unknown, then 1, 2, 3


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AdviceRule(Section):
    """A fault that the graph sees in single photos, from which chance on it is said, and how often rightly.

    The rates are of photos of subjects that neither the net nor the thresholds have seen.
    """

    word: Fault
    advise_above: float = Field(ge=0, le=1)  # the photo is still weighed by
    refuse_above: float = Field(ge=0, le=1)  # `usable: false`
    hit_rate: float = Field(ge=0, le=1)  # photos with this fault that are told so
    refusal_rate: float = Field(ge=0, le=1)  # photos with this fault that are refused by this word
    false_alarm_rate: float = Field(ge=0, le=1)  # good photos that are told so
    false_refusal_rate: float = Field(ge=0, le=1)  # good photos that are refused by this word
    faulty_photos: int = Field(ge=1)  # that the rates were measured on
    good_photos: int = Field(ge=1)
    simulated: bool  # whether the faulty photos were


class ShiftCard(Section):
    """From when on photos are unlike what the bundle was trained on, measured on subjects left out of it."""

    strange_above: float = Field(allow_inf_nan=False)  # of the output `strangeness`
    false_alarm_rate: float = Field(ge=0, le=1)  # photos of held-out subjects above it, at most
    then: Literal["refuse", "widen"]  # the photo; or the interval, to all of `range_grams`
    # ln(largest / smallest) of the single photos' estimates, for 2, 3 to 4, and more photos: what subjects
    # left out stay under at the same rate; above it they may not be photos of one thing. None: too few had.
    disagree_above: tuple[float | None, float | None, float | None] = (None, None, None)
    subjects: int = Field(ge=9)  # that it was measured on


class WeightCard(Section):
    """What a weight bundle takes and what it has seen."""

    bands: tuple[str, ...]  # order of the C axis of `photos`
    max_photos: int = Field(ge=1)  # most photos of one subject it was trained with
    decode_px: int = Field(ge=32)  # photos are decoded to at least this longest side before the graph
    input_px: int = Field(ge=32)  # the graph resizes to a square of this side
    range_grams: tuple[float, float]  # lightest and heaviest subject seen in training
    uses: tuple[Extra, ...] = ()
    mark: str | None = None  # kind of scale mark seen in training, with its size: "disc 25 mm"
    advice: tuple[AdviceRule, ...] = ()  # order of the K axis of the output `faults`
    shift: ShiftCard | None = None  # None: nothing is called unfamiliar


class FibreCard(Section):
    """What a fibre bundle takes and what it has seen."""

    fibres: tuple[str, ...] = Field(min_length=1)  # order of the F axis, names of `weft.fibres`
    grid_nm: tuple[float, ...] = Field(min_length=2)  # that any scan is resampled to, ascending
    needed_nm: tuple[float, float]  # a scan must cover at least this
    share_range: dict[str, tuple[float, float]]  # fibre -> smallest and largest share seen in training
    instruments: tuple[str, ...] = ()
    unknown_threshold: float = Field(default=0.5, ge=0, le=1)  # `unknown` at or above this: no composition

    @model_validator(mode="after")
    def is_a_list_of_fibres_on_a_grid(self) -> "FibreCard":
        try:
            known = {fibre(name).name for name in self.fibres}
        except FibreError as error:
            raise ValueError(str(error)) from error
        if len(known) < len(self.fibres):
            raise ValueError("a fibre is named twice")
        if not all(low < high for low, high in pairwise(self.grid_nm)):
            raise ValueError("grid_nm does not ascend")
        if not self.needed_nm[0] < self.needed_nm[1]:
            raise ValueError("needed_nm does not ascend")
        return self


class RecalibrationCard(Section):
    """What a parent's shares were moved by, and how much that helped on swatches left out of it."""

    parent_sha256: str  # seal of the bundle that was recalibrated
    kind: Literal["bias", "slope and bias"]
    swatches: int = Field(ge=1)
    scans: int = Field(ge=1)
    fibres: tuple[str, ...]  # that the known swatches hold
    share_range: dict[str, tuple[float, float]]  # of these, in the known swatches
    instruments: tuple[str, ...] = ()
    dataset_fingerprint: str  # of the known swatches
    mae_points_before: float  # mean over `fibres` and swatches, points of a percent
    mae_points_after: float  # each swatch corrected by the others


class Proof(Section):
    """How closely this file answers like the model it was exported from."""

    engine: str  # "onnxruntime"
    bound: float = Field(gt=0, lt=1, allow_inf_nan=False)  # grams: relative; shares: absolute
    measured: float  # the largest gap found at export
    cases: int  # inputs compared at export; at most 4 of them travel in the file


class Card(Section):
    format: Literal[1] = 1
    task: Task
    name: str
    version: str
    trained_on: TrainedOn
    created_at: str  # UTC, ISO 8601
    code_revision: str
    dataset_fingerprint: str
    dataset: str  # one sentence: what it was trained on
    recipe: str  # the whole recipe, as YAML
    licence_notes: tuple[str, ...]
    subjects: int = Field(ge=1)
    coverage: float | None = Field(default=None, gt=0, lt=1)  # None: no honest interval is available
    calibration_subjects: int = Field(default=0, ge=0)
    metrics: dict[str, float]
    limits: tuple[str, ...] = ()  # sentences a user must know: "27-50 % cotton only"
    proof: Proof
    weight: WeightCard | None = None
    composition: FibreCard | None = None
    recalibration: RecalibrationCard | None = None  # None: as it was trained

    @model_validator(mode="after")
    def has_the_section_of_its_task(self) -> "Card":
        if (self.weight is not None) != (self.task == "weight"):
            raise ValueError("task and section `weight` contradict each other")
        if (self.composition is not None) != (self.task == "composition"):
            raise ValueError("task and section `composition` contradict each other")
        if self.coverage is not None and self.calibration_subjects < 9:
            raise ValueError("an interval needs at least 9 calibration subjects")
        return self


def read_card(text: str) -> Card:
    """Parse a card; anything missing, extra or out of range is a CardError that names the field."""
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "card"
        raise CardError(
            f"bundle card: {where}: {first['msg']}; export the bundle again with this version of Weft"
        ) from error
