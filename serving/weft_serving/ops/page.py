"""GET /ops, /v1/ops and /v1/quality: the last hours, what is wrong, how good the answers are."""

import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRouter
from pydantic import BaseModel, ConfigDict

from weft import __version__
from weft.card import Task
from weft_serving.bundles.models import BundleName
from weft_serving.ops.exposition import OpsFigures
from weft_serving.ops.history import Minute
from weft_serving.ops.overseer import TASKS, Line, Overseer, Watched
from weft_serving.ops.quality import Quality
from weft_serving.pages.router import POLICY, page_of
from weft_serving.problems import NotReadyError, problem_responses
from weft_serving.service import Service

router = APIRouter(tags=["operation"])


class Told(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False, from_attributes=True)


class AlertAnswer(Told):
    """`name` is that of the Prometheus rule and of a section of docs/watching.md."""

    name: str
    level: Literal["page", "ticket"]
    says: str
    do: str
    since: datetime


class MarkAnswer(Told):
    at: datetime
    kind: Literal["bundle", "alert", "over"]
    says: str


class ServedBundle(BundleName):
    task: Task
    refused: bool  # the last one that came after it


class LineAnswer(Told):
    line: str
    running: bool
    pieces_per_min: float
    alarms: int


class CoverageAnswer(Told):
    """Weighed parcels of a group whose interval held the scale's word; a parcel counts once."""

    group: str
    subjects: int
    covered: float
    nominal: float
    band_low: float | None  # 95 % binomial band; null under 20 subjects: too few to judge
    band_high: float | None
    inside: bool | None
    alarm: bool


class DriftAnswer(Told):
    """`chance`: that the share is so large by chance; null where too few were seen."""

    seen: int
    share: float
    expected: float | None
    chance: float | None
    alarm: bool


class WidthAnswer(Told):
    """Median of the intervals' width over that at export."""

    seen: int
    times: float | None
    alarm: bool


class QualityAnswer(Told):
    at: datetime
    weight_sha256: str
    fibre_sha256: str
    coverage: list[CoverageAnswer]  # all parcels first; empty: none was weighed, or there is no interval
    strangers: DriftAnswer | None  # null: the bundle says nothing of strangeness
    width: WidthAnswer
    unknown_scans: DriftAnswer


class OpsAnswer(Told):
    """`minutes`: columns of equal length, `at` in Unix seconds; null where there was nothing to measure."""

    at: datetime
    started_at: datetime
    version: str
    alerts: list[AlertAnswer]
    marks: list[MarkAnswer]
    bundles: list[ServedBundle]
    database_up: bool
    lines: list[LineAnswer]
    jobs: int
    streams: int
    memory_limit_mib: float
    minutes: dict[str, list[float | None]]
    quality: QualityAnswer | None


def oversee(app: FastAPI, service: Service, lines: Mapping[str, Line]) -> Overseer:
    """Add the page and its figures; the overseer looks from `start` on."""
    watched = Watched(
        metrics=service.metrics,
        models=service.models,
        store=service.store,
        jobs=lambda: service.pool.jobs + service.cubes.jobs,
        lines=lines,
    )
    app.state.overseer = overseer = Overseer(watched)
    service.metrics.registry.register(OpsFigures(overseer))
    app.include_router(router)
    return overseer


def _overseer(request: Request) -> Overseer:
    return request.app.state.overseer


_Overseer = Annotated[Overseer, Depends(_overseer)]


@router.get("/ops", response_class=HTMLResponse, include_in_schema=False)
def show_ops() -> HTMLResponse:
    return HTMLResponse(page_of("ops.html"), headers={"Content-Security-Policy": POLICY})


@router.get("/v1/ops")
async def read_ops(
    overseer: _Overseer,
    after: Annotated[float, Query(ge=0, le=1e11, description="Unix seconds: leaves out what was before")] = 0,
) -> OpsAnswer:
    """How the service is, and was in the last 24 hours, a minute a row. Nothing in it is personal."""
    watched = overseer.watched
    refused = overseer.refused_bundles()
    return OpsAnswer(
        at=_moment(time.time()),
        started_at=_moment(overseer.started_at),
        version=__version__,
        alerts=[
            AlertAnswer(
                name=alert.name, level=alert.level, says=alert.says, do=alert.do, since=_moment(since)
            )
            for alert, since in sorted(overseer.alerts.values(), key=lambda told: told[0].level)
        ],
        marks=[
            MarkAnswer.model_validate({"at": _moment(mark.at), "kind": mark.kind, "says": mark.says})
            for mark in overseer.marks
            if mark.at > after
        ],
        bundles=[
            ServedBundle(**watched.models.of(task).name.model_dump(), task=task, refused=task in refused)
            for task in TASKS
        ],
        database_up=overseer.database_up,
        lines=[_line(name, line.state()) for name, line in watched.lines.items()],
        jobs=watched.jobs(),
        streams=watched.metrics.open_streams,
        memory_limit_mib=round(overseer.memory_limit_mib, 1),
        minutes=_columns(overseer.history.rows(after)),
        quality=None if overseer.quality is None else _quality(overseer.quality),
    )


@router.get("/v1/quality", responses=problem_responses("not-ready"))
async def read_quality(overseer: _Overseer) -> QualityAnswer:
    """How good the answers of the bundles in service are, as far as the database knows; judged every minute.

    Coverage comes from the weighings that came in; drift from the newest answers. Replicas on one database
    say the same.
    """
    if overseer.quality is None:
        raise NotReadyError("the answers have not been judged yet; try again in a moment")
    return _quality(overseer.quality)


def _columns(rows: list[tuple[int, Minute]]) -> dict[str, list[float | None]]:
    names = [field.name for field in fields(Minute)]
    columns: dict[str, list[float | None]] = {"at": [at for at, _ in rows]}
    return columns | {name: [getattr(row, name) for _, row in rows] for name in names}


def _quality(quality: Quality) -> QualityAnswer:
    return QualityAnswer.model_validate(asdict(quality))


def _line(name: str, state: Any) -> LineAnswer:
    return LineAnswer(
        line=name,
        running=state.running,
        pieces_per_min=round(state.pieces_per_min, 1),
        alarms=len(state.alarms),
    )


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
