"""Every refusal as RFC 9457 `application/problem+json`: one table of kinds, one handler per error type."""

import json
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRouter
from markupsafe import escape
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException

from weft.errors import (
    FrameError,
    InputError,
    LineReferenceError,
    RuleError,
    StoreError,
    WeftError,
)

MEDIA_TYPE: Final = "application/problem+json"
# What there is too much of: jobs, bytes in flight, of one client, time until its turn, open connections.
BusyReason = Literal["queue", "bytes", "share", "deadline", "streams", "pages", "stopping"]


class Kind(NamedTuple):
    """A kind of problem: `type` is `/problems/<slug>`, and that address explains it."""

    status: int
    title: str
    help: str


KINDS: Final[Mapping[str, Kind]] = {
    # photos
    "bad-photo": Kind(422, "Photo cannot be used", "Take the photo again and send it as JPEG, PNG or HEIC."),
    "unsupported-photo": Kind(
        415, "Not a photo we read", "Send JPEG, PNG, WebP or HEIC; names do not matter."
    ),
    "broken-photo": Kind(422, "Photo is damaged", "The file is empty, cut short or damaged; send it again."),
    "photo-too-large": Kind(
        413, "Photo is too large", "At most 30 MB and 120 megapixels a photo; shrink it."
    ),
    "wrong-photos": Kind(
        422, "Wrong number of photos", "Send one to nine photos of one parcel, with the bands asked."
    ),
    # scans
    "bad-input": Kind(422, "Input cannot be used", "Read `detail`; it says what was got and what is needed."),
    "bad-scan": Kind(422, "Scan cannot be used", "Read `detail`; it says what was got and what is needed."),
    "unsupported-scan": Kind(
        415, "Not a scan we read", "Send NIRscan CSV, two-column text, JCAMP-DX or zipped ENVI."
    ),
    "broken-scan": Kind(
        422, "Scan is damaged", "Points are missing, not numbers, or the header contradicts the data."
    ),
    "scan-too-large": Kind(
        413, "Scan is too large", "At most 10,000 points a spectrum and 2 GB an unpacked cube."
    ),
    "wrong-quantity": Kind(
        422, "Values cannot be that quantity", "Name the quantity the instrument wrote: see /docs."
    ),
    "reference-needed": Kind(
        422, "References are needed", "Raw counts need `white` and `dark` scans beside them."
    ),
    "grid-mismatch": Kind(
        422, "Wavelengths do not reach", "Scan the range that the bundle needs: see /v1/bundles."
    ),
    # sorting lines
    "bad-frame": Kind(
        422, "Frame cannot be used", "Half a frame, or a header that is not so: see docs/line/streaming.md."
    ),
    "bad-rules": Kind(422, "Lane rules contradict themselves", "Correct the rules as `detail` says."),
    "bad-reference": Kind(422, "References cannot be used", "Record white and dark anew: see `detail`."),
    "bad-line-description": Kind(
        500, "Line is described wrongly", "The operator has to correct the line's file."
    ),
    "bad-line": Kind(500, "Line cannot be used", "The operator has to look at the line; its alarms say why."),
    # bundles
    "bad-bundle": Kind(
        422, "Bundle cannot be used", "Its seal, card, task or proof does not hold: see `detail`."
    ),
    "no-other-bundle": Kind(
        409, "No other bundle", "None to go back to, or none on trial: GET /v1/bundles says what there is."
    ),
    "changes-off": Kind(
        403, "Changes are switched off", "The operator allows them by setting WEFT_ADMIN_TOKEN."
    ),
    # requests
    "bad-request": Kind(400, "Request cannot be read", "The body is not what its headers say; see /docs."),
    "invalid-request": Kind(
        422, "Request does not fit", "A field is missing, misspelt or out of range; see /docs."
    ),
    "token-needed": Kind(
        401, "Token is needed", "Send `Authorization: Bearer` and the token that the operator set."
    ),
    "not-found": Kind(404, "Not found", "Nothing has this address or this id; ids come with each answer."),
    "method-not-allowed": Kind(
        405, "Method not allowed", "The header `Allow` names what this address takes."
    ),
    "too-slow": Kind(408, "Body came too slowly", "Send the body without pauses, or fewer photos at once."),
    "photos-gone": Kind(
        410, "Earlier photos are gone", "Photos are not kept; send all of them anew as one estimate."
    ),
    "request-too-large": Kind(
        413, "Request is too large", "At most 60 MB with files, 2 MB of JSON without them."
    ),
    "unsupported-content": Kind(415, "Content type not taken", "See /docs for what this address takes."),
    "busy": Kind(503, "Too busy", "Wait as long as `Retry-After` says and send it again."),
    "too-late": Kind(504, "Deadline has passed", "The answer was not ready in the time you gave; give more."),
    "client-gone": Kind(499, "Client left", "Nobody waited for the answer any more; nothing is to be done."),
    "headers-too-large": Kind(431, "Headers are too large", "Send at most 64 KB of headers."),
    "not-ready": Kind(503, "Not ready", "The service or its database is not ready; try again in a moment."),
    "internal": Kind(500, "Fault of ours", "The log has more under the `request` id; please report it."),
    # the house
    "error": Kind(500, "Fault of ours", "The log has more under the `request` id; please report it."),
    "bad-store": Kind(
        503, "Store cannot be used", "The database or a folder cannot be used; tell the operator."
    ),
}
_BY_STATUS: Final = {
    404: "not-found",
    405: "method-not-allowed",
    413: "request-too-large",
    415: "unsupported-content",
}


