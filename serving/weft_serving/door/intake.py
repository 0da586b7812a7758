"""Photos of one request, decoded while its body arrives."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from fastapi import Request

from weft.limits import PHOTO_BYTES
from weft.photos import Arrived, PhotoFile
from weft_serving.door.arriving import Arrival
from weft_serving.door.uploads import Upload, media_type, read_form, read_photo
from weft_serving.problems import InvalidRequestError
from weft_serving.service import Service

IMAGE: Final = "image/"  # a body of this type is one photo, its fields are in the query


class Intake(NamedTuple):
    """What was sent."""

    fields: Mapping[str, str]
    photos: list[PhotoFile]


async def take_photos(
    request: Request, service: Service, *, files: dict[str, int], fields: frozenset[str]
) -> Intake:
    """Read a form, or a body that is one photo; errors as of `read_form` and `read_photo`.

    Args:
        files: Most photos under each name of a file field. Where only one is taken at all, it is refused as
            soon as it is known that it cannot be decoded; one of several is answered for at the end.
        fields: Names of the text fields, in the query where the body is one photo.
    """
    section = service.models.weight.bundle.card.weight
    if section is None:
        raise ValueError("the model in service is none for weight")

    def begin() -> Arrival:
        return service.crew.begin(longest_px=section.decode_px)

    if media_type(request).startswith(IMAGE):
        told = _query(request, fields)
        arrival = begin()
        await read_photo(request, file_bytes=PHOTO_BYTES, arrival=arrival)
        return Intake(told, [await _finished(arrival)])
    alone = all(most == 1 for most in files.values())
    form = await read_form(
        request, files=files, fields=fields, file_bytes=PHOTO_BYTES, begin=begin, refuse_at_once=alone
    )
    uploads = [upload for uploads in form.files.values() for upload in uploads]
    try:
        return Intake(form.fields, [await _file(upload) for upload in uploads])
    finally:
        for upload in uploads:
            if upload.arrival is not None:
                upload.arrival.abandon()


async def _file(upload: Upload) -> PhotoFile:
    return upload.data if upload.arrival is None else await _finished(upload.arrival)


async def _finished(arrival: Arrival) -> PhotoFile:
    try:
        arrived = await arrival.finish()
    finally:
        arrival.abandon()
    return arrived if _is_known(arrived) else arrived.data


def _is_known(arrived: Arrived) -> bool:
    return arrived.photo is not None or arrived.error is not None


def _query(request: Request, fields: frozenset[str]) -> dict[str, str]:
    if not (query := request.scope["query_string"]):
        return {}
    try:  # not Starlette's: it would make one parcel of all codes that are no UTF-8
        pairs = parse_qsl(query.decode("utf-8"), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise InvalidRequestError("the query is no UTF-8 text; send its fields in UTF-8") from error
    told = dict(pairs)
    if len(told) < len(pairs):
        raise InvalidRequestError("a field is given twice in the query; send it once")
    if unknown := sorted(told.keys() - fields):
        raise InvalidRequestError(
            f"there is no field {unknown[0][:40]!r} here; known: {', '.join(sorted(fields))}"
        )
    return {name: text for name, text in told.items() if text}
