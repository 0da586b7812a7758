"""The service as one ASGI app, built by a function from what it needs. Importing this loads nothing."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI

from weft import __version__
from weft.bundle import Bundle
from weft.identifier import Identifier
from weft.weigher import Weigher
from weft_serving import (
    compositions,
    docs_page,
    estimates,
    explanations,
    health,
    open_inference,
    pages,
    problems,
    stream,
)
from weft_serving.bundles import routes as bundle_changes
from weft_serving.bundles import shown as bundles
from weft_serving.bundles.batcher import Batcher
from weft_serving.bundles.changes import Changes
from weft_serving.bundles.figures import BundleFigures
from weft_serving.bundles.models import FibreModel, Models, WeightModel
from weft_serving.door.arriving import Crew
from weft_serving.door.front import Fronted, ShortWay
from weft_serving.door.guard import App, BodyGuard
from weft_serving.door.pool import Pool
from weft_serving.kept import check_place
from weft_serving.kept_lifetime import forget_regularly
from weft_serving.line import joined
from weft_serving.ops.page import oversee
from weft_serving.recent import Recent
from weft_serving.service import Service
from weft_serving.settings import Settings
from weft_serving.store import Store
from weft_serving.watch import metrics
from weft_serving.watch.metrics import Metrics
from weft_serving.watch.observe import Observe
from weft_serving.watch.tracing import open_tracing

if TYPE_CHECKING:
    from weft_serving.line.lines import Lines

_ABOUT = """Weighs and sorts used clothes by sight: photos to kilograms, near-infrared scans to fibre shares.

Errors are `application/problem+json` (RFC 9457); [/problems](/problems) lists every `type`.
`WS /v1/stream`: the first message is JSON, `{"task": "weight"}` or `{"task": "composition", "wavelength_nm":
[...], "quantity": "reflectance"}`; then each binary message, a JPEG or a little-endian float32 spectrum, gets
one JSON answer with a running `number`, in order.
`WS /v1/lines/{line}`: frames of a sorting line in; commands, decisions, alarms and its state out: see
docs/line/streaming.md. `/v2`: the Open Inference Protocol, with binary tensors."""


def create_app(
    settings: Settings, *, weight: Bundle, fibre: Bundle, store: Store, lines: "Lines | None" = None
) -> FastAPI:
    """The whole service on two loaded bundles and an open store; it closes the store when it stops.

    Lines start and stop with it.

    Raises:
        StoreError: Photos are to be kept in a place that cannot be written.
        WrongTaskError: The bundles are the wrong way round.
    """
    if settings.keep_photos is not None:
        check_place(settings.keep_photos)
    figures = Metrics()
    service = _make_service(settings, figures, weight=weight, fibre=fibre, store=store)
    tracing = open_tracing(settings.otlp_endpoint)
    figures.tell = None if tracing is None else tracing.tell

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncGenerator[None, None]:
        overseer.start()
        async with _working(service, lines):
            yield
            await overseer.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    app = Fronted(
        title="Weft", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None, lifespan=running
    )
    app.state.service = service
    _watch(service)
    overseer = oversee(app, service, {} if lines is None else lines.engines)
    for part in (estimates, compositions, explanations, stream, bundles, bundle_changes, health, metrics):
        app.include_router(part.router)
    app.include_router(open_inference.router)
    pages.install(app)
    docs_page.install(app)
    problems.install(app)
    if lines is not None:
        joined.join(app, lines)
    else:
        joined.join_when_asked(app, store)
    app.stand_before(lambda rest: Observe(_guarded(rest, service), metrics=figures, tracing=tracing))
    return app


def _make_service(
    settings: Settings, figures: Metrics, *, weight: Bundle, fibre: Bundle, store: Store
) -> Service:
    models = Models(
        WeightModel(weight, Weigher(weight, stage=figures.stage)), FibreModel(fibre, Identifier(fibre))
    )
    pool = Pool(
        workers=settings.workers,
        waiting=settings.waiting,
        longest_wait_s=settings.max_wait_ms / 1000,
        waited=lambda seconds: figures.spent("queue", seconds),
    )
    # In a crowd estimates wait for each other, as a commit costs as much as six rows; at half load never.
    store.inserts.gather_s = lambda: 0.03 if pool.jobs > 4 * pool.workers else 0.0
    batcher = Batcher(
        workers=settings.workers, budget_s=settings.batch_ms / 1000, called=partial(_tell_call, figures)
    )
    batcher.learn(weight)
    return Service(
        settings=settings,
        models=models,
        changes=Changes(
            settings,
            models,
            store,
            BundleFigures(figures),
            stage=figures.stage,
            idle=lambda: pool.jobs < pool.workers,
            learn=batcher.learn,
        ),
        store=store,
        pool=pool,
        crew=Crew(
            threads=settings.workers,
            most=settings.arriving,
            idle=lambda: pool.jobs == 0,
            elsewhere=pool.elsewhere,
            spent=figures.spent,
        ),
        batcher=batcher,
        cubes=Pool(workers=1, waiting=min(4, settings.waiting)),
        recent=Recent(seconds=settings.recent_seconds, most_bytes=settings.recent_bytes),
        metrics=figures,
    )


@asynccontextmanager
async def _working(service: Service, lines: "Lines | None") -> AsyncGenerator[None, None]:
    """From before the first request to after the last one."""
    if lines is not None:
        lines.start()
    service.changes.start()
    hours = service.settings.keep_photos_hours
    forgetting = None if hours is None else asyncio.create_task(forget_regularly(service.store, hours=hours))
    yield
    if forgetting is not None:
        forgetting.cancel()
    if lines is not None:
        await asyncio.to_thread(lines.close)
    await asyncio.to_thread(service.changes.close)
    service.pool.close()
    service.crew.close()
    await asyncio.to_thread(service.batcher.close)
    service.cubes.close()
    service.store.close()


def _guarded(rest: App, service: Service) -> App:
    settings = service.settings
    return BodyGuard(
        ShortWay(rest, service, {"/v1/estimates": estimates.create_estimate}),
        pool=service.pool,
        body_seconds=settings.body_seconds,
        idle_seconds=settings.idle_seconds,
        in_flight_bytes=settings.in_flight_bytes,
    )


def _tell_call(figures: Metrics, together: int, waited_s: list[float]) -> None:
    figures.batches.observe(together)
    for seconds in waited_s:
        figures.spent("batch", seconds)


def _watch(service: Service) -> None:
    """Figures that are read when Prometheus asks."""
    service.metrics.jobs.set_function(lambda: service.pool.jobs + service.cubes.jobs)
    service.metrics.waiting.set_function(lambda: max(0, service.pool.jobs - service.pool.workers))
    service.metrics.recent_bytes.set_function(lambda: service.recent.held_bytes)
