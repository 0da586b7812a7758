"""Photos in, kilograms out: /v1/estimates."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weft.errors import WrongPhotosError
from weft.limits import PHOTOS_PER_ESTIMATE
from weft.marks import MarkHint
from weft.photos import PhotoFile
from weft.weigher import Estimate, Prepared
from weft_serving.answers import EstimateAnswer, answer_weight, answered
from weft_serving.bundles.comparing import weighing
from weft_serving.bundles.models import WeightModel
from weft_serving.circumstances import Circumstances, ParcelFields
from weft_serving.door.caller import check_caller
from weft_serving.door.intake import take_photos
from weft_serving.door.uploads import media_type, read_body
from weft_serving.estimate_rows import (
    NewEstimate,
    OvertakenError,
    answer_of,
    fill_row,
    find_estimate,
    keep_new,
    new_estimate,
    save_estimate,
    store_new,
)
from weft_serving.kept import read_kept
from weft_serving.problems import (
    ContentTypeError,
    InvalidRequestError,
    PhotosGoneError,
    TooManyFilesError,
    invalid,
    problem_responses,
)
from weft_serving.service import Service, TheService
from weft_serving.tables import EstimateRow, WeighingRow, now

router = APIRouter(prefix="/v1/estimates", tags=["estimates"])
_FIELDS: Final = frozenset({"mark", "mark_mm", "season", "wrap", "parcel"})


class Weighing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    grams: float = Field(ge=0.1, le=1_000_000, strict=True)


def _form_doc(files: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": files | fields, "required": list(files)}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _parcel_doc() -> dict[str, Any]:
    """A form of photos and fields, or one photo as the body with the fields in the query."""
    files = {"photos": {"type": "array", "items": _FILE_DOC, "minItems": 1, "maxItems": PHOTOS_PER_ESTIMATE}}
    fields: dict[str, Any] = ParcelFields.model_json_schema()["properties"]
    told = _form_doc(files, fields)
    for kind in ("jpeg", "png", "webp", "heic"):
        told["requestBody"]["content"][f"image/{kind}"] = {"schema": _FILE_DOC}
    told["parameters"] = [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": _BESIDE}
        for name, schema in fields.items()
    ]
    return told


_BESIDE: Final = "Where the body is one photo, `Content-Type: image/...`"
_FILE_DOC: Final = {"type": "string", "format": "binary"}
_PHOTO_PROBLEMS: Final = problem_responses(
    "bad-request", "too-slow", "photo-too-large", "request-too-large", "unsupported-photo",
    "unsupported-content", "broken-photo", "wrong-photos", "invalid-request", "busy",
)  # fmt: skip


@router.post(
    "",
    response_model=EstimateAnswer,
    responses=_PHOTO_PROBLEMS,
    openapi_extra=_parcel_doc(),
)
async def create_estimate(request: Request, service: TheService) -> Response:
    """Weigh a parcel by one to nine photos of it; one photo may also be the body itself."""
    try:
        told, photos = await take_photos(
            request, service, files={"photos": PHOTOS_PER_ESTIMATE}, fields=_FIELDS
        )
    except TooManyFilesError as error:
        raise WrongPhotosError(str(error)) from error
    fields = _read_fields(told)
    if not photos:
        raise InvalidRequestError("no photo was sent; send one to nine files in the field `photos`")
    model = service.models.weight  # once: another bundle may come into service at any time
    if service.batcher.gathers(model.bundle):
        made = await _create_together(service, model, photos, fields)
    else:
        made = await service.pool.run(lambda: _create(service, model, photos, fields))
    await store_new(service, made.new)
    service.recent.put(made.new.answer.id, made.prepared, takes=made.model.takes)
    service.changes.trial("weight").offer(
        made.model, weighing(made.prepared, fields), made.estimate, made.new.answer.id
    )
    return answered(made.new.answer)


@router.post(
    "/{estimate_id}/photos",
    responses=_PHOTO_PROBLEMS | problem_responses("not-found", "photos-gone"),
    openapi_extra=_form_doc({"photos": _FILE_DOC}, {}),
)
async def add_photo(estimate_id: str, request: Request, service: TheService) -> EstimateAnswer:
    """Add one photo to an estimate and weigh anew by all of them.

    Photos are not kept: earlier ones are remembered for a few minutes only, then the answer is 410.
    """
    _, photos = await take_photos(
        request, service, files={"photos": 1, "photo": 1, "file": 1}, fields=frozenset()
    )
    if len(photos) != 1:
        raise InvalidRequestError(
            f"{len(photos)} photos were sent; send exactly one file in the field `photos`"
        )
    return await service.pool.run(lambda: _add(service, estimate_id, photos[0]))


@router.get("/{estimate_id}", responses=problem_responses("not-found"))
def read_estimate(estimate_id: str, service: TheService) -> EstimateAnswer:
    """An estimate as it stands, with the scale's word where it was weighed."""
    with service.store.reading() as session:
        return answer_of(find_estimate(session, estimate_id))


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
    # Not in the pool: the scale's word must not wait behind photos, nor be refused because of them.
    return await run_in_threadpool(_weigh, service, estimate_id, weighing)


