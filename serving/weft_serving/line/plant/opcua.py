"""The lines of one service as a browsable OPC UA server that nobody can write to.

It shows what is so now (`opcua_values`), for controllers and visualisations; the record of every piece is the
store's and MQTT's. One thread with its own loop serves all lines.
"""

import asyncio
import contextlib
import hmac
import logging
import socket
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, Final

import asyncua.ua
from asyncua.crypto.permission_rules import SimpleRoleRuleset, User, UserRole
from asyncua.server.server import Server
from asyncua.server.user_managers import UserManager

from weft.errors import LineError
from weft.line.records import Alarm, Decision, LineState
from weft_serving.line.plant.opcua_nodes import ROOT, LineNodes
from weft_serving.line.plant.opcua_place import Place, read_place
from weft_serving.line.plant.opcua_values import Value
from weft_serving.line.sinks import Evidence

NAMESPACE: Final = "urn:weft:line"
APPLICATION: Final = "urn:weft:service"  # a certificate has to carry it as its URI
ua: Any = asyncua.ua  # its annotations name types of the wire that its functions do not ask for
_log: Final = logging.getLogger(__name__)
_START_S: Final = 30.0
_CLOSE_S: Final = 5.0
_MOST_DECISIONS: Final = 1_000  # that wait to be shown; the newest count
_REFUSED: Final = frozenset(
    ua.NodeId(kind)
    for kind in (
        ua.ObjectIds.WriteRequest_Encoding_DefaultBinary,
        ua.ObjectIds.CallRequest_Encoding_DefaultBinary,
        ua.ObjectIds.AddNodesRequest_Encoding_DefaultBinary,
        ua.ObjectIds.DeleteNodesRequest_Encoding_DefaultBinary,
        ua.ObjectIds.AddReferencesRequest_Encoding_DefaultBinary,
        ua.ObjectIds.DeleteReferencesRequest_Encoding_DefaultBinary,
    )
)


class _ReadOnly(SimpleRoleRuleset):
    def check_validity(self, user: User, action_type_id: Any, body: Any) -> bool:
        return action_type_id not in _REFUSED and super().check_validity(user, action_type_id, body)


class _Doorkeeper(UserManager):
    """Without a password everyone may read; asyncua's own would make an admin of whoever says "admin"."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        if self._place.password is None:
            return User(role=UserRole.User)
        given = f"{username}\0{password}".encode()
        right = hmac.compare_digest(given, f"{self._place.user}\0{self._place.password}".encode())
        return User(role=UserRole.User, name=username) if right else None


class OpcUaServer:
    """Listens from its construction until `close`.

    Raises:
        LineError: The URL, its certificate or its port cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._place = read_place(url)
        self._try_port()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listens: Future[Server] = Future()
        self._namespace = 0
        self._thread = threading.Thread(target=self._run, name="opcua", daemon=True)
        self._thread.start()
        try:
            self._server = self._listens.result(_START_S)
        except (OSError, ValueError, TimeoutError, ua.UaError) as error:
            raise self._cannot(error) from error

    def sink(self, line: str, lanes: Sequence[str]) -> "OpcUaSink":
        """A line's object below Objects/Weft; lanes that its rules name later are added by themselves."""
        nodes = LineNodes(self._server, self._namespace, line)
        asyncio.run_coroutine_threadsafe(nodes.begin(tuple(lanes)), self._loop).result(_START_S)
        return OpcUaSink(nodes, self._loop)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_CLOSE_S)

    def _try_port(self) -> None:
        """Before the seconds that building the standard's own nodes takes."""
        family = socket.AF_INET6 if ":" in self._place.host else socket.AF_INET
        try:
            socket.create_server((self._place.host, self._place.port), family=family).close()
        except OSError as error:
            raise self._cannot(error) from error

    def _cannot(self, error: Exception) -> LineError:
        where = self._place.endpoint
        return LineError(f"OPC UA cannot listen on {where} ({error}); name a free port and good files")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        try:
            server = await self._made()
            await server.start()
        except BaseException as error:
            self._listens.set_exception(error)
            return
        self._listens.set_result(server)
        try:
            await self._stop.wait()
        finally:
            await server.stop()

    async def _made(self) -> Server:
        place = self._place
        server = Server(user_manager=_Doorkeeper(place))
        server.iserver.allow_remote_admin = False
        server.iserver.max_connections = 100
        server.iserver.max_subscriptions = 200
        server.limits.max_message_size = 4_194_304
        server.name, server.manufacturer_name = "Weft", "Weft"
        server.product_uri = "urn:weft"
        await server.init()
        await server.set_application_uri(APPLICATION)
        server.set_endpoint(place.endpoint)
        policies = [ua.SecurityPolicyType.NoSecurity]
        if place.certificate and place.key:
            await server.load_certificate(place.certificate)
            await server.load_private_key(place.key)
            policies = [
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
                ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
            ]
        server.set_security_policy(policies, permission_ruleset=_ReadOnly())
        server.set_identity_tokens(
            [ua.UserNameIdentityToken if place.password else ua.AnonymousIdentityToken]
        )
        self._namespace = await server.register_namespace(NAMESPACE)
        await server.nodes.objects.add_folder(ua.NodeId(ROOT, self._namespace), f"{self._namespace}:{ROOT}")
        return server


class OpcUaSink:
    """One line's sink: hands over to the server's loop."""

    def __init__(self, nodes: LineNodes, loop: asyncio.AbstractEventLoop) -> None:
        self._nodes = nodes
        self._loop = loop
        self._decisions: deque[Decision] = deque(maxlen=_MOST_DECISIONS)
        self._alarms: deque[Alarm] = deque()
        self._state: LineState | None = None
        self._closed = False
        self._wake = asyncio.Event()
        self._showing = asyncio.run_coroutine_threadsafe(self._show(), loop)

    def decided(self, decision: Decision, evidence: Evidence) -> None:
        self._decisions.append(decision)
        self._rouse()

    def alarmed(self, alarm: Alarm) -> None:
        self._alarms.append(alarm)
        self._rouse()

    def stood(self, state: LineState) -> None:
        self._state = state
        self._rouse()

    def close(self) -> None:
        """The line stands from now on, as far as controllers see."""
        if self._closed:
            return
        self._closed = True
        self._rouse()
        with contextlib.suppress(TimeoutError, CancelledError):  # a server that is closed shows nothing
            self._showing.result(_CLOSE_S)

    def _rouse(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _show(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            ends = self._closed
            try:
                await self._show_what_came()
                if ends:
                    await self._nodes.show({"Running": Value("Boolean", False)})
                    return
            except Exception:
                # a fault of ours in one value must not end the showing of all others
                _log.exception("OPC UA could not show what came")

    async def _show_what_came(self) -> None:
        while self._alarms:
            await self._nodes.alarm(self._alarms.popleft())
        while self._decisions:
            await self._nodes.decision(self._decisions.popleft())
        state, self._state = self._state, None
        if state is not None:
            await self._nodes.state(state)
