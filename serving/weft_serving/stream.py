"""WS /v1/stream: one greeting that says what will come, then frames or spectra, one answer each, in order.

Answers carry a running `number` and are not stored: a line sends tens of frames a second. Work for one
connection is done one message at a time: TCP slows down a sender who is faster than the models, or his older
frames are overtaken, as his greeting chose (see `turns`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from fastapi.routing import APIRouter
from pydantic import ConfigDict, Field, TypeAdapter

from weft.errors import BrokenScanError, TooLargeError, WeftError
from weft.limits import PHOTO_BYTES, SPECTRUM_POINTS
from weft.spectra import Quantity, Scan, make_scan
from weft.weigher import Estimate, Prepared
from weft_serving.answers import Answered, answer_weight
from weft_serving.bundles.comparing import identifying, weighing
from weft_serving.bundles.models import FibreModel, WeightModel
from weft_serving.circumstances import Circumstances
from weft_serving.compositions import answer_composition
from weft_serving.door.greeting import read_greeting
from weft_serving.door.turns import Keeping, every, newest
from weft_serving.estimates import prepare_photos, weigh_together
from weft_serving.problems import (
    BusyError,
    InvalidRequestError,
    Refusal,
    make_problem,
    problem_of,
)
from weft_serving.service import Service, service_of
from weft_serving.watch.observe import log_fault

router = APIRouter()
_GREETING_SECONDS: Final = 30.0
_GREETING_CHARACTERS: Final = 1_000_000
_CLOSE_POLICY: Final = 1008
_CLOSE_BUSY: Final = 1013
Answerer = Callable[[bytes], Awaitable[str]]  # a JSON object


class WeightGreeting(Keeping, Circumstances):
    """Every binary message is one photo of one parcel."""

    task: Literal["weight"]


class CompositionGreeting(Keeping):
    """Every binary message is one spectrum on these wavelengths, little-endian float32."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    task: Literal["composition"]
    wavelength_nm: Annotated[list[float], Field(max_length=SPECTRUM_POINTS)]
    quantity: Quantity


_GREETINGS: Final = TypeAdapter[WeightGreeting | CompositionGreeting](
    Annotated[WeightGreeting | CompositionGreeting, Field(discriminator="task")]
)


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    service = service_of(socket)
    await socket.accept()
    try:
        if service.metrics.open_streams >= service.settings.streams:
            busy = BusyError(
                f"{service.settings.streams} streams are open, the most here; come back in a moment"
            )
            await _close(socket, busy, _CLOSE_BUSY)
            return
        with service.metrics.stream_open():
            await _serve(socket, service)
    except WebSocketDisconnect:
        return


async def _serve(socket: WebSocket, service: Service) -> None:
    try:
        greeting = read_greeting(
            await asyncio.wait_for(socket.receive(), _GREETING_SECONDS),
            _GREETINGS.validate_json,
            characters=_GREETING_CHARACTERS,
            example=_EXAMPLE,
        )
        answerer = await service.pool.run_in_turn(lambda: _answerer(service, greeting))
    except TimeoutError:
        late = InvalidRequestError(f"no first message within {_GREETING_SECONDS:g} s; send {_EXAMPLE}")
        await _close(socket, late, _CLOSE_POLICY)
        return
    except WeftError as error:
        await _close(socket, error, _CLOSE_POLICY)
        return
    outcomes = {
        outcome: service.metrics.stream_messages.labels(greeting.task, outcome)
        for outcome in ("answer", "problem", "dropped")
    }
    overtaken = greeting.keep == "latest"
    turns = (
        newest(socket.receive, queue=greeting.queue or 1, dropped=outcomes["dropped"].inc)
        if overtaken
        else every(socket.receive)
    )
    async with aclosing(turns):
        async for number, dropped, message in turns:
            outcome, answer = await _answer(socket, service, answerer, message)
            outcomes[outcome].inc()
            before = f'"number":{number},"dropped":{dropped}' if overtaken else f'"number":{number}'
            await socket.send_text(f"{{{before},{answer[1:]}")


_EXAMPLE: Final = (
    '{"task": "weight"} or {"task": "composition", "wavelength_nm": [...], "quantity": "reflectance"}'
)


