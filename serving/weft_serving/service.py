"""What every route works with: made once by `create_app`, found through `Depends(service_of)`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from weft_serving.bundles.batcher import Batcher
from weft_serving.bundles.changes import Changes
from weft_serving.bundles.models import BundleName as BundleName
from weft_serving.bundles.models import Models
from weft_serving.door.arriving import Crew
from weft_serving.door.pool import Pool
from weft_serving.recent import Recent
from weft_serving.settings import Settings
from weft_serving.store import Store
from weft_serving.watch.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Service:
    settings: Settings
    models: Models
    changes: Changes
    store: Store
    pool: Pool
    crew: Crew  # decodes photos while they arrive
    batcher: Batcher
    cubes: Pool  # one at a time: unpacked, a cube may take gigabytes
    recent: Recent
    metrics: Metrics


def service_of(connection: HTTPConnection) -> Service:
    """The running service; the same for requests and streams."""
    return connection.app.state.service


async def _served(connection: HTTPConnection) -> Service:
    return service_of(connection)  # FastAPI would call one that is not async in a thread of its own


TheService = Annotated[Service, Depends(_served)]


def is_id(text: str) -> bool:
    """Whether it can be an id of ours; asked before a database, which may choke on odd characters."""
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)