class Refusal(WeftError):
    """What is wrong with a request before its content is looked at."""

    retry_after: int | None = None


class BusyError(Refusal):
    slug = "busy"

    def __init__(self, message: str, *, retry_after: int | None = 2, reason: BusyReason = "queue") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.reason: BusyReason = reason


class TooLateError(Refusal):
    slug = "too-late"
    retry_after = 2


class ClientGoneError(Refusal):
    """Nobody reads this; the log and the figures have its status."""

    slug = "client-gone"


class HeadersTooLargeError(Refusal):
    slug = "headers-too-large"


class InvalidRequestError(Refusal):
    slug = "invalid-request"


class TooManyFilesError(InvalidRequestError):
    """More files under one name than it takes."""


class TokenNeededError(Refusal):
    slug = "token-needed"


class ChangesOffError(Refusal):
    slug = "changes-off"


class BadBundleError(Refusal):
    slug = "bad-bundle"


class NoOtherBundleError(Refusal):
    slug = "no-other-bundle"


class FolderError(Refusal):
    """The operator's folder cannot be written; whoever changes bundles is told which."""

    slug = "bad-store"
    retry_after = 5


class NotFoundError(Refusal):
    slug = "not-found"


class PhotosGoneError(Refusal):
    slug = "photos-gone"


class BadBodyError(Refusal):
    slug = "bad-request"


class BodyTooLargeError(Refusal):
    slug = "request-too-large"


class SlowBodyError(Refusal):
    slug = "too-slow"


class ContentTypeError(Refusal):
    slug = "unsupported-content"


class NotReadyError(Refusal):
    slug = "not-ready"
    retry_after = 2


class Problem(BaseModel):
    """RFC 9457. `type` is stable; `detail` says what we got, what we need and what to do."""

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request: str | None = None  # also in the header X-Request-Id and in the log


def make_problem(slug: str, detail: str, *, instance: str, request: str | None = None) -> Problem:
    kind = KINDS.get(slug, KINDS["error"])
    return Problem(
        type=f"/problems/{slug if slug in KINDS else 'error'}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=instance,
        request=request,
    )


def problem_of(error: WeftError, *, instance: str, request: str | None = None) -> Problem:
    """The problem for one of our errors. What an operator caused is not told to a client word by word."""
    told = isinstance(error, InputError | Refusal | FrameError | RuleError | LineReferenceError)
    detail = str(error) if told else KINDS.get(error.slug, KINDS["error"]).help
    return make_problem(error.slug, detail, instance=instance, request=request)


