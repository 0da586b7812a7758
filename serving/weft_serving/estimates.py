"""Photos in, kilograms out: /v1/estimates."""

import math
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Request
from fastapi.routing import APIRouter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy.orm import Session

from weft.errors import WrongPhotosError
from weft.limits import PHOTO_BYTES, PHOTOS_PER_ESTIMATE
from weft.marks import USUAL_MM, MarkHint, MarkKind, wanted
from weft.quality import Advice
from weft.weigher import Estimate, PhotoFinding, Prepared
from weft_serving.kept import forget_photos, keep_photos, read_kept
from weft_serving.problems import (
    ContentTypeError,
    InvalidRequestError,
    NotFoundError,
    PhotosGoneError,
    TooManyFilesError,
    invalid,
    problem_responses,
)
from weft_serving.service import BundleName, Service, TheService, is_id, name_of
from weft_serving.tables import EstimateRow, WeighingRow, now
from weft_serving.uploads import Form, media_type, read_body, read_form

router = APIRouter(prefix="/v1/estimates", tags=["estimates"])
_FIELDS: Final = frozenset({"mark", "mark_mm", "season", "wrap", "parcel"})


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


class Weighing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    grams: float = Field(ge=0.1, le=1_000_000, strict=True)


class Circumstances(BaseModel):
    """What a client may say about a parcel beside its photos; the stream's greeting says the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mark: MarkKind | None = Field(default=None, description="Kind of scale mark in the photos")
    mark_mm: Annotated[float, Field(ge=1, le=2_000)] | None = Field(
        default=None,
        description="Its size in mm. `qr`: side of the outer square; `disc`: diameter; `sheet`: longer side, "
        "297 (A4) if left out; `ruler`: its printed length, 250 if left out",
    )
    season: Literal["summer", "winter"] | None = None
    wrap: Literal["bag", "box", "loose"] | None = None

    @model_validator(mode="before")
    @classmethod
    def usual_print(cls, given: Any) -> Any:
        kind = given.get("mark") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind in USUAL_MM and given.get("mark_mm") is None:
            return {**given, "mark_mm": USUAL_MM[kind]}
        return given

    @model_validator(mode="after")
    def mark_has_a_size(self) -> "Circumstances":
        if (self.mark is None) != (self.mark_mm is None):
            raise ValueError("`mark` and `mark_mm` belong together; send both or none")
        return self

    def hint(self) -> MarkHint | None:
        return wanted(self.mark, self.mark_mm)


def _printable(code: str) -> str:
    if any(character < " " or character == "\x7f" for character in code):
        raise ValueError("a control character is in it; send what can be printed on a label")
    return code


class ParcelFields(Circumstances):
    """The text fields of the form."""

    parcel: Annotated[str, Field(max_length=64), AfterValidator(_printable)] | None = Field(
        default=None, description="A code of your own; not unique"
    )


def _form_doc(files: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": files | fields, "required": list(files)}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_FILE_DOC: Final = {"type": "string", "format": "binary"}
_PHOTO_PROBLEMS: Final = problem_responses(
    "bad-request", "too-slow", "photo-too-large", "request-too-large", "unsupported-photo",
    "unsupported-content", "broken-photo", "wrong-photos", "invalid-request", "busy",
)  # fmt: skip


@router.post(
    "",
    responses=_PHOTO_PROBLEMS,
    openapi_extra=_form_doc(
        {"photos": {"type": "array", "items": _FILE_DOC, "minItems": 1, "maxItems": PHOTOS_PER_ESTIMATE}},
        ParcelFields.model_json_schema()["properties"],
    ),
)
async def create_estimate(request: Request, service: TheService) -> EstimateAnswer:
    """Weigh a parcel by one to nine photos of it."""
    service.pool.check_room()
    try:
        form = await read_form(
            request, files={"photos": PHOTOS_PER_ESTIMATE}, fields=_FIELDS, file_bytes=PHOTO_BYTES
        )
    except TooManyFilesError as error:
        raise WrongPhotosError(str(error)) from error
    fields = _read_fields(form)
    photos = [upload.data for upload in form.files.get("photos", [])]
    if not photos:
        raise InvalidRequestError("no photo was sent; send one to nine files in the field `photos`")
    return await service.pool.run(lambda: _create(service, photos, fields))


@router.post(
    "/{estimate_id}/photos",
    responses=_PHOTO_PROBLEMS | problem_responses("not-found", "photos-gone"),
    openapi_extra=_form_doc({"photos": _FILE_DOC}, {}),
)
async def add_photo(estimate_id: str, request: Request, service: TheService) -> EstimateAnswer:
    """Add one photo to an estimate and weigh anew by all of them.

    Photos are not kept: earlier ones are remembered for a few minutes only, then the answer is 410.
    """
    service.pool.check_room()
    form = await read_form(
        request, files={"photos": 1, "photo": 1, "file": 1}, fields=frozenset(), file_bytes=PHOTO_BYTES
    )
    photos = [upload.data for uploads in form.files.values() for upload in uploads]
    if len(photos) != 1:
        raise InvalidRequestError(
            f"{len(photos)} photos were sent; send exactly one file in the field `photos`"
        )
    return await service.pool.run(lambda: _add(service, estimate_id, photos[0]))


@router.get("/{estimate_id}", responses=problem_responses("not-found"))
def read_estimate(estimate_id: str, service: TheService) -> EstimateAnswer:
    """An estimate as it stands, with the scale's word where it was weighed."""
    with service.store.reading() as session:
        return _answer(find_estimate(session, estimate_id))