def _answerer(service: Service, greeting: WeightGreeting | CompositionGreeting) -> Answerer:
    """What turns one binary message into one answer. Raises ScanError for a grid that does not fit."""
    if isinstance(greeting, WeightGreeting):
        return lambda data: _weigh(service, greeting, data)
    points = len(greeting.wavelength_nm)
    middle = {"reflectance_percent": 50.0, "transmittance_percent": 50.0}.get(greeting.quantity, 0.5)
    service.models.fibre.identifier.check_grid(_scan(greeting, np.full(points, middle, np.float32)))
    return lambda data: service.pool.run_in_turn(lambda: _identify(service, greeting, data))


async def _weigh(service: Service, greeting: WeightGreeting, data: bytes) -> str:
    if len(data) > PHOTO_BYTES:
        raise TooLargeError(
            f"photo has {len(data):,} bytes, at most {PHOTO_BYTES:,} are taken; send a smaller one"
        )
    model = service.models.weight  # once a message: another bundle may come into service at any time
    if not service.batcher.gathers(model.bundle):
        return await service.pool.run_in_turn(lambda: _weigh_alone(service, model, greeting, data))
    prepared = await service.pool.run_in_turn(lambda: prepare_photos(service, model, [data], greeting.hint()))
    estimate = await weigh_together(service, model, prepared, greeting)
    return _weighed(service, model, greeting, prepared, estimate)


def _weigh_alone(service: Service, model: WeightModel, greeting: WeightGreeting, data: bytes) -> str:
    prepared = prepare_photos(service, model, [data], greeting.hint())
    with service.metrics.stage("weigh"):
        estimate = model.weigher.weigh(prepared, season=greeting.season, wrap=greeting.wrap)
    return _weighed(service, model, greeting, prepared, estimate)


def _weighed(
    service: Service,
    model: WeightModel,
    greeting: WeightGreeting,
    prepared: Sequence[Prepared],
    estimate: Estimate,
) -> str:
    service.metrics.count_estimate(estimate, model.bundle.card)
    service.changes.trial("weight").offer(model, weighing(prepared, greeting), estimate, None)
    return _written(answer_weight(estimate), model)


def _identify(service: Service, greeting: CompositionGreeting, data: bytes) -> str:
    needed = 4 * len(greeting.wavelength_nm)
    if len(data) != needed:
        raise BrokenScanError(
            f"message has {len(data):,} bytes, needed {needed:,}: one little-endian float32 for each of the "
            f"{len(greeting.wavelength_nm):,} wavelengths of the first message"
        )
    scan = _scan(greeting, np.frombuffer(data, "<f4"))
    model = service.models.fibre
    with service.metrics.stage("identify"):
        composition = model.identifier.identify(scan)
    service.metrics.count_scan(composition.unknown, threshold=model.identifier.card.unknown_threshold)
    service.changes.trial("composition").offer(model, identifying(scan), composition, None)
    return _written(answer_composition(composition), model)


def _written(answer: Answered, model: WeightModel | FibreModel) -> str:
    return f'{answer.model_dump_json()[:-1]},"bundle":{model.name.model_dump_json()}}}'


def _scan(greeting: CompositionGreeting, values: Any) -> Scan:
    return make_scan(values=values, quantity=greeting.quantity, wavelength_nm=greeting.wavelength_nm)


async def _answer(
    socket: WebSocket, service: Service, answerer: Answerer, message: Any
) -> tuple[Literal["answer", "problem"], str]:
    """One answer or one problem; nothing that a message holds ends the stream."""
    data: bytes | None = message.get("bytes")
    try:
        if data is None:
            raise InvalidRequestError(
                "the message was text; after the first one send binary: a JPEG or float32 values"
            )
        return "answer", await answerer(data)
    except WeftError as error:
        service.metrics.count_problem(error)
        made = problem_of(error, **_where(socket))
    except Exception as error:  # a fault of ours in one frame must not stop the belt
        log_fault(socket.scope["weft.request"], error)
        detail = "this message hit a fault of ours; the stream goes on, please report it"
        made = make_problem("internal", detail, **_where(socket))
    return "problem", made.model_dump_json(exclude_none=True)


def _where(socket: WebSocket) -> dict[str, Any]:
    return {"instance": "/v1/stream", "request": socket.scope.get("weft.request")}


async def _close(socket: WebSocket, error: WeftError | Refusal, code: int) -> None:
    await socket.send_text(problem_of(error, **_where(socket)).model_dump_json(exclude_none=True))
    await socket.close(code, error.slug)
