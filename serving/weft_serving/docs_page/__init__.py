"""/docs: the OpenAPI page from files of this package, so that it works where there is no internet.

`swagger-ui-bundle.js` and `swagger-ui.css` are swagger-ui-dist 5.35.0 (Apache-2.0, LICENSE and NOTICE beside
them), without the lines that point to source maps.
"""

from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from weft_serving.pages.router import nav
from weft_serving.problems import Problem

_FILES: Final = Path(__file__).parent
_ICON: Final = "data:,"  # the default is fetched from elsewhere
_STYLE: Final = "<style>.site { font: 14px sans-serif; padding: 1rem; display: flex; gap: 1.25rem }</style>"


class _Assets(StaticFiles):
    """Only the two files that the page needs; not this module."""

    def lookup_path(self, path: str) -> tuple[str, Any]:
        if path not in {"swagger-ui-bundle.js", "swagger-ui.css"}:
            return "", None
        return super().lookup_path(path)


def install(app: FastAPI) -> None:
    """Serve `/docs` and its files, and describe problems in the schema."""
    app.mount("/docs/files", _Assets(directory=_FILES), name="docs-files")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Weft",
            swagger_js_url="/docs/files/swagger-ui-bundle.js",
            swagger_css_url="/docs/files/swagger-ui.css",
            swagger_favicon_url=_ICON,
            swagger_ui_parameters={"validatorUrl": None},
        )
        return HTMLResponse(bytes(page.body).decode().replace("</body>", f"{_STYLE}{nav()}</body>"))

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            made["components"]["schemas"] |= schema.pop("$defs", {})
            made["components"]["schemas"]["Problem"] = schema
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # FastAPI's documented way to extend the schema
