"""GET /lines and /lines/{line}: a line as it runs, and what it kept of each piece."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import jinja2
from fastapi import Depends, FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from fastapi.routing import APIRouter
from pydantic import BaseModel, ConfigDict

from weft.line.records import Decision
from weft_serving.line.past.archive import LineArchive
from weft_serving.line.show.live import WATCHERS, PageSink, Watcher
from weft_serving.pages.router import POLICY
from weft_serving.problems import BusyError, NotFoundError, problem_responses

router = APIRouter(tags=["lines"])
_PAGES: Final = Path(__file__).parents[2] / "pages"
_RETRY: Final = "retry: 2000\n\n"  # ms after which a browser comes back by itself
_LineName = Annotated[str, InPath(max_length=40, pattern=r"^[a-z][a-z0-9-]{0,39}$")]
_Number = Annotated[int, InPath(ge=1, lt=2**63)]


@dataclass(frozen=True, slots=True)
class LinePages:
    """What the routes work with."""

    sinks: Mapping[str, PageSink]
    archive: LineArchive
    templates: jinja2.Environment


class Spectrum(BaseModel):
    """Mean absorbance over the pixels of one piece that voted."""

    model_config = ConfigDict(frozen=True)

    wavelength_nm: list[float]
    absorbance: list[float]


def install(app: FastAPI, sinks: Mapping[str, PageSink], archive: LineArchive) -> None:
    """Add the pages of these lines, by name; with none of them the page says how to start one."""
    loader = jinja2.FileSystemLoader(_PAGES)
    app.state.line_pages = LinePages(sinks, archive, jinja2.Environment(loader=loader, autoescape=True))
    app.include_router(router)


def _pages_of(request: Request) -> LinePages:
    return request.app.state.line_pages


_Pages = Annotated[LinePages, Depends(_pages_of)]


@router.get("/lines", response_class=HTMLResponse, include_in_schema=False)
def list_lines(pages: _Pages) -> HTMLResponse:
    return _page(pages, "lines.html", lines=list(pages.sinks.values()))


@router.get("/lines/{line}", response_class=HTMLResponse, include_in_schema=False)
def show_line(line: _LineName, pages: _Pages) -> HTMLResponse:
    return _page(pages, "line.html", line=_sink(pages, line).description)


@router.get(
    "/v1/lines/{line}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **problem_responses("not-found", "busy")},
)
async def follow_line(line: _LineName, pages: _Pages) -> StreamingResponse:
    """What the line does, as server-sent events: one JSON object each, `type` says of what kind.

    First `hello` (the line, its rules, the last pieces and alarms), then `piece`, `alarm`, `rules` and, about
    once a second, `state`. Whoever reads too slowly loses the oldest ones.
    """
    sink = _sink(pages, line)
    watcher = sink.watch()
    if watcher is None:
        raise BusyError(f"{WATCHERS} pages of this line are open, the most here; close one and come back")
    return StreamingResponse(
        _events(sink, watcher),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(sink: PageSink, watcher: Watcher) -> AsyncGenerator[str, None]:
    try:
        yield _RETRY
        async for message in watcher.messages():
            yield ": still here\n\n" if message is None else f"data: {message}\n\n"
    finally:
        sink.leave(watcher)


@router.get("/v1/lines/{line}/pieces", responses=problem_responses("not-found"))
def list_pieces(
    line: _LineName, pages: _Pages, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[Decision]:
    """The last pieces that were stored, newest first, as they were decided."""
    _sink(pages, line)
    return pages.archive.latest(line, most=limit)


@router.get("/v1/lines/{line}/pieces/{number}", responses=problem_responses("not-found"))
def read_piece(line: _LineName, number: _Number, pages: _Pages) -> Decision:
    """One piece as it was decided."""
    found = pages.archive.decision(line, number)
    if found is None:
        raise NotFoundError(f"line {line!r} has kept no piece {number}; numbers come with each decision")
    return found


@router.get(
    "/v1/lines/{line}/pieces/{number}/picture",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **problem_responses("not-found")},
)
def read_picture(line: _LineName, number: _Number, pages: _Pages) -> Response:
    """The piece's picture from the belt, JPEG."""
    found = pages.archive.evidence(line, number)
    if found is None or found.picture is None:
        raise NotFoundError(
            f"no picture of piece {number} of line {line!r} is kept; pictures go after some weeks"
        )
    return Response(found.picture, media_type="image/jpeg", headers={"Cache-Control": "max-age=86400"})


@router.get("/v1/lines/{line}/pieces/{number}/spectrum", responses=problem_responses("not-found"))
def read_spectrum(line: _LineName, number: _Number, pages: _Pages) -> Spectrum:
    """The piece's mean spectrum."""
    found = pages.archive.evidence(line, number)
    if found is None:
        raise NotFoundError(
            f"no spectrum of piece {number} of line {line!r} is kept; spectra go after some weeks"
        )
    return Spectrum(
        wavelength_nm=[round(float(nm), 3) for nm in found.wavelength_nm],
        absorbance=[round(float(value), 5) for value in found.absorbance],
    )


def _sink(pages: LinePages, line: str) -> PageSink:
    found = pages.sinks.get(line)
    if found is None:
        known = ", ".join(pages.sinks) or "none; name their files with --lines"
        raise NotFoundError(f"no line is called {line!r} here; running are {known}")
    return found


def _page(pages: LinePages, name: str, **shown: Any) -> HTMLResponse:
    return HTMLResponse(
        pages.templates.get_template(name).render(**shown), headers={"Content-Security-Policy": POLICY}
    )
