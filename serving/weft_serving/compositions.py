"""A scan in, a photo beside it or alone where the bundle takes one, fibre shares out: /v1/compositions."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Final

import numpy as np
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy.orm import Session, undefer
from sqlalchemy.orm.interfaces import ORMOption

from weft.errors import BrokenScanError
from weft.identifier import Composition, Identifier
from weft.limits import SCAN_FILE_BYTES
from weft.photos import Photo
from weft.scans import read_scan
from weft.spectra import Cube, Quantity, Scan, make_scan
from weft_serving.answers import Answered
from weft_serving.bundles.comparing import identifying
from weft_serving.declarations import DeclarationsAnswer, answer_declarations
from weft_serving.door.uploads import Form, Upload, media_type, read_body, read_form
from weft_serving.maps import draw_map, legend
from weft_serving.problems import (
    ContentTypeError,
    InvalidRequestError,
    NotFoundError,
    invalid,
    problem_responses,
)
from weft_serving.service import BundleName, Service, TheService, is_id
from weft_serving.tables import CompositionRow

router = APIRouter(prefix="/v1/compositions", tags=["compositions"])
_SUM_TOLERANCE: Final = 1e-3
_ZIP: Final = b"PK"


class ShareAnswer(Answered):
    """A fibre's share by weight, 0..1; `low` and `high` are null where no honest interval is available."""

    fibre: str
    code: str
    share: float = Field(ge=0, le=1)
    low: float | None = Field(ge=0, le=1)
    high: float | None = Field(ge=0, le=1)

    @model_validator(mode="after")
    def interval_holds_its_value(self) -> "ShareAnswer":
        if (self.low is None) != (self.high is None):
            raise ValueError("half an interval")
        if self.low is not None and self.high is not None and not self.low <= self.share <= self.high:
            raise ValueError("an interval that does not hold its value")
        return self


class FibreAnswer(Answered):
    """The answer's part that needs no id: the stream sends it as it is."""

    shares: list[ShareAnswer]
    unknown: float = Field(ge=0, le=1, description="How likely it is no fibre that the bundle knows")
    warnings: list[str]

    @model_validator(mode="after")
    def shares_sum_to_one(self) -> "FibreAnswer":
        total = sum(share.share for share in self.shares)
        if self.shares and abs(total - 1) > _SUM_TOLERANCE:
            raise ValueError(f"shares sum to {total:.6f}")
        return self


class LegendAnswer(Answered):
    fibre: str
    colour: str
    pixel_share: float


class MapAnswer(Answered):
    href: str = Field(description="PNG of the cube's size, transparent where no garment lies")
    legend: list[LegendAnswer]


class CompositionAnswer(FibreAnswer):
    id: str
    bundle: BundleName
    map: MapAnswer | None = Field(description="Cubes only: where which fibre lies")
    photo_heard: bool | None = Field(description="Whether the photo had a say; null where none was sent")
    declaration: DeclarationsAnswer = Field(description="As a label, or what stands against one")


class SpectrumAnswer(Answered):
    """What was identified: ascending wavelengths and absorbance, a cube's as the mean of its foreground."""

    wavelength_nm: list[float]
    absorbance: list[float]


class ScanBody(BaseModel):
    """A spectrum as JSON. Points may be in any order; one of the two axes is needed."""

    # strict: `true` and "1" are no measured values
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    wavelength_nm: Annotated[list[float], Field(max_length=200_000)] | None = None
    wavenumber_cm1: Annotated[list[float], Field(max_length=200_000)] | None = None
    values: Annotated[list[float], Field(max_length=200_000)]
    quantity: Quantity

    def scan(self) -> Scan:
        return make_scan(
            values=self.values,
            quantity=self.quantity,
            wavelength_nm=self.wavelength_nm,
            wavenumber_cm1=self.wavenumber_cm1,
        )


_FILE_DOC: Final = {"type": "string", "format": "binary"}
_FORM_DOC: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "photo": _FILE_DOC
        | {"description": "A photo of the same thing, or alone, where the bundle's card has `photo`"},
        "file": _FILE_DOC
        | {"description": "NIRscan CSV, two-column text, JCAMP-DX, or ENVI header and data as a zip"},
        "white": _FILE_DOC
        | {"description": "White reference of raw counts: a zip, or data laid out like the cube"},
        "dark": _FILE_DOC | {"description": "Dark reference, likewise"},
        "unit": {
            "type": "string",
            "enum": ["nm", "um", "cm-1"],
            "description": "Of two-column text's first column",
        },
        "quantity": {"type": "string", "enum": list(Quantity.__args__)},
    },
}


