"""What the service says of a parcel's weight: the models of its answers."""

import math
from datetime import datetime

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from weft.marks import MarkKind
from weft.quality import Advice
from weft.weigher import Estimate, PhotoFinding
from weft_serving.service import BundleName


class Answered(BaseModel):
    """Base of everything we answer: a NaN or an infinity is a fault of ours and never leaves the house."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class MarkAnswer(Answered):
    """A scale mark; lengths are pixels of the upright photo at full resolution.

    `tilt_degrees`: between the mark's plane and the sensor's; null where it does not follow.
    """

    kind: MarkKind
    corners: list[tuple[float, float]]
    mm_per_pixel: float
    confidence: float
    tilt_degrees: float | None


class PhotoAnswer(Answered):
    usable: bool
    advice: list[Advice]
    mark: MarkAnswer | None


class WeighingAnswer(Answered):
    """The scale's word; the last one where it was weighed again."""

    grams: float
    weighed_at: datetime


class WeightAnswer(Answered):
    """Grams with their interval; all null where no photo is usable."""

    grams: float | None
    low_grams: float | None
    high_grams: float | None
    coverage: float | None = Field(description="Share of parcels whose true weight lies in the interval")
    photos: list[PhotoAnswer]
    warnings: list[str]

    @model_validator(mode="after")
    def interval_holds_its_value(self) -> "WeightAnswer":
        if (self.low_grams is None) != (self.high_grams is None):
            raise ValueError("half an interval")
        if self.low_grams is not None and self.high_grams is not None:
            if self.grams is None or not self.low_grams <= self.grams <= self.high_grams:
                raise ValueError("an interval that does not hold its value")
        elif self.coverage is not None:
            raise ValueError("coverage without an interval")
        return self


class EstimateAnswer(WeightAnswer):
    id: str
    weighing: WeighingAnswer | None
    bundle: BundleName


def answered(answer: Answered) -> Response:
    """An answer as it goes out: checked when it was made, written once."""
    return Response(answer.model_dump_json(), media_type="application/json")


def answer_weight(estimate: Estimate) -> WeightAnswer:
    """The answer's part that needs no id: the stream sends it as it is."""
    return WeightAnswer(
        grams=_tenth(estimate.grams),
        low_grams=_tenth(estimate.low_grams),
        high_grams=_tenth(estimate.high_grams),
        coverage=estimate.coverage if estimate.low_grams is not None else None,
        photos=[_describe(finding) for finding in estimate.photos],
        warnings=list(estimate.warnings),
    )


def _describe(finding: PhotoFinding) -> PhotoAnswer:
    mark = finding.mark
    return PhotoAnswer(
        usable=finding.usable,
        advice=list(finding.advice),
        mark=None if mark is None else MarkAnswer.model_validate(mark, from_attributes=True),
    )


def _tenth(grams: float | None) -> float | None:
    """A tenth of a gram is beyond any scale for parcels; rounding keeps the order of low, grams and high."""
    return None if grams is None or not math.isfinite(grams) else round(float(grams), 1)
