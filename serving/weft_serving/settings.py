"""What an operator can set. Read once, at the edge, from the environment and the command line."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weft.errors import StoreError

_VARIABLES = {
    "host": "WEFT_HOST",
    "port": "PORT",
    "database_url": "WEFT_DATABASE_URL",
    "weight": "WEFT_WEIGHT",
    "fibre": "WEFT_FIBRE",
    "bundles": "WEFT_BUNDLES",
    "keep_photos": "WEFT_KEEP_PHOTOS",
    "workers": "WEFT_WORKERS",
    "waiting": "WEFT_WAITING",
    "streams": "WEFT_STREAMS",
    "recent_seconds": "WEFT_RECENT_SECONDS",
    "recent_bytes": "WEFT_RECENT_BYTES",
    "body_seconds": "WEFT_BODY_SECONDS",
    "idle_seconds": "WEFT_IDLE_SECONDS",
    "in_flight_bytes": "WEFT_IN_FLIGHT_BYTES",
}


class Settings(BaseModel):
    """One running service, fully described. Defaults live here and nowhere else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    database_url: str = "sqlite:///weft.db"
    weight: Path | None = None  # bundle files; None: the folder `bundles`, then the package's own
    fibre: Path | None = None
    bundles: Path | None = None
    keep_photos: Path | None = None  # None: no photo ever reaches the disk
    workers: int = Field(default=2, ge=1, le=256)  # threads that decode and infer
    waiting: int = Field(default=16, ge=0, le=10_000)  # jobs that may wait for one of them; more get a 503
    streams: int = Field(default=16, ge=0, le=10_000)  # open connections to /v1/stream
    recent_seconds: float = Field(default=900, ge=0)  # how long a photo can be added to an estimate
    recent_bytes: int = Field(default=256_000_000, ge=0)  # memory for the prepared pixels of these
    body_seconds: float = Field(default=300, gt=0)  # a request's body has to arrive within this
    idle_seconds: float = Field(default=20, gt=0)  # and may not pause for longer
    in_flight_bytes: int = Field(default=480_000_000, ge=1)  # bodies of all requests being received


def read_settings(environ: Mapping[str, str], **chosen: object) -> Settings:
    """Settings from the environment, overruled by what was chosen on the command line (None: not chosen).

    Raises:
        StoreError: A value is impossible; the message names its variable.
    """
    given = {name: environ[key] for name, key in _VARIABLES.items() if environ.get(key)}
    given |= {name: value for name, value in chosen.items() if value is not None}  # type: ignore[misc]
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise StoreError(f"{_VARIABLES[name]}: {first['msg']}; got {given[name]!r}") from error
