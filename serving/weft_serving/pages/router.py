"""GET /: where a person starts."""

from fastapi.responses import HTMLResponse
from fastapi.routing import APIRouter

router = APIRouter(include_in_schema=False)


@router.get("/", response_class=HTMLResponse)
async def start() -> str:
    return "<!doctype html><title>Weft</title><h1>Weft</h1><p><a href=/docs>/docs</a></p>"
