"""One connection to an MQTT 5 broker: aiomqtt's client, with what it leaves out."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from weft_serving.line.plant.mqtt_broker import Broker
from weft_serving.line.plant.mqtt_messages import SCHEMA_VERSION, Message, online_message

_KEEPALIVE_S: Final = 10  # a broker that is gone without a word is noticed within 20 s
_ANSWER_S: Final = 5.0  # for any one answer of the broker


class Client(aiomqtt.Client):
    """Says our messages below one line's topics. Made by `connected`."""

    def __init__(self, broker: Broker, line: str, identifier: str) -> None:
        self._topics = f"{broker.prefix}/{line}/"
        self._refusal: asyncio.Future[None] = asyncio.Future()
        gone = online_message(line, online=False)
        super().__init__(
            broker.host,
            broker.port,
            username=broker.user,
            password=broker.password,
            identifier=identifier,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(
                self._topics + gone.tail, gone.payload, 1, True, _properties(gone, PacketTypes.WILLMESSAGE)
            ),
            clean_start=True,
            keepalive=_KEEPALIVE_S,
            timeout=_ANSWER_S,
            tls_context=broker.tls,
        )
        self.pending_calls_threshold = 1_000_000  # it would warn of every batch

    async def say(self, message: Message) -> None:
        """Publish and wait for the broker's acknowledgement.

        Raises:
            aiomqtt.MqttError: The connection broke, or no answer came in time.
        """
        await self.publish(
            self._topics + message.tail,
            message.payload,
            qos=1,
            retain=message.retain,
            properties=_properties(message),
        )

    async def hear(self, tail: str) -> None:
        """Subscribe below the line's topics, to what others said and to what is retained."""
        await self.subscribe(self._topics + tail, options=SubscribeOptions(qos=1, noLocal=True))

    async def refused(self) -> None:
        """Return never; raise aiomqtt.MqttError once the broker refuses a message that we have sent."""
        await asyncio.shield(self._refusal)

    def refusal(self) -> BaseException | None:
        """Why the broker has refused a message of ours; None: it has not."""
        return self._refusal.exception() if self._refusal.done() else None

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any
    ) -> None:
        # aiomqtt takes any acknowledgement for a yes; one without the right to publish gets a polite no
        if not reason_code.is_failure:
            super()._on_publish(client, userdata, mid, reason_code, properties)
        elif not self._refusal.done():
            self._refusal.set_exception(aiomqtt.MqttError(f"it refuses our messages: {reason_code}"))

    def let_go(self) -> None:
        """Close what a failed connection leaves open: aiomqtt forgets the socket of an unanswered one."""
        if self._misc_task is not None:
            self._misc_task.cancel()
        inner: Any = self._client
        inner.on_socket_close = inner.on_socket_unregister_write = None  # our loop may be closed by then
        socket: Any = inner.socket()
        if socket is not None and socket.fileno() >= 0:
            self._loop.remove_reader(socket.fileno())
            self._loop.remove_writer(socket.fileno())
            socket.close()


@asynccontextmanager
async def connected(broker: Broker, line: str, identifier: str) -> AsyncGenerator[Client, None]:
    """A client with a clean session whose last will says that the line is offline.

    Raises:
        aiomqtt.MqttError: The broker does not answer, or does not let us in.
    """
    client = Client(broker, line, identifier)
    try:
        async with client:
            yield client
    except aiomqtt.MqttError:
        refusal = client.refusal()
        if refusal is None:
            raise
        raise refusal from None  # Mosquitto 2.0 hangs up after it, and it says more
    finally:
        client.let_go()


def _properties(message: Message, packet: int = PacketTypes.PUBLISH) -> Properties:
    found: Any = Properties(packet)
    found.UserProperty = [
        ("weft-schema", message.schema),
        ("weft-schema-version", str(SCHEMA_VERSION)),
        ("weft-id", message.identity),
    ]
    if message.payload:
        found.PayloadFormatIndicator = 1  # UTF-8
        found.ContentType = "application/json"
    if message.expires_s is not None:
        found.MessageExpiryInterval = message.expires_s
    return found
