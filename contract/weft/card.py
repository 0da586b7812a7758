"""The card of a bundle: what it does, what it was made from, how good it is. JSON inside the ONNX file."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weft.errors import CardError, FibreError
from weft.fibres import fibre
from weft.quality import Fault

Task = Literal["weight", "composition", "belt"]
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


class PhotoCard(Section):
    """What a photo of the same thing may add to a scan, as swatches left out of the fit have told."""

    decode_px: int = Field(ge=32)  # photos are decoded to at least this longest side before the graph
    subjects: int = Field(ge=1)  # photographed swatches that it was fitted on
    # Its evidence for each fibre, within -1..1, is added to the scan's so many times; 0: it told nothing.
    trust: float = Field(ge=0)
    trust_alone: float = Field(ge=0)  # likewise where there is no scan; 0: the answer is always unknown


class FibreCard(Section):
    """What a fibre bundle takes and what it has seen."""

    fibres: tuple[str, ...] = Field(min_length=1)  # order of the F axis, names of `weft.fibres`
    grid_nm: tuple[float, ...] = Field(min_length=2)  # that any scan is resampled to, ascending
    needed_nm: tuple[float, float]  # a scan must cover at least this
    share_range: dict[str, tuple[float, float]]  # fibre -> smallest and largest share seen in training
    instruments: tuple[str, ...] = ()
    unknown_threshold: float = Field(default=0.5, ge=0, le=1)  # `unknown` at or above this: no composition
    photo: PhotoCard | None = None  # None: it reads scans alone

    @model_validator(mode="after")
    def is_a_list_of_fibres_on_a_grid(self) -> "FibreCard":
        _check_fibres(self.fibres)
        if not all(low < high for low, high in pairwise(self.grid_nm)):
            raise ValueError("grid_nm does not ascend")
        if not self.needed_nm[0] < self.needed_nm[1]:
            raise ValueError("needed_nm does not ascend")
        return self


class VoteCard(Section):
    """How the pixels of one piece become one answer, and how far that may be off: `weft.line.reader`."""

    fewest_pixels: int = Field(ge=1)  # that look like a textile; of fewer no composition is said
    # Distances between two compositions are half the sum of the shares' differences: 0 the same, 1 disjoint.
    stray_distance: float = Field(gt=0, le=1)  # further from the rest: a print, a button, a seam; no vote
    part_distance: float = Field(gt=0, le=1)  # two groups of pixels so far apart are two materials,
    part_separation: float = Field(gt=0)  # if that is so many times the spread within them,
    part_share: float = Field(gt=0, lt=0.5)  # and the smaller group has so much of the pixels
    edges_share: tuple[float, ...] = ()  # band of a share = number of edges <= it
    # Likewise of the pixels' mean distance from their vote: for answers that say a blend, and a pure fibre.
    edges_scatter: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    # (kinds, F, bands): around a share, by kind of answer, fibre and band. Kinds: blends of the smallest
    # scatter, of the next, ..., then pure ones likewise. None: no honest interval is available.
    margin: tuple[tuple[tuple[float, ...], ...], ...] | None = None

    @model_validator(mode="after")
    def has_margins_of_all_kinds(self) -> "VoteCard":
        kinds = sum(len(edges) + 1 for edges in self.edges_scatter)
        if self.margin is not None and len(self.margin) != kinds:
            raise ValueError(f"margin must hold {kinds} kinds of answer, got {len(self.margin)}")
        return self


class TrialCard(Section):
    """Pieces left out of training as the vote answered them: what thresholds and plans are drawn from."""

    predicted: tuple[tuple[float, ...], ...]  # (pieces, F)
    truth: tuple[tuple[float, ...], ...]  # (pieces, F); all 0 for what is no known textile
    scatter: tuple[float, ...]  # (pieces,) of the vote
    unknown: tuple[float, ...]  # (pieces,) as predicted
    mixed: tuple[bool, ...]  # (pieces,) as said
    grams: tuple[float, ...] = ()  # (pieces,) true; empty where they are not known

    @model_validator(mode="after")
    def is_a_table(self) -> "TrialCard":
        columns = (self.predicted, self.truth, self.scatter, self.unknown, self.mixed)
        rows = {len(column) for column in columns}
        if len(rows | ({len(self.grams)} if self.grams else set())) > 1:
            raise ValueError("the columns of the trial differ in length")
        return self


class MassCard(Section):
    """Grams per square centimetre that a piece covers, from simulated or weighed pieces, by main fibre."""

    grams_per_cm2: dict[str, float]  # fibre -> median
    low_ratio: float = Field(gt=0, le=1)  # true grams over estimated: the interval's lower end
    high_ratio: float = Field(ge=1)
    coverage: float = Field(gt=0, lt=1)
    pieces: int = Field(ge=9)  # left out of the fit, that the ratios were calibrated on


class BeltCard(Section):
    """What a belt bundle takes, how its vote goes, and what it has seen."""

    fibres: tuple[str, ...] = Field(min_length=2)  # order of the F axis, names of `weft.fibres`
    wavelength_nm: tuple[float, ...] = Field(min_length=8)  # the camera's bands, ascending: the L axis
    camera: str  # that it was trained for, in words
    share_range: dict[str, tuple[float, float]]  # fibre -> smallest and largest share seen in training
    unknown_threshold: float = Field(default=0.5, ge=0, le=1)  # of a pixel; of a piece: of its pixels' mean
    vote: VoteCard
    trial: TrialCard | None = None
    mass: MassCard | None = None  # None: it was trained on pieces without a mass

    @model_validator(mode="after")
    def is_a_list_of_fibres_on_an_axis(self) -> "BeltCard":
        _check_fibres(self.fibres)
        if not all(low < high for low, high in pairwise(self.wavelength_nm)):
            raise ValueError("wavelength_nm does not ascend")
        bands = len(self.vote.edges_share) + 1
        for kind in self.vote.margin or ():
            if len(kind) != len(self.fibres) or any(len(row) != bands for row in kind):
                raise ValueError(f"vote.margin must hold {len(self.fibres)} fibres by {bands} bands")
        rows = () if self.trial is None else (*self.trial.predicted, *self.trial.truth)
        if any(len(row) != len(self.fibres) for row in rows):
            raise ValueError(f"trial must hold {len(self.fibres)} shares a piece")
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


Gap = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]  # grams: relative; all else: absolute


class EngineProof(Section):
    """How closely another engine answers like the model that the bundle was exported from, by output."""

    bound: dict[str, Gap]
    measured: dict[str, Gap]  # the largest gap found
    cases: int = Field(ge=1)  # inputs compared
    measured_on: str  # engine, its version and the CPU


class Proof(Section):
    """How closely this file answers like the model it was exported from."""

    engine: str  # "onnxruntime"
    bound: float = Field(gt=0, lt=1, allow_inf_nan=False)  # grams: relative; shares: absolute
    measured: float  # the largest gap found at export
    cases: int  # inputs compared at export; at most 4 of them travel in the file
    engines: dict[str, EngineProof] = Field(default_factory=dict[str, EngineProof])  # others admitted


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
    belt: BeltCard | None = None
    recalibration: RecalibrationCard | None = None  # None: as it was trained

    @model_validator(mode="after")
    def has_the_section_of_its_task(self) -> "Card":
        if (self.weight is not None) != (self.task == "weight"):
            raise ValueError("task and section `weight` contradict each other")
        if (self.composition is not None) != (self.task == "composition"):
            raise ValueError("task and section `composition` contradict each other")
        if (self.belt is not None) != (self.task == "belt"):
            raise ValueError("task and section `belt` contradict each other")
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


def _check_fibres(fibres: tuple[str, ...]) -> None:
    """ValueError, as a validator raises it, unless all are known fibres and none is named twice."""
    try:
        known = {fibre(name).name for name in fibres}
    except FibreError as error:
        raise ValueError(str(error)) from error
    if len(known) < len(fibres):
        raise ValueError("a fibre is named twice")
