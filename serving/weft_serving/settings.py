"""What an operator can set. Read once, at the edge, from the environment and the command line."""

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from weft.card import Task
from weft.cores import usable_cores
from weft.engine_names import EngineChoice
from weft.errors import StoreError
from weft.limits import REQUEST_BYTES
from weft_serving.bundles.admin_token import LEAST_CHARACTERS, can_be_sent

_VARIABLES = {
    "host": "WEFT_HOST",
    "port": "PORT",
    "database_url": "WEFT_DATABASE_URL",
    "weight": "WEFT_WEIGHT",
    "fibre": "WEFT_FIBRE",
    "bundles": "WEFT_BUNDLES",
    "keep_photos": "WEFT_KEEP_PHOTOS",
    "keep_photos_hours": "WEFT_KEEP_PHOTOS_HOURS",
    "workers": "WEFT_WORKERS",
    "engine": "WEFT_ENGINE",
    "batch_ms": "WEFT_BATCH_MS",
    "arriving": "WEFT_ARRIVING",
    "max_wait_ms": "WEFT_MAX_WAIT_MS",
    "waiting": "WEFT_WAITING",
    "trusted_proxies": "WEFT_TRUSTED_PROXIES",
    "connections": "WEFT_CONNECTIONS",
    "drain_seconds": "WEFT_DRAIN_SECONDS",
    "streams": "WEFT_STREAMS",
    "recent_seconds": "WEFT_RECENT_SECONDS",
    "recent_bytes": "WEFT_RECENT_BYTES",
    "body_seconds": "WEFT_BODY_SECONDS",
    "idle_seconds": "WEFT_IDLE_SECONDS",
    "in_flight_bytes": "WEFT_IN_FLIGHT_BYTES",
    "admin_token": "WEFT_ADMIN_TOKEN",
    "shadow_share": "WEFT_SHADOW_SHARE",
    "lines": "WEFT_LINES",
    "belt": "WEFT_BELT",
    "line_token": "WEFT_LINE_TOKEN",
    "line_threads": "WEFT_LINE_THREADS",
    "evidence_days": "WEFT_EVIDENCE_DAYS",
    "evidence_bytes": "WEFT_EVIDENCE_BYTES",
    "pieces_days": "WEFT_PIECES_DAYS",
    "watch": "WEFT_WATCH",
    "watch_without_encoder": "WEFT_WATCH_WITHOUT_ENCODER",
    "mqtt_url": "WEFT_MQTT_URL",
    "mqtt_password": "WEFT_MQTT_PASSWORD",
    "outbox": "WEFT_OUTBOX",
    "outbox_bytes": "WEFT_OUTBOX_BYTES",
    "opcua_url": "WEFT_OPCUA_URL",
    "otlp_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
}


# May stand in a file that the variable's name and _FILE tells, as containers and systemd hand secrets over.
_SECRETS = frozenset({"database_url", "admin_token", "line_token", "mqtt_url", "mqtt_password"})


def _networks(text: str) -> str:
    """Raise ValueError unless it is a list of addresses and networks."""
    for each in text.split(","):
        ip_network(each.strip(), strict=False)
    return text


def _token(secret: SecretStr) -> SecretStr:
    """Raise PydanticCustomError unless a header can hold it, and it is too long to be guessed."""
    token = secret.get_secret_value()
    if len(token) < LEAST_CHARACTERS or not can_be_sent(token):
        raise PydanticCustomError(
            "token",
            "needed are {least} characters or more, none of them a space, a line break or beyond ASCII; "
            "make one with `openssl rand -hex 24`",
            {"least": LEAST_CHARACTERS},
        )
    return secret


