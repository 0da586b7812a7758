"""GET /bundles: what is in service, what was, how a challenger compares, and the buttons to change it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import jinja2
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from weft_serving.bundles.models import ServedTask
from weft_serving.bundles.slot import Slot
from weft_serving.bundles.trial_report import TrialReport, report_trial
from weft_serving.pages.router import POLICY
from weft_serving.service import TheService

_TASKS: Final[tuple[ServedTask, ...]] = ("weight", "composition")


class _Shown(NamedTuple):
    slot: Slot
    report: TrialReport | None


def install(app: FastAPI) -> None:
    """Add the page."""
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    templates.filters["clock"] = _clock

    @app.get("/bundles", response_class=HTMLResponse, include_in_schema=False)
    def show_bundles(service: TheService) -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        slots = [service.changes.slot(task) for task in _TASKS]
        page = templates.get_template("bundles.html").render(
            tasks=[_Shown(slot, report_trial(slot, service.store)) for slot in slots],
            changes_on=service.settings.admin_token is not None,
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%d %b %Y, %H:%M")
