"""What a line says about each piece: what it is, where it goes, and what went wrong meanwhile.

These records are the JSON of the stream, of MQTT, of the store and of the page: one form for all.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Flag = Literal[
    "touching",  # two or more pieces lie against each other: what is whose cannot be told
    "overlapping",  # one lies on another
    "mixed",  # parts of clearly different fibres: a lining, a second layer, a blend of panels
    "long",  # longer than any single garment
    "cut",  # runs over the edge of the camera's view
    "dark",  # too little light comes back to tell the fibre
    "unknown",  # not a textile the model knows
    "few-pixels",  # too little of it could be read
    "no-colour",  # no colour picture of it
]
AlarmCode = Literal[
    "camera-silent",
    "camera-rate",
    "broken-frame",
    "wrong-bands",
    "out-of-order",
    "repeated-frame",
    "encoder-jump",
    "encoder-still",
    "clock-jump",
    "reference-missing",
    "reference-stale",
    "reference-saturated",
    "bad-rules",
    "late-decisions",
    "overload",
    "disk-full",
    "store-down",
    "broker-down",
    "engine-fault",  # a part of ours broke and was started again
]
Outcome = Literal[
    "fired",  # the command went out in time
    "passed",  # nothing to do: its lane is the rest, or has no ejector
    "late",  # too late for its ejector: not fired, goes to the rest
    "held",  # an alarm or an overlapping pulse forbade it: not fired, goes to the rest
]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Share(Record):
    fibre: str
    share: float = Field(ge=0, le=1)  # by weight
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class Place(Record):
    """Where on the belt, in the coordinates of `weft.line.description`."""

    first_mm: float  # belt_mm of the end that came first
    last_mm: float
    left_mm: float  # x_mm
    right_mm: float


class Colour(Record):
    name: str  # "white", "black", "navy", ...: `weft.line.colours`
    lightness: float  # CIE L* under D65, 0..100
    a: float
    b: float


class Mass(Record):
    grams: float = Field(gt=0)
    low_grams: float = Field(ge=0)
    high_grams: float = Field(gt=0)


class Piece(Record):
    """One garment as the cameras saw it. Evidence that is no number (picture, spectrum) travels beside it."""

    line: str
    number: int = Field(ge=1)  # running, for each line; never used twice
    seen_at: datetime  # UTC, of its last line
    place: Place
    outline_mm: tuple[tuple[float, float], ...]  # (belt_mm, x_mm), closed, 24 points at most
    area_cm2: float = Field(gt=0)
    pixels: int = Field(ge=0)
    voted: int = Field(ge=0)  # pixels whose vote counted: without zips, prints, edges
    shares: tuple[Share, ...]  # largest first; empty: no composition
    unknown: float = Field(ge=0, le=1)
    flags: tuple[Flag, ...] = ()
    colour: Colour | None = None
    mass: Mass | None = None
    bundle_sha256: str


class Decision(Record):
    """Where one piece goes, why, and whether that was in time."""

    piece: Piece
    lane: str
    wanted: str  # the lane that its composition asked for; differs where it was late or held
    reason: str
    rules_version: str
    expected_value: float | None = (
        None  # of the wanted lane, price per kilogram times grams less what it spoils
    )
    # That the piece truly is what the wanted lane takes, as it was decided by; None: the rest takes all.
    chance: float | None = Field(default=None, ge=0, le=1)
    ejector: str | None = None
    fire_encoder: int | None = None  # when the command has to go out, ejector's delay taken off
    hold_encoder: int | None = None  # until when it stays open
    decided_encoder: int  # the belt's count when the decision was made
    latency_ms: float = Field(ge=0)  # from the piece's last line to the decision
    outcome: Outcome
    simulated: bool = False


class Command(Record):
    """What an ejector has to do, for a controller on MQTT. Counts that have passed are never fired."""

    line: str
    piece: int = Field(ge=1)
    lane: str
    ejector: str
    fire_encoder: int
    hold_encoder: int
    withdrawn: bool = False  # an earlier command for this piece must not be carried out
    simulated: bool = False


class Alarm(Record):
    line: str
    code: AlarmCode
    cause: str  # one sentence: what we saw, what it needs, what to do
    since: datetime
    until: datetime | None = None  # None: still so
    count: int = Field(default=1, ge=1)


class LaneCount(Record):
    lane: str
    pieces: int = 0
    grams: float = 0.0
    fired: int = 0
    late: int = 0
    held: int = 0


class LineState(Record):
    """The line at one moment, retained for whoever connects later."""

    line: str
    at: datetime
    running: bool  # frames come and the belt moves
    rules_version: str
    bundle_sha256: str
    trained_on: Literal["real", "simulated"]
    encoder: int
    speed_mm_per_s: float
    pieces: int
    pieces_per_min: float
    kg_per_h: float
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    deadline_ms: float | None  # from the last line of a piece to the first ejector, at this speed
    reference_age_s: float | None
    lanes: tuple[LaneCount, ...]
    alarms: tuple[Alarm, ...]
    dropped_frames: int = 0


class Online(Record):
    """Whether a line's service is connected; the broker itself says False where the connection broke."""

    line: str
    online: bool


class RulesInForce(Record):
    """What the lanes take, retained for whoever connects later."""

    line: str
    version: str
    at: datetime  # since when
    rules: dict[str, JsonValue]  # canonical form


class Gap(Record):
    """Records that found no room in the queue to the broker, told at their place in the stream.

    The line's store holds them all the same.
    """

    line: str
    records: int = Field(ge=1)
    first_piece: int | None  # None: alarms alone
    last_piece: int | None
    cause: str
