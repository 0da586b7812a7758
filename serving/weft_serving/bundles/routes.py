"""Changing bundles over HTTP: post one, go back, put a challenger on trial, bring it into service."""

import asyncio
import hmac
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Request
from fastapi.routing import APIRouter

from weft.errors import BundleError
from weft_serving.bundles.models import ServedTask
from weft_serving.bundles.shown import ChangeAnswer, describe_slot
from weft_serving.bundles.slot import Slot
from weft_serving.bundles.trial_report import TrialReport, report_trial
from weft_serving.door.uploads import read_body
from weft_serving.problems import (
    BadBundleError,
    ChangesOffError,
    InvalidRequestError,
    NotFoundError,
    TokenNeededError,
    problem_responses,
)
from weft_serving.service import Service, TheService

router = APIRouter(prefix="/v1/bundles", tags=["bundles"])
_TASKS: Final[dict[str, ServedTask]] = {
    "weight": "weight",
    "composition": "composition",
    "fibre": "composition",
}
_TIDY_SECONDS: Final = 2.0  # after an answer, when the request's body is forgotten
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The bundle's file as it is, at most 60 MB.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_CHANGE: Final = problem_responses(
    "changes-off", "token-needed", "not-found", "invalid-request", "bad-bundle", "no-other-bundle",
    "request-too-large", "bad-store", "busy",
)  # fmt: skip


def _check_token(request: Request, service: TheService) -> None:
    needed = service.settings.admin_token
    if needed is None:
        raise ChangesOffError(
            "bundles are not changed over HTTP here; the operator sets WEFT_ADMIN_TOKEN or replaces the file"
        )
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # Compared in constant time: how long it takes tells nothing of how much was right.
    right = hmac.compare_digest(given.strip().encode(), needed.get_secret_value().encode())
    if scheme.lower() != "bearer" or not right:
        raise TokenNeededError(
            "the token is missing or not this server's; send `Authorization: Bearer TOKEN`"
        )


def _slot_of(task: Annotated[str, Path(max_length=40)], service: TheService) -> Slot:
    if task == "belt":
        raise InvalidRequestError(
            "lines take a belt bundle at a restart: put it in place with `weft promote`, then restart"
        )
    if task not in _TASKS:
        raise NotFoundError(f"no bundle is for {task!r}; there are weight and composition")
    return service.changes.slot(_TASKS[task])


TheSlot = Annotated[Slot, Depends(_slot_of)]
_MayChange = Depends(_check_token)


@router.post("/{task}", dependencies=[_MayChange], responses=_CHANGE, openapi_extra=_BODY)
async def post_bundle(request: Request, service: TheService, slot: TheSlot) -> ChangeAnswer:
    """Load a bundle, prove it, warm it and answer by it from the next request on.

    The same bundle once more changes nothing (`already: true`), and `previous` stays what it was.
    It is written into the operator's folder, so that a restart keeps it; `kept: false` says there is none.
    """
    data = await _read_bundle(request)
    return await _change(service, slot, lambda: slot.install(data, "the bundle sent"))


@router.post("/{task}/rollback", dependencies=[_MayChange], responses=_CHANGE)
async def roll_back(service: TheService, slot: TheSlot) -> ChangeAnswer:
    """Answer by the bundle before this one again. A second call comes back to this one."""
    return await _change(service, slot, slot.rollback)


@router.put("/{task}/challenger", dependencies=[_MayChange], responses=_CHANGE, openapi_extra=_BODY)
@router.post("/{task}/challenger", dependencies=[_MayChange], responses=_CHANGE, include_in_schema=False)
async def put_challenger(request: Request, service: TheService, slot: TheSlot) -> ChangeAnswer:
    """Put a bundle on trial: it is asked the same as the one in service, and tells nobody."""
    data = await _read_bundle(request)
    return await _change(service, slot, lambda: slot.challenge(data, "the bundle sent"))


@router.delete("/{task}/challenger", dependencies=[_MayChange], responses=_CHANGE)
async def delete_challenger(service: TheService, slot: TheSlot) -> ChangeAnswer:
    """End the trial."""
    return await _change(service, slot, slot.end_trial)


@router.post("/{task}/promote-challenger", dependencies=[_MayChange], responses=_CHANGE)
async def promote_challenger(service: TheService, slot: TheSlot) -> ChangeAnswer:
    """Answer by the challenger from the next request on."""
    return await _change(service, slot, slot.promote_challenger)


@router.get("/{task}/challenger", responses=problem_responses("not-found", "bad-store"))
def read_challenger(service: TheService, slot: TheSlot) -> TrialReport:
    """How the challenger compares so far: agreement, over time, cost, and against the scale."""
    report = report_trial(slot, service.store)
    if report is None:
        raise NotFoundError(f"no bundle for {slot.task} is on trial; PUT one to this address")
    return report


async def _read_bundle(request: Request) -> bytes:
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise InvalidRequestError("send the bundle's file as the body: curl --data-binary @weight.onnx")
    data = await read_body(request)
    if not data:
        raise InvalidRequestError("no bundle was sent; send its file as the body")
    return data


async def _change(service: Service, slot: Slot, change: Callable[[], bool | None]) -> ChangeAnswer:
    def changed() -> ChangeAnswer:
        already = change() is False
        return ChangeAnswer(**dict(describe_slot(slot)), already=already)

    try:
        return await asyncio.wrap_future(service.changes.run(changed))
    except BundleError as error:
        raise BadBundleError(str(error)) from error
    finally:
        asyncio.get_running_loop().call_later(_TIDY_SECONDS, service.changes.tidy)
