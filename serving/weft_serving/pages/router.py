"""GET / and its static files: where a person starts. The page is an ordinary client of the public API."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

_HERE: Final = Path(__file__).parent
# Nothing from elsewhere, nothing inline: a file name or a label that smuggles in markup finds no way to run.
# `blob:` shows the chosen photos; uPlot positions its parts by style attributes.
POLICY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_of(name: str) -> str:
    """A page that is the same for everybody, with the links to all pages that stand at the foot of each."""
    return (_HERE / name).read_text(encoding="utf-8").replace('{% include "nav.html" %}', nav())


def nav() -> str:
    return (_HERE / "nav.html").read_text(encoding="utf-8")


def install(app: FastAPI) -> None:
    page = page_of("index.html")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def start() -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
