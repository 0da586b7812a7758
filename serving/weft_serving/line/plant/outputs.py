"""Where a service's lines speak to the plant: MQTT and OPC UA, each only where the settings name it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from weft.errors import LineError
from weft_serving.line.plant.intake import Tell
from weft_serving.line.sinks import Sink

if TYPE_CHECKING:  # an install without the extra `plant` has neither
    from weft_serving.line.plant.mqtt import MqttSink
    from weft_serving.line.plant.opcua import OpcUaServer
    from weft_serving.settings import Settings


class Plant:
    """The plant's side of a service. Made by `open_plant`.

    Args:
        speak: Makes the MQTT sink of a line; None: no MQTT.
        server: Shows all lines; None: no OPC UA.
    """

    def __init__(self, speak: "Callable[[str, Tell], MqttSink] | None", server: "OpcUaServer | None") -> None:
        self._speak = speak
        self._server = server
        self._mqtt: dict[str, MqttSink] = {}

    def sinks(self, line: str, lanes: Sequence[str], alarm: Tell) -> list[Sink]:
        """The sinks of one line; its engine closes them.

        Args:
            line: Its name.
            lanes: Names of its lanes, the rest lane too.
            alarm: Called from the sinks' threads with a code and its cause, or None when that has gone.

        Raises:
            LineError: The outbox cannot be used.
        """
        found: list[Sink] = []
        if self._speak is not None:
            self._mqtt[line] = self._speak(line, alarm)
            found.append(self._mqtt[line])
        if self._server is not None:
            found.append(self._server.sink(line, lanes))
        return found

    def ruled(self, line: str, version: str, rules: Mapping[str, Any], at: datetime) -> None:
        """Tell what a line's lanes take from now on; `rules` as plain JSON values."""
        if line in self._mqtt:
            self._mqtt[line].ruled(version, rules, at)

    def close(self) -> None:
        """After the engines have closed their sinks."""
        if self._server is not None:
            self._server.close()


def open_plant(settings: "Settings") -> Plant:
    """Start what the settings name; nothing where they name nothing.

    Raises:
        LineError: A URL, a certificate or a port cannot be used, or the extra `plant` is not installed.
    """
    try:
        return Plant(_mqtt(settings), _opcua(settings))
    except ModuleNotFoundError as error:
        raise LineError(
            f"MQTT and OPC UA need {error.name}, which is not installed; pip install 'weft[plant]'"
        ) from error


def _mqtt(settings: "Settings") -> "Callable[[str, Tell], MqttSink] | None":
    if settings.mqtt_url is None:
        return None
    from weft_serving.line.plant.mqtt import MqttSink
    from weft_serving.line.plant.mqtt_broker import read_broker

    password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
    broker = read_broker(settings.mqtt_url.get_secret_value(), password=password)

    def speak(line: str, alarm: Tell) -> MqttSink:
        outbox = settings.outbox / f"{line}.sqlite"
        return MqttSink(line, broker, outbox, alarm=alarm, most_bytes=settings.outbox_bytes)

    return speak


def _opcua(settings: "Settings") -> "OpcUaServer | None":
    if settings.opcua_url is None:
        return None
    from weft_serving.line.plant.opcua import OpcUaServer

    return OpcUaServer(settings.opcua_url.get_secret_value())
