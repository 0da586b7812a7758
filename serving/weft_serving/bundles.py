"""GET /v1/bundles: which models answer here, what they were made from and how good they are."""

from fastapi.routing import APIRouter
from pydantic import BaseModel

from weft.bundle import Bundle
from weft.card import FibreCard, Task, TrainedOn, WeightCard
from weft_serving.service import TheService

router = APIRouter(prefix="/v1", tags=["bundles"])


class BundleAnswer(BaseModel):
    """The card without the recipe, which may name paths of the machine that trained it."""

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


class BundlesAnswer(BaseModel):
    bundles: list[BundleAnswer]


@router.get("/bundles")
async def list_bundles(service: TheService) -> BundlesAnswer:
    """The loaded bundles: weight first, then composition."""
    return BundlesAnswer(
        bundles=[_describe(service.models.weight.bundle), _describe(service.models.fibre.bundle)]
    )


def _describe(bundle: Bundle) -> BundleAnswer:
    card = bundle.card.model_dump()
    # a metric that was not measurable is NaN on the card, and no JSON
    card["metrics"] = {
        name: value if abs(value) < float("inf") else None for name, value in bundle.card.metrics.items()
    }
    return BundleAnswer(
        sha256=bundle.sha256, **{name: card[name] for name in BundleAnswer.model_fields if name != "sha256"}
    )
