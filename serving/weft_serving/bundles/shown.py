"""GET /v1/bundles: which models answer here, what they were made from, how good they are, what was before."""

from datetime import datetime

from fastapi.routing import APIRouter
from pydantic import BaseModel, Field

from weft.bundle import Bundle
from weft.card import FibreCard, Task, TrainedOn, WeightCard
from weft_serving.bundles.models import BundleName
from weft_serving.bundles.slot import Slot
from weft_serving.service import TheService

router = APIRouter(prefix="/v1", tags=["bundles"])


class RefusedAnswer(BaseModel):
    at: datetime
    reason: str


class BundleAnswer(BaseModel):
    """The card without the recipe, which may name paths of the machine that trained it; and how it stands."""

    task: Task
    name: str
    version: str
    sha256: str
    trained_on: TrainedOn
    created_at: str
    dataset: str
    dataset_fingerprint: str
    subjects: int
    coverage: float | None
    metrics: dict[str, float | None]  # null where a metric could not be measured
    limits: tuple[str, ...]
    licence_notes: tuple[str, ...]
    weight: WeightCard | None
    composition: FibreCard | None
    since: datetime = Field(description="In service here")
    kept: bool = Field(description="Whether a restart takes this bundle too")
    previous: BundleName | None = Field(description="What it replaced; POST .../rollback brings it back")
    challenger: BundleName | None = Field(description="On trial: see .../challenger")
    refused: RefusedAnswer | None = Field(description="A later bundle that was not taken up, and why")


class ChangeAnswer(BundleAnswer):
    already: bool = Field(description="This bundle was in service before: what answers has not changed")


class BundlesAnswer(BaseModel):
    bundles: list[BundleAnswer]


@router.get("/bundles")
async def list_bundles(service: TheService) -> BundlesAnswer:
    """The bundles in service: weight first, then composition."""
    return BundlesAnswer(
        bundles=[
            describe_slot(service.changes.slot("weight")),
            describe_slot(service.changes.slot("composition")),
        ]
    )


def describe_slot(slot: Slot) -> BundleAnswer:
    """One task's bundle as it stands now."""
    challenger, refused = slot.trial.challenger, slot.refused
    return _describe(
        slot.current.bundle,
        since=slot.since,
        kept=slot.kept,
        previous=slot.previous,
        challenger=None if challenger is None else challenger.name,
        refused=None if refused is None else RefusedAnswer(at=refused.at, reason=refused.reason),
    )


def _describe(bundle: Bundle, **standing: object) -> BundleAnswer:
    card = bundle.card.model_dump()
    # a metric that was not measurable is NaN on the card, and no JSON
    card["metrics"] = {
        name: value if abs(value) < float("inf") else None for name, value in bundle.card.metrics.items()
    }
    told = {name: card[name] for name in BundleAnswer.model_fields if name in card}
    return BundleAnswer.model_validate({**told, "sha256": bundle.sha256, **standing})