def prepare_photos(
    service: Service, model: WeightModel, photos: Sequence[PhotoFile], hint: MarkHint | None
) -> tuple[Prepared, ...]:
    """Decode and judge photos; one that cannot be decoded is `broken` among good ones, else a PhotoError."""
    with service.metrics.stage("prepare"):
        return model.weigher.prepare_all(photos, hint)


class _Weighed(NamedTuple):
    """A parcel that is weighed and not yet stored."""

    new: NewEstimate
    model: WeightModel
    prepared: tuple[Prepared, ...]
    estimate: Estimate


async def _create_together(
    service: Service, model: WeightModel, photos: Sequence[PhotoFile], fields: ParcelFields
) -> _Weighed:
    """As `_create`, with the photos of whoever asks at the same moment in one call of the graph."""
    prepared = await service.pool.run(lambda: prepare_photos(service, model, photos, fields.hint()))
    estimate = await weigh_together(service, model, prepared, fields)
    return await service.pool.run_in_turn(
        lambda: _made(service, model, photos, fields, prepared=prepared, estimate=estimate)
    )


async def weigh_together(
    service: Service, model: WeightModel, prepared: Sequence[Prepared], known: Circumstances
) -> Estimate:
    """Ask the batcher; it counts as the client's work, and as the stage `weigh`."""
    with service.metrics.stage("weigh"), service.pool.elsewhere():
        return await service.batcher.weigh(model.weigher, prepared, season=known.season, wrap=known.wrap)


def _create(
    service: Service, model: WeightModel, photos: Sequence[PhotoFile], fields: ParcelFields
) -> _Weighed:
    prepared = prepare_photos(service, model, photos, fields.hint())
    check_caller()
    with service.metrics.stage("weigh"):
        estimate = model.weigher.weigh(prepared, season=fields.season, wrap=fields.wrap)
    return _made(service, model, photos, fields, prepared=prepared, estimate=estimate)


def _made(
    service: Service,
    model: WeightModel,
    photos: Sequence[PhotoFile],
    fields: ParcelFields,
    *,
    prepared: tuple[Prepared, ...],
    estimate: Estimate,
) -> _Weighed:
    service.metrics.count_estimate(estimate, model.bundle.card)
    new = new_estimate(answer_weight(estimate), model.name, fields)
    keep_new(service, new, photos)
    return _Weighed(new, model, prepared, estimate)


def _add(service: Service, estimate_id: str, photo: PhotoFile) -> EstimateAnswer:
    for _ in range(4):  # replicas know nothing of each other's turns
        with suppress(OvertakenError):
            return _add_once(service, estimate_id, photo)
    return _add_once(service, estimate_id, photo)


def _add_once(service: Service, estimate_id: str, photo: PhotoFile) -> EstimateAnswer:
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
        model = service.models.weight
        earlier = photos_of(service, model, row, hint)
        added = prepare_photos(service, model, [photo], hint)
        prepared = [*earlier, *added]
        with service.metrics.stage("weigh"):
            estimate = model.weigher.weigh(prepared, season=circumstances.season, wrap=circumstances.wrap)
        found, judged_by = row.photos, row.bundle_sha256
        fill_row(row, answer_weight(estimate), model.name)
        if judged_by != model.name.sha256:  # never one bundle's verdicts beside another one's grams
            found = [judged | {"mark": old["mark"]} for old, judged in zip(found, row.photos, strict=False)]
        row.photos = [*found, *row.photos[count:]]  # a kept photo may be smaller than the one that was judged
        answer = save_estimate(service, row, [photo], first=count + 1)
        service.metrics.count_estimate(estimate, model.bundle.card, first=count)
        service.recent.put(row.id, prepared, takes=model.takes)
    service.changes.trial("weight").offer(model, weighing(prepared, circumstances), estimate, row.id)
    return answer


def photos_of(
    service: Service, model: WeightModel, row: EstimateRow, hint: MarkHint | None
) -> Sequence[Prepared]:
    """The photos of an estimate, remembered or from the operator's folder; else PhotosGoneError.

    Those that were prepared for a bundle of another decode scale or other bands are as good as forgotten.
    """
    recent = service.recent.get(row.id, takes=model.takes)
    if recent is not None and len(recent) == len(row.photos):  # else another replica has added one
        return recent
    kept = read_kept(row.kept) if len(row.kept) == len(row.photos) else None
    if kept is None:
        raise PhotosGoneError(
            "the earlier photos of this estimate are no longer held, and photos are not kept here; "
            "send all photos anew with POST /v1/estimates"
        )
    return prepare_photos(service, model, kept, hint)  # an empty one was broken before, and is again


def _weigh(service: Service, estimate_id: str, weighing: Weighing) -> EstimateAnswer:
    with service.store.writing() as session:
        row = find_estimate(session, estimate_id)
        row.weighings.append(WeighingRow(grams=weighing.grams, weighed_at=now()))
        row.updated_at = now()
        session.flush()
        answer = answer_of(row)
    service.metrics.weighings.inc()
    return answer


def _read_fields(told: Mapping[str, str]) -> ParcelFields:
    try:
        return ParcelFields.model_validate(told)
    except ValidationError as error:
        raise invalid(error, need="correct the field or leave it out") from error
