"""Where the MQTT broker is: a URL read into what a connection needs. A password is never shown."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from weft.errors import LineError

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_FORM: Final = (
    "write mqtt://[USER:PASSWORD@]HOST[:PORT][/PREFIX], or mqtts:// with ?ca=FILE&cert=FILE&key=FILE"
)
_DEFAULT_PREFIX: Final = "weft"


@dataclass(frozen=True, slots=True)
class Broker:
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    prefix: str = _DEFAULT_PREFIX  # of every topic

    @property
    def shown(self) -> str:
        """For messages and logs: without user and password."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def read_broker(url: str, *, password: str | None = None) -> Broker:
    """Read a broker's URL; `password` overrules the one in it.

    Raises:
        LineError: The URL or its certificate files cannot be used. The message never holds the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise LineError(
            f"the MQTT broker's URL cannot be read; {_FORM}"
        ) from None  # its text has the password
    if parts.scheme not in _PORTS or not host:
        raise LineError(f"the MQTT broker's URL names no broker of kind mqtt or mqtts; {_FORM}")
    prefix = unquote(parts.path).strip("/") or _DEFAULT_PREFIX
    if set(prefix) & set("+#\0"):
        raise LineError(f"the MQTT prefix {prefix!r} holds a wildcard; {_FORM}")
    user = unquote(parts.username) if parts.username else None
    secret = password or (unquote(parts.password) if parts.password else None)
    if secret and not user:
        raise LineError(f"the MQTT broker's URL has a password and no user; {_FORM}")
    return Broker(
        host=host,
        port=port or _PORTS[parts.scheme],
        user=user,
        password=secret,
        tls=_tls(parts),
        prefix=prefix,
    )


def _tls(parts: SplitResult) -> ssl.SSLContext | None:
    asked = parse_qs(parts.query)
    unknown = set(asked) - {"ca", "cert", "key"}
    if unknown or (asked and parts.scheme == "mqtt"):
        named = ", ".join(sorted(unknown or asked))
        raise LineError(
            f"the MQTT broker's URL asks for {named}, which {parts.scheme}:// does not know; {_FORM}"
        )
    if parts.scheme == "mqtt":
        return None
    files = {name: Path(values[-1]) for name, values in asked.items()}
    try:
        context = ssl.create_default_context(cafile=files.get("ca"))
        if "cert" in files:
            context.load_cert_chain(files["cert"], files.get("key"))
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(map(str, files.values()))
        raise LineError(f"{named}: no certificates that TLS can use ({error}); name PEM files") from error
    return context