class Settings(BaseModel):
    """One running service, fully described. Defaults live here and nowhere else."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    database_url: str = "sqlite:///weft.db"
    weight: Path | None = None  # bundle files; None: the folder `bundles`, then the package's own
    fibre: Path | None = None
    bundles: Path | None = None
    # A folder, or s3://BUCKET/PREFIX and its like; None: no photo ever reaches the disk.
    keep_photos: Annotated[str, BeforeValidator(os.fspath)] | None = None
    keep_photos_hours: float | None = Field(
        default=None, gt=0, le=1_000_000
    )  # and then they are removed; None: never
    workers: int = Field(default_factory=usable_cores, ge=1, le=256)  # threads that decode and infer
    arriving: int = Field(default=32, ge=0, le=10_000)  # photos decoded at once while they arrive
    engine: EngineChoice = "onnxruntime"  # of the weight bundle; others are too small to gain by another
    batch_ms: float = Field(default=2, ge=0, le=1000)  # a photo may wait so long to be weighed with others
    max_wait_ms: float = Field(default=1000, ge=0, le=600_000)  # what would wait longer gets a 503
    waiting: int = Field(default=512, ge=0, le=100_000)  # jobs that may wait, however short each is
    # Addresses or networks, comma-separated, whose X-Forwarded-For is believed; None: nobody's
    trusted_proxies: Annotated[str, AfterValidator(_networks)] | None = None
    connections: int = Field(default=10_000, ge=1, le=1_000_000)  # open ones; then the longest idle is closed
    drain_seconds: float = Field(default=1, ge=0, le=8)  # of saying not ready, before a stop by SIGTERM
    streams: int = Field(default=16, ge=0, le=10_000)  # open connections to /v1/stream
    recent_seconds: float = Field(
        default=900, ge=0, le=86_400
    )  # how long a photo can be added to an estimate
    recent_bytes: int = Field(default=16_000_000, ge=0)  # memory for the prepared pixels of these
    body_seconds: float = Field(default=300, gt=0, le=86_400)  # a request's body has to arrive within this
    idle_seconds: float = Field(default=20, gt=0, le=3_600)  # and may not pause for longer
    # Bodies in memory: beyond a quarter of this large ones are read in turn, beyond all of it refused.
    in_flight_bytes: int = Field(default=64_000_000, ge=REQUEST_BYTES)  # one request has to fit
    # Asked of whoever changes bundles; None: nobody may over HTTP
    admin_token: Annotated[SecretStr, AfterValidator(_token)] | None = None
    shadow_share: float = Field(default=0.25, ge=0, le=1)  # of answers that a challenger is compared on
    lines: Path | None = None  # a sorting line's file, or a folder of them; None: no line
    belt: Path | None = None  # the bundle that reads them; None: as for `weight` and `fibre`
    line_token: SecretStr | None = None  # asked of cameras and for new rules; None: whoever can connect may
    line_threads: int = Field(default=2, ge=1, le=64)  # of each line, that read NIR pixels
    evidence_days: float = Field(
        default=30, gt=0, le=36_500
    )  # pictures and spectra of a line's pieces are kept so long
    evidence_bytes: int = Field(default=5_000_000_000, ge=0)  # and no more of each line, the newest
    pieces_days: float = Field(default=730, gt=0, le=36_500)  # their numbers are kept so long
    watch: Path | None = None  # a folder with one for each line, into which cameras put finished cubes
    watch_without_encoder: bool = False  # take cubes without counts: a guess, where no valve is connected
    mqtt_url: SecretStr | None = None  # mqtt://[user:password@]host; None: lines say nothing over MQTT
    mqtt_password: SecretStr | None = None  # overrules the one in the URL
    outbox: Path = Path("weft-outbox")  # folder: what has still to reach the broker, one file a line
    outbox_bytes: int = Field(default=268_435_456, ge=1_000_000)  # of each; then the newest are left out
    opcua_url: SecretStr | None = None  # opc.tcp://0.0.0.0:4840; None: no OPC UA server
    otlp_endpoint: str | None = None  # http://collector:4318, needs weft[otel]; None: no traces

    def engine_of(self, task: Task) -> EngineChoice:
        """What computes a task's graph: spectra take 0.2 ms, and more on any engine but ONNX Runtime."""
        return self.engine if task == "weight" else "onnxruntime"


def read_settings(environ: Mapping[str, str], **chosen: object) -> Settings:
    """Settings from the environment, overruled by what was chosen on the command line (None: not chosen).

    Raises:
        StoreError: A value is impossible; the message names its variable.
    """
    given = {name: environ[key] for name, key in _VARIABLES.items() if environ.get(key)}
    for name in _SECRETS:
        if environ.get(f"{_VARIABLES[name]}_FILE"):
            given[name] = _secret(environ, _VARIABLES[name])
    given |= {name: value for name, value in chosen.items() if value is not None}  # type: ignore[misc]
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        got = "a value that is not shown" if name in _SECRETS else repr(given[name])
        raise StoreError(f"{_VARIABLES[name]}: {first['msg']}; got {got}") from error


def _secret(environ: Mapping[str, str], variable: str) -> str:
    """What the file named by `<variable>_FILE` holds, without the line's end."""
    if environ.get(variable):
        raise StoreError(f"{variable} and {variable}_FILE are both set; leave one of them out")
    path = Path(environ[f"{variable}_FILE"])
    try:
        held = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text"
        raise StoreError(f"{variable}_FILE: {path} cannot be read ({said}); name a file that can") from error
    if not held:
        raise StoreError(f"{variable}_FILE: {path} is empty; write the value into it")
    return held