@router.post(
    "",
    responses=problem_responses(
        "bad-request", "too-slow", "request-too-large", "scan-too-large", "unsupported-content",
        "unsupported-scan", "broken-scan", "wrong-quantity",
        "unsupported-photo", "broken-photo", "photo-too-large", "wrong-photos",
        "reference-needed", "grid-mismatch", "invalid-request", "busy",
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": ScanBody.model_json_schema()},
                "multipart/form-data": {"schema": _FORM_DOC},
            },
        }
    },
)  # fmt: skip
async def create_composition(request: Request, service: TheService) -> CompositionAnswer:
    """Fibre shares by weight of one scanned garment: a spectrum as JSON, or a scan file."""
    kind = media_type(request)
    if kind == "application/json":
        raw = await read_body(request)
        return await service.pool.run(lambda: _create(service, read_spectrum(raw)))
    if kind != "multipart/form-data":
        raise ContentTypeError(
            f"got {kind[:80] or 'no content type'}, need application/json with a spectrum or "
            "multipart/form-data with a scan in `file`, a photo in `photo`, or both"
        )
    form = await read_form(
        request,
        files={"file": 1, "white": 1, "dark": 1, "photo": 1},
        fields=frozenset({"unit", "quantity"}),
        file_bytes=SCAN_FILE_BYTES,
    )
    photo = form.files["photo"][0].data if "photo" in form.files else None
    if "file" not in form.files:
        if photo is None:
            raise InvalidRequestError("no scan was sent; send one in the field `file`, or a photo in `photo`")
        if of_scan := sorted({*form.files, *form.fields} - {"photo"}):
            raise InvalidRequestError(
                f"got a photo alone and {', '.join(of_scan)}, which belong to a scan; send it in `file` too, "
                "or leave them out"
            )
        return await service.pool.run(lambda: _create(service, None, photo))
    pool = service.cubes if form.files["file"][0].data.startswith(_ZIP) else service.pool
    return await pool.run(lambda: _create(service, _read_file(service, form), photo))


@router.get("/{composition_id}", responses=problem_responses("not-found"))
def read_composition(composition_id: str, service: TheService) -> CompositionAnswer:
    """A composition as it was answered."""
    with service.store.reading() as session:
        return _answer(find_composition(session, composition_id))


@router.get(
    "/{composition_id}/map",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problem_responses("not-found")},
)
def read_map(composition_id: str, service: TheService) -> Response:
    """Where which fibre lies in a cube, as PNG; the answer's `map.legend` names the colours."""
    with service.store.reading() as session:
        png = find_composition(session, composition_id, options=[undefer(CompositionRow.map_png)]).map_png
    if png is None:
        raise NotFoundError("this composition has no map; only a cube's has one")
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


@router.get("/{composition_id}/spectrum", responses=problem_responses("not-found"))
def read_stored_spectrum(composition_id: str, service: TheService) -> SpectrumAnswer:
    """The spectrum behind a composition, for drawing: a scan file is read here, not by the client."""
    with service.store.reading() as session:
        row = find_scanned(session, composition_id)
    return SpectrumAnswer(
        wavelength_nm=np.round(np.frombuffer(row.wavelength_nm, "<f4").astype(float), 3).tolist(),
        absorbance=np.round(np.frombuffer(row.absorbance, "<f4").astype(float), 6).tolist(),
    )


def read_spectrum(raw: bytes) -> Scan:
    """Raises InvalidRequestError or a ScanError."""
    try:
        body = ScanBody.model_validate_json(raw)
    except ValidationError as error:
        need = (
            "send {wavelength_nm or wavenumber_cm1: [...], values: [...], quantity: one of "
            f"{', '.join(Quantity.__args__)}}}"
        )
        raise invalid(error, need=need) from error
    return body.scan()


def answer_composition(composition: Composition) -> FibreAnswer:
    return FibreAnswer(
        shares=[
            ShareAnswer(
                fibre=found.fibre,
                code=found.code,
                share=_share(found.share),
                low=None if found.low is None else min(_share(found.low), _share(found.share)),
                high=None if found.high is None else max(_share(found.high), _share(found.share)),
            )
            for found in composition.shares
        ],
        unknown=_share(composition.unknown),
        warnings=list(composition.warnings),
    )