@router.post(
    "/{estimate_id}/weighing",
    responses=problem_responses("not-found", "invalid-request", "unsupported-content"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": Weighing.model_json_schema()}},
        }
    },
)
async def weigh_estimate(estimate_id: str, request: Request, service: TheService) -> EstimateAnswer:
    """Store the scale's word beside an estimate. Every weighing is kept; the last one is shown."""
    if media_type(request) not in {"application/json", ""}:
        raise ContentTypeError('send {"grams": 1234} with the header Content-Type: application/json')
    body = await read_body(request)
    try:
        weighing = Weighing.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error, need='send {"grams": 1234}, at least 0.1 and at most 1,000,000') from error
    return await service.pool.run(lambda: _weigh(service, estimate_id, weighing))


def prepare_photos(service: Service, photos: Sequence[bytes], hint: MarkHint | None) -> tuple[Prepared, ...]:
    """Decode and judge photos; one that cannot be decoded is `broken` among good ones, else a PhotoError."""
    with service.metrics.stage("prepare"):
        return service.weigher.prepare_all(photos, hint)


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


def _create(service: Service, photos: Sequence[bytes], fields: ParcelFields) -> EstimateAnswer:
    prepared = prepare_photos(service, photos, fields.hint())
    with service.metrics.stage("weigh"):
        estimate = service.weigher.weigh(prepared, season=fields.season, wrap=fields.wrap)
    service.metrics.count_photos(estimate.photos)
    row = EstimateRow(id=uuid.uuid4().hex, kept=[], **fields.model_dump())
    _fill(row, answer_weight(estimate), name_of(service.weight))
    answer = _save(service, row, photos, first=1)
    service.recent.put(row.id, prepared)
    return answer


def _add(service: Service, estimate_id: str, photo: bytes) -> EstimateAnswer:
    with service.recent.turn(estimate_id):
        with service.store.reading() as session:
            row = find_estimate(session, estimate_id)
        count = len(row.photos)
        if count >= PHOTOS_PER_ESTIMATE:
            raise WrongPhotosError(
                f"this estimate has {count} photos already, at most {PHOTOS_PER_ESTIMATE} are taken; "
                "start a new one"
            )
        circumstances = Circumstances(**{name: getattr(row, name) for name in Circumstances.model_fields})
        hint = circumstances.hint()
        earlier = photos_of(service, row, hint)
        added = prepare_photos(service, [photo], hint)
        prepared = [*earlier, *added]
        with service.metrics.stage("weigh"):
            estimate = service.weigher.weigh(prepared, season=circumstances.season, wrap=circumstances.wrap)
        service.metrics.count_photos(estimate.photos[count:])
        found = row.photos
        _fill(row, answer_weight(estimate), name_of(service.weight))
        row.photos = [*found, *row.photos[count:]]  # a kept photo may be smaller than the one that was judged
        answer = _save(service, row, [photo], first=count + 1)
        service.recent.put(row.id, prepared)
    return answer