def reply(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(problem.model_dump(exclude_none=True), allow_nan=False, ensure_ascii=False).encode(
        errors="replace"
    )
    return Response(body, problem.status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def where(request: Request) -> dict[str, Any]:
    """The two fields of a problem that name the occurrence."""
    return {"instance": request.url.path[:200], "request": request.scope.get("weft.request")}


def note(scope: MutableMapping[str, Any], error: WeftError) -> None:
    """Leave a refusal where it is counted and logged: `Observe` stands outside of whoever answers."""
    scope["weft.problem"] = error


async def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, WeftError)
    note(request.scope, error)
    retry = (
        error.retry_after if isinstance(error, Refusal) else (5 if isinstance(error, StoreError) else None)
    )
    headers = {"Retry-After": str(retry)} if retry is not None else {}
    if isinstance(error, TokenNeededError):
        headers["WWW-Authenticate"] = "Bearer"
    return reply(problem_of(error, **where(request)), headers)


async def refuse_fields(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    note(request.scope, InvalidRequestError("fields"))
    return reply(make_problem("invalid-request", _told(error.errors()), **where(request)))


async def refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug = _BY_STATUS.get(error.status_code, "bad-request" if error.status_code < 500 else "internal")
    kind = KINDS[slug]
    made = make_problem(slug, f"{request.method} {request.url.path[:200]}: {kind.help}", **where(request))
    return reply(made, error.headers)


async def refuse_fault(request: Request, error: Exception) -> Response:
    """Whoever raised it: `Observe` logs it."""
    told = "this request hit a fault of ours; please report the request's id"
    return reply(make_problem("internal", told, **where(request)))


def invalid(error: ValidationError, *, need: str) -> InvalidRequestError:
    """What is wrong with a body or a form, and what is needed instead."""
    return InvalidRequestError(f"{_told(error.errors(include_input=False))}; {need}")


def _told(errors: Sequence[Any]) -> str:
    """Pydantic's first three errors without the input: that may be long, personal or not finite."""
    told: list[str] = []
    for item in errors[:3]:
        where = ".".join(str(part)[:60] for part in item["loc"][:6])
        what = str(item["msg"])[:300].removeprefix("Value error, ")
        told.append(f"{where}: {what}" if where else what)
    return "; ".join(told)


def install(app: FastAPI) -> None:
    app.add_exception_handler(WeftError, refuse)
    app.add_exception_handler(RequestValidationError, refuse_fields)
    app.add_exception_handler(HTTPException, refuse_http)
    app.add_exception_handler(Exception, refuse_fault)
    app.include_router(router)


router = APIRouter(tags=["problems"])


@router.get("/problems/{slug}", response_class=HTMLResponse)
def explain_problem(slug: str) -> str:
    """What a kind of problem means and what to do about it; the address that `type` names."""
    kind = KINDS.get(slug)
    if kind is None:
        raise NotFoundError(f"no kind of problem is called {slug[:60]!r}; GET /problems lists them")
    return _page(escape(kind.title), f"<p>Status {kind.status}. {escape(kind.help)}</p>")


@router.get("/problems", response_class=HTMLResponse)
def list_problems() -> str:
    """All kinds of problems."""
    rows = "".join(
        f"<tr><td><a href='/problems/{slug}'>{slug}</a><td>{kind.status}<td>{escape(kind.title)}"
        f"<td>{escape(kind.help)}"
        for slug, kind in KINDS.items()
    )
    return _page("Problems", f"<table><tr><th>type<th>status<th>title<th>what to do{rows}</table>")


def _page(title: str, body: str) -> str:
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title>"
        "<body style='font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem'>"
        f"<h1>{title}</h1>{body}"
    )


def problem_responses(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """What `/docs` says about a route's refusals."""
    found: dict[int | str, dict[str, Any]] = {}
    for slug in slugs:
        kind = KINDS[slug]
        entry = found.setdefault(kind.status, {"description": "", "content": {MEDIA_TYPE: {}}})
        entry["description"] += ("; " if entry["description"] else "") + f"{kind.title} (`{slug}`)"
        entry["content"][MEDIA_TYPE] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return found