def _create(service: Service, scan: Scan | Cube | None, file: bytes | None = None) -> CompositionAnswer:
    """`file`: a photo, of the thing that was scanned, or alone."""
    png: bytes | None = None
    colours: list[dict[str, Any]] | None = None
    model = service.models.fibre  # once: another bundle may come into service at any time
    photo: Photo | None = None
    if file is not None:
        with service.metrics.stage("decode"):
            photo = model.identifier.photo(file)
    mean = scan.mean_scan() if isinstance(scan, Cube) else scan
    with service.metrics.stage("identify"):
        composition = _identified(model.identifier, scan, photo)
        if composition.map is not None:
            png, colours = (
                draw_map(composition.map),
                legend(composition.map, model.identifier.card.fibres),
            )
    if scan is not None:  # a photo alone is mostly unknown, by design: no sign of a drift
        service.metrics.count_scan(composition.unknown, threshold=model.identifier.card.unknown_threshold)
    answer = answer_composition(composition)
    bundle = model.name
    row = CompositionRow(
        id=uuid.uuid4().hex,
        shares=[share.model_dump(mode="json") for share in answer.shares],
        unknown=answer.unknown,
        warnings=answer.warnings,
        instrument=("" if mean is None else mean.instrument or "").replace("\0", "")[:200] or None,
        wavelength_nm=b"" if mean is None else mean.wavelength_nm.astype("<f4").tobytes(),
        absorbance=b"" if mean is None else mean.absorbance.astype("<f4").tobytes(),
        map_png=png,
        map_legend=colours,
        photo_heard=composition.photo_heard,
        bundle_name=bundle.name,
        bundle_version=bundle.version,
        bundle_sha256=bundle.sha256,
        bundle_trained_on=bundle.trained_on,
    )
    with service.metrics.stage("store"), service.store.writing() as session:
        session.add(row)
    if mean is not None and photo is None:  # a challenger may take no photo: nothing to compare
        service.changes.trial("composition").offer(model, identifying(mean), composition, None)
    return _answer(row)


def _identified(identifier: Identifier, scan: Scan | Cube | None, photo: Photo | None) -> Composition:
    if isinstance(scan, Cube):
        return identifier.identify_cube(scan, photo)
    if scan is not None:
        return identifier.identify(scan, photo)
    assert photo is not None, "a scan, a photo, or both were sent"
    return identifier.identify_photo(photo)


def _read_file(service: Service, form: Form) -> Scan | Cube:
    upload = form.files["file"][0]
    with service.metrics.stage("read_scan"):
        return read_scan(
            upload.name or "scan",
            upload.data,
            unit=form.fields.get("unit"),
            quantity=form.fields.get("quantity"),
            white=_data(form.files.get("white")),
            dark=_data(form.files.get("dark")),
        )


def _data(uploads: list[Upload] | None) -> bytes | None:
    if not uploads:
        return None
    if not uploads[0].data:
        raise BrokenScanError("a reference file is empty; send the scan of the tile, or leave the field out")
    return uploads[0].data


def _answer(row: CompositionRow) -> CompositionAnswer:
    found = (
        {"href": f"/v1/compositions/{row.id}/map", "legend": row.map_legend}
        if row.map_legend is not None
        else None
    )
    shares = [ShareAnswer.model_validate(share) for share in row.shares]
    declared = answer_declarations(shares, warnings=row.warnings, trained_on=row.bundle_trained_on)
    return CompositionAnswer.model_validate(
        {
            "id": row.id,
            "declaration": declared,
            "shares": row.shares,
            "unknown": row.unknown,
            "warnings": row.warnings,
            "map": found,
            "photo_heard": row.photo_heard,
            "bundle": {
                "name": row.bundle_name,
                "version": row.bundle_version,
                "sha256": row.bundle_sha256,
                "trained_on": row.bundle_trained_on,
            },
        }
    )


def find_composition(
    session: Session, composition_id: str, *, options: Sequence[ORMOption] = ()
) -> CompositionRow:
    row = session.get(CompositionRow, composition_id, options=options) if is_id(composition_id) else None
    if row is None:
        raise NotFoundError(
            f"there is no composition {composition_id[:64]!r}; use the `id` of an answer of this server"
        )
    return row


def find_scanned(session: Session, composition_id: str) -> CompositionRow:
    """As `find_composition`, of a scan: NotFoundError for one that was answered from a photo alone."""
    row = find_composition(session, composition_id)
    if not row.wavelength_nm:
        raise NotFoundError("this composition was answered from a photo alone; it has no spectrum")
    return row


def _share(value: float) -> float:
    """Six digits; a float32 softmax may pass 0 or 1 by its last bit."""
    return round(min(1.0, max(0.0, float(value))), 6)