def photos_of(service: Service, row: EstimateRow, hint: MarkHint | None) -> Sequence[Prepared]:
    """The photos of an estimate, remembered or from the operator's folder; else PhotosGoneError."""
    recent = service.recent.get(row.id)
    if recent is not None:
        return recent
    kept = read_kept(row.kept) if len(row.kept) == len(row.photos) else None
    if kept is None:
        raise PhotosGoneError(
            "the earlier photos of this estimate are no longer held, and photos are not kept here; "
            "send all photos anew with POST /v1/estimates"
        )
    return prepare_photos(service, kept, hint)  # an empty one was broken before, and is again


def _weigh(service: Service, estimate_id: str, weighing: Weighing) -> EstimateAnswer:
    with service.store.writing() as session:
        row = find_estimate(session, estimate_id)
        row.weighings.append(WeighingRow(grams=weighing.grams, weighed_at=now()))
        row.updated_at = now()
        session.flush()
        return _answer(row)


def _save(service: Service, row: EstimateRow, photos: Sequence[bytes], *, first: int) -> EstimateAnswer:
    """Store the row, and its new photos where the operator keeps them, both or neither; what stands then."""
    folder = service.settings.keep_photos
    kept: list[str] = []
    try:
        with service.metrics.stage("store"):
            if folder is not None and len(row.kept) == first - 1:
                kept = keep_photos(folder, row.id, photos, first=first)
                row.kept = [*row.kept, *kept]
            with service.store.writing() as session:
                stored = session.merge(row)
                session.flush()
                return _answer(stored)  # with a weighing that came in meanwhile
    except BaseException:
        forget_photos(kept)
        raise


def _fill(row: EstimateRow, answer: WeightAnswer, bundle: BundleName) -> None:
    row.grams, row.low_grams, row.high_grams = answer.grams, answer.low_grams, answer.high_grams
    row.coverage = answer.coverage
    row.photos = [photo.model_dump(mode="json") for photo in answer.photos]
    row.warnings = answer.warnings
    row.updated_at = now()
    row.bundle_name, row.bundle_version = bundle.name, bundle.version
    row.bundle_sha256, row.bundle_trained_on = bundle.sha256, bundle.trained_on


def _answer(row: EstimateRow) -> EstimateAnswer:
    last = row.weighings[-1] if row.weighings else None
    return EstimateAnswer.model_validate(
        {
            "id": row.id,
            "grams": row.grams,
            "low_grams": row.low_grams,
            "high_grams": row.high_grams,
            "coverage": row.coverage,
            "photos": row.photos,
            "warnings": row.warnings,
            "weighing": {"grams": last.grams, "weighed_at": last.weighed_at} if last else None,
            "bundle": {
                "name": row.bundle_name,
                "version": row.bundle_version,
                "sha256": row.bundle_sha256,
                "trained_on": row.bundle_trained_on,
            },
        }
    )


def find_estimate(session: Session, estimate_id: str) -> EstimateRow:
    row = session.get(EstimateRow, estimate_id) if is_id(estimate_id) else None
    if row is None:
        raise NotFoundError(
            f"there is no estimate {estimate_id[:64]!r}; use the `id` of an answer of this server"
        )
    return row


def _describe(finding: PhotoFinding) -> PhotoAnswer:
    mark = finding.mark
    return PhotoAnswer(
        usable=finding.usable,
        advice=list(finding.advice),
        mark=None if mark is None else MarkAnswer.model_validate(mark, from_attributes=True),
    )


def _read_fields(form: Form) -> ParcelFields:
    try:
        return ParcelFields.model_validate(form.fields)
    except ValidationError as error:
        raise invalid(error, need="correct the field or leave it out") from error


def _tenth(grams: float | None) -> float | None:
    """A tenth of a gram is beyond any scale for parcels; rounding keeps the order of low, grams and high."""
    return None if grams is None or not math.isfinite(grams) else round(float(grams), 1)
