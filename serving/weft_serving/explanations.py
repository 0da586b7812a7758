"""What an answer was read from: /v1/estimates/{id}/explanation and /v1/compositions/{id}/explanation."""

from typing import Annotated

import numpy as np
from fastapi import Query
from fastapi.routing import APIRouter
from pydantic import Field

from weft.explain_photo import explain_photo
from weft.explain_scan import explain_scan
from weft.limits import PHOTOS_PER_ESTIMATE
from weft.spectra import Scan
from weft.weigher import Subject
from weft_serving.answers import Answered
from weft_serving.circumstances import Circumstances
from weft_serving.compositions import find_scanned
from weft_serving.estimate_rows import find_estimate
from weft_serving.estimates import photos_of
from weft_serving.problems import problem_responses
from weft_serving.service import BundleName, Service, TheService

router = APIRouter(prefix="/v1")


class PartAnswer(Answered):
    """A rectangle of the upright photo, in shares of its width and height from the top left."""

    left: float
    top: float
    width: float
    height: float
    grams: float = Field(description="The estimate less the estimate with this part painted over")


class PhotoExplanationAnswer(Answered):
    photo: int = Field(description="Which photo of the estimate, from 1")
    grams: float = Field(description="The estimate that is explained, by all usable photos together")
    parts: list[PartAnswer] = Field(description="They cover the photo once")
    bundle: BundleName


class BandAnswer(Answered):
    nm: float
    bond: str
    source: str


class PeakAnswer(Answered):
    nm: float
    log_odds: float
    band: BandAnswer | None = Field(description="The known band of the fibre within 20 nm")


class ScanExplanationAnswer(Answered):
    """Of the scan alone, even where a photo had a say in the composition."""

    photo_heard: bool = Field(description="A photo had a say beside the scan; the shares may differ by it")
    fibre: str
    share: float = Field(ge=0, le=1)
    wavelength_nm: list[float]
    log_odds: list[float] = Field(description="How far the fibre's log odds fall without each stretch")
    points: list[float] = Field(description="Likewise, in percentage points of its share")
    peaks: list[PeakAnswer]
    bands: list[BandAnswer] = Field(description="Where the fibre is known to absorb")
    bundle: BundleName


@router.get(
    "/estimates/{estimate_id}/explanation",
    tags=["estimates"],
    responses=problem_responses("not-found", "photos-gone", "wrong-photos", "invalid-request", "busy"),
)
async def explain_estimate(
    estimate_id: str,
    service: TheService,
    photo: Annotated[int, Query(ge=1, le=PHOTOS_PER_ESTIMATE, description="Which photo, from 1")] = 1,
) -> PhotoExplanationAnswer:
    """Which parts of a photo carried the estimate, in grams.

    Each part is painted over and all photos weighed anew, up to 72 times: a few seconds, one explanation at a
    time. Photos are held for a few minutes only, then the answer is 410.
    """
    service.cubes.check_room()
    return await service.cubes.run(lambda: _explain_photo(service, estimate_id, photo))


@router.get(
    "/compositions/{composition_id}/explanation",
    tags=["compositions"],
    responses=problem_responses("not-found", "grid-mismatch", "broken-scan", "invalid-request", "busy"),
)
async def explain_composition(
    composition_id: str,
    service: TheService,
    fibre: Annotated[str | None, Query(max_length=40, description="Left out: the main fibre")] = None,
) -> ScanExplanationAnswer:
    """Which wavelengths carried a fibre's share, beside the bands at which it is known to absorb.

    What is explained is the scan alone: `photo_heard` says where a photo had a say in the answer too.
    """
    service.cubes.check_room()
    return await service.cubes.run(lambda: _explain_scan(service, composition_id, fibre))


def _explain_photo(service: Service, estimate_id: str, photo: int) -> PhotoExplanationAnswer:
    with service.store.reading() as session:
        row = find_estimate(session, estimate_id)
    circumstances = Circumstances(**{name: getattr(row, name) for name in Circumstances.model_fields})
    model = service.models.weight  # once: another bundle may come into service at any time
    prepared = photos_of(service, model, row, circumstances.hint())
    with service.metrics.stage("explain"):
        found = explain_photo(
            model.weigher,
            Subject(prepared, circumstances.season, circumstances.wrap),
            photo - 1,
        )
    parts = [
        PartAnswer(
            **{name: round(value, 5) for name, value in part._asdict().items() if name != "grams"},
            grams=round(part.grams, 1),
        )
        for part in found.parts
    ]
    return PhotoExplanationAnswer(photo=photo, grams=round(found.grams, 1), parts=parts, bundle=model.name)


def _explain_scan(service: Service, composition_id: str, fibre: str | None) -> ScanExplanationAnswer:
    with service.store.reading() as session:
        row = find_scanned(session, composition_id)
    scan = Scan(
        np.frombuffer(row.wavelength_nm, "<f4").astype(np.float64),
        np.frombuffer(row.absorbance, "<f4").astype(np.float32),
        "absorbance",
    )
    model = service.models.fibre
    with service.metrics.stage("explain"):
        found = explain_scan(model.identifier, scan, fibre)
    return ScanExplanationAnswer(
        photo_heard=bool(row.photo_heard),
        fibre=found.fibre,
        share=min(1.0, round(found.share, 4)),
        wavelength_nm=found.wavelength_nm.tolist(),
        log_odds=found.log_odds.round(4).tolist(),
        points=found.points.round(3).tolist(),
        peaks=[
            PeakAnswer(
                nm=peak.nm,
                log_odds=round(peak.log_odds, 4),
                band=None if peak.band is None else BandAnswer(**peak.band._asdict()),
            )
            for peak in found.peaks
        ],
        bands=[BandAnswer(**band._asdict()) for band in found.bands],
        bundle=model.name,
    )
