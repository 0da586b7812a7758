"""The Open Inference Protocol v2 over HTTP, with binary tensors: the graphs, for those who have a client.

A question goes straight into a bundle's graph: decoding, marks and advice are the business of /v1. Names,
types and shapes are those of docs/bundle.md. Refusals are the protocol's `{"error": "..."}`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRouter
from numpy.typing import NDArray

from weft import __version__
from weft.bundle import Bundle
from weft.errors import GridMismatchError, WeftError
from weft.limits import PHOTOS_PER_ESTIMATE, SPECTRUM_POINTS, SPECTRUM_POINTS_MIN
from weft_serving.problems import KINDS, InvalidRequestError, NotFoundError, Refusal
from weft_serving.service import TheService
from weft_serving.tensors import HEADER, Arrays, Question, ports, read_inputs, read_question, write_answer

router = APIRouter(prefix="/v2", tags=["open inference protocol"])
_MODELS: Final = ("weight", "composition", "belt")
# Of one question: what a graph makes of them on its way is many times larger than they are.
_PHOTOS: Final = 32
_SPECTRA: Final = 10_000
_PIXELS: Final = 100_000


@router.get("")
def read_server() -> dict[str, Any]:
    """Name, version and extensions."""
    return {"name": "weft", "version": __version__, "extensions": ["binary_tensor_data"]}


@router.get("/health/live")
def is_live() -> dict[str, bool]:
    """Whether the process answers."""
    return {"live": True}


@router.get("/health/ready")
def is_ready() -> dict[str, bool]:
    """Whether questions can be answered: bundles are loaded before the port is open."""
    return {"ready": True}


@router.get("/models/{model}/ready")
@router.get("/models/{model}/versions/{version}/ready")
def is_model_ready(request: Request, service: TheService, model: str, version: str | None = None) -> Response:
    """Whether a model is loaded."""

    def readiness() -> Response:
        _find(request, model, version)
        return JSONResponse({"name": model, "ready": True})

    return _refusing(readiness)


@router.get("/models/{model}")
@router.get("/models/{model}/versions/{version}")
def read_model(request: Request, service: TheService, model: str, version: str | None = None) -> Response:
    """Inputs and outputs of a model: those of its graph."""

    def metadata() -> Response:
        bundle = _find(request, model, version)
        return JSONResponse(
            {
                "name": model,
                "versions": [bundle.card.version],
                "platform": "onnxruntime_onnx",
                "inputs": [port.as_json() for port in ports(bundle.inputs())],
                "outputs": [port.as_json() for port in ports(bundle.outputs())],
                "parameters": _origin(bundle),
            }
        )

    return _refusing(metadata)


@router.post("/models/{model}/infer")
@router.post("/models/{model}/versions/{version}/infer")
async def infer(request: Request, service: TheService, model: str, version: str | None = None) -> Response:
    """Run a model on tensors, in JSON or binary."""
    try:
        bundle = _find(request, model, version)
        body = await request.body()
        header = request.headers.get(HEADER)
        answer, length = await service.pool.run(lambda: _run(bundle, model, body, header))
    except WeftError as error:
        return _refused(error)
    if length is None:
        return Response(answer, media_type="application/json")
    return Response(answer, media_type="application/octet-stream", headers={HEADER: str(length)})


def _run(bundle: Bundle, model: str, body: bytes, header: str | None) -> tuple[bytes, int | None]:
    question, rest = read_question(body, header)
    inputs = read_inputs(question, rest, ports(bundle.inputs()), bundle.may_lack())
    _CHECKS[model](bundle, inputs)
    outputs = _compute(bundle, inputs, question)
    told = {"model_name": model, "model_version": bundle.card.version, "parameters": _origin(bundle)}
    return write_answer(told, outputs, question)


def _compute(bundle: Bundle, inputs: Arrays, question: Question) -> Mapping[str, NDArray[Any]]:
    try:
        outputs = bundle.run(inputs)
    except Exception as error:  # onnxruntime raises bare exceptions of several private types
        shapes = ", ".join(f"{name} {list(values.shape)}" for name, values in inputs.items())
        raise InvalidRequestError(
            f"the graph cannot take these inputs together ({shapes}); see docs/bundle.md for their sizes"
        ) from error
    if not all(np.isfinite(values).all() for values in outputs.values() if values.dtype.kind == "f"):
        raise InvalidRequestError(
            "the graph's answer is not finite; the inputs are far from any measured ones"
        )
    return outputs


def _check_weight(bundle: Bundle, inputs: Arrays) -> None:
    photos, size, mask = (inputs.get(name) for name in ("photos", "size", "mask"))
    if photos is None or size is None or mask is None:  # a graph that needs none of them checks for itself
        return
    several, number = photos.shape[:2]
    if number > PHOTOS_PER_ESTIMATE:
        raise InvalidRequestError(f"{number} photos of one parcel, at most {PHOTOS_PER_ESTIMATE} are taken")
    if size.shape[:2] != (several, number) or mask.shape != (several, number):
        raise InvalidRequestError(
            f"photos are {several} x {number}, size {list(size.shape)} and mask {list(mask.shape)} are not; "
            "send one of each for every photo"
        )
    if not bool(mask.any(axis=1).all()):
        raise InvalidRequestError("a parcel has no photo: its row of mask is all false; leave it out")
    if bool((size[mask] < 1).any()) or bool((size > np.array(photos.shape[3:])).any()):
        raise InvalidRequestError(
            f"size has to lie within the {photos.shape[3]} x {photos.shape[4]} pixels that were sent"
        )
    _check_number(several * number, _PHOTOS, "photos")


def _check_composition(bundle: Bundle, inputs: Arrays) -> None:
    nm, absorbance = inputs.get("wavelength_nm"), inputs.get("absorbance")
    section = bundle.card.composition
    if nm is None or absorbance is None or section is None:
        return
    points = len(nm)
    if not SPECTRUM_POINTS_MIN <= points <= SPECTRUM_POINTS:
        raise InvalidRequestError(
            f"{points:,} wavelengths, {SPECTRUM_POINTS_MIN} to {SPECTRUM_POINTS:,} are taken; resample them"
        )
    if absorbance.shape[1] != points:
        raise InvalidRequestError(
            f"absorbance has {absorbance.shape[1]:,} values for {points:,} wavelengths; send as many"
        )
    if len(np.unique(nm)) != points:
        raise InvalidRequestError("a wavelength is there twice; send each once")
    low, high = section.needed_nm
    if nm.min() > low or nm.max() < high:
        raise GridMismatchError(got_nm=(float(nm.min()), float(nm.max())), needed_nm=section.needed_nm)
    _check_number(len(absorbance), _SPECTRA, "spectra")
    _check_beside(inputs)


def _check_beside(inputs: Arrays) -> None:
    photos, size, has_photo = (inputs.get(name) for name in ("photos", "size", "has_photo"))
    if photos is not None and size is not None and has_photo is not None:
        sides = photos.shape[2:]
        if bool((size < 1).any()) or bool((size > np.array(sides)).any()):
            raise InvalidRequestError(
                f"size has to lie within the {sides[0]} x {sides[1]} pixels that were sent"
            )
    elif not (photos is None and size is None and has_photo is None):
        raise InvalidRequestError("photos, size and has_photo belong together; send all of them or none")
    has_scan = inputs.get("has_scan")
    if has_scan is not None and not has_scan.all() and (has_photo is None or not has_photo.all()):
        raise InvalidRequestError("has_scan and has_photo are both false; send a scan, a photo, or both")


def _check_belt(bundle: Bundle, inputs: Arrays) -> None:
    for values in inputs.values():
        _check_number(len(values), _PIXELS, "pixels")


_CHECKS: Final[Mapping[str, Callable[[Bundle, Arrays], None]]] = {
    "weight": _check_weight,
    "composition": _check_composition,
    "belt": _check_belt,
}


def _check_number(got: int, most: int, what: str) -> None:
    if got > most:
        raise InvalidRequestError(f"{got:,} {what}, at most {most:,} are taken in one question; send several")


def _find(request: Request, model: str, version: str | None) -> Bundle:
    service = request.app.state.service
    lines = getattr(request.app.state, "sorting_lines", None)
    loaded = {
        "weight": service.models.weight.bundle,
        "composition": service.models.fibre.bundle,
        "belt": getattr(lines, "bundle", None),
    }
    bundle = loaded.get(model)
    if bundle is None:
        why = "it is loaded with --lines" if model == "belt" else f"there are {', '.join(_MODELS)}"
        raise NotFoundError(f"no model {model[:60]!r} is loaded; {why}")
    if version is not None and version != bundle.card.version:
        raise NotFoundError(
            f"model {model} has no version {version[:60]!r}, loaded is {bundle.card.version}; leave it out"
        )
    return bundle


def _origin(bundle: Bundle) -> dict[str, str]:
    """Whoever reads numbers has to be told whether they come of measurements."""
    return {"bundle": bundle.card.name, "sha256": bundle.sha256, "trained_on": bundle.card.trained_on}


def _refusing(answer: Callable[[], Response]) -> Response:
    try:
        return answer()
    except WeftError as error:
        return _refused(error)


def _refused(error: WeftError) -> Response:
    status = KINDS[error.slug].status if error.slug in KINDS else 500
    retry = error.retry_after if isinstance(error, Refusal) else None
    headers = {"Retry-After": str(retry)} if retry is not None else None
    # The protocol knows no 422: whatever is wrong with a question is 400.
    return JSONResponse({"error": str(error)}, 400 if status == 422 else status, headers)
