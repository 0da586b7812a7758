"""What people see: plain modules on the public API, and tables that are rendered here. No bundler."""

from fastapi import FastAPI

from weft_serving.pages import bundles, router


def install(app: FastAPI) -> None:
    """Add the start page, the page of bundles and the static files."""
    router.install(app)
    bundles.install(app)
