"""Where the OPC UA server listens and whom it lets in: a URL, read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from weft.errors import LineError

_PORT: Final = 4840
_FORM: Final = "write opc.tcp://HOST[:PORT], with ?cert=FILE&key=FILE to encrypt, and USER:PASSWORD@ then"


@dataclass(frozen=True, slots=True)
class Place:
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None

    @property
    def endpoint(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"opc.tcp://{host}:{self.port}/weft"


def read_place(url: str) -> Place:
    """Raises LineError where the URL cannot be used; the message never holds the password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise LineError(f"the OPC UA URL cannot be read; {_FORM}") from None  # its text has the password
    if parts.scheme != "opc.tcp" or not host:
        raise LineError(f"the OPC UA URL names no address of kind opc.tcp; {_FORM}")
    files = {name: Path(values[-1]) for name, values in parse_qs(parts.query).items()}
    if set(files) not in (set[str](), {"cert", "key"}):
        raise LineError(f"the OPC UA URL asks for {', '.join(sorted(files))}, needed cert and key; {_FORM}")
    for path in files.values():
        if not path.is_file():
            raise LineError(f"{path}: no such file, and the OPC UA URL names it; {_FORM}")
    user, password = parts.username, parts.password
    if bool(user) != bool(password):
        raise LineError(f"the OPC UA URL has a user or a password and not both; {_FORM}")
    if password and not files:
        raise LineError(f"the OPC UA password would cross the network in the clear; {_FORM}")
    return Place(
        host=host,
        port=_PORT if port is None else port,
        user=unquote(user) if user else None,
        password=unquote(password) if password else None,
        certificate=files.get("cert"),
        key=files.get("key"),
    )
