"""One line's nodes in the OPC UA server's address space."""

from datetime import UTC, datetime
from typing import Any, Final

import asyncua.ua
from asyncua.common.node import Node
from asyncua.server.server import Server

from weft.line.records import Alarm, Decision, LineState
from weft_serving.line.plant.opcua_values import (
    Value,
    Values,
    alarm_values,
    decision_values,
    first_values,
    no_lane,
    state_values,
)

ROOT: Final = "Weft"
ua: Any = asyncua.ua  # its annotations name types of the wire that its functions do not ask for
_SEVERITY: Final = {True: 700, False: 200}  # of an alarm's beginning and end, 1..1000


class LineNodes:
    """Written only where a value has changed. For the server's loop alone."""

    def __init__(self, server: Server, namespace: int, line: str) -> None:
        self._server = server
        self._namespace = namespace
        self._line = line
        self._shown: dict[str, Value] = {}
        self._folders: dict[str, Node] = {}
        self._lanes: set[str] = set()
        self._alarms: set[str] = set()
        self._decisions = 0
        self._events: Any = None  # asyncua's generator of our alarm events

    async def begin(self, lanes: tuple[str, ...]) -> None:
        self._folders[""] = self._server.get_node(ua.NodeId(ROOT, self._namespace))
        self._folders[self._line] = await self._folder("", self._line)
        await self.show(first_values(lanes))
        self._lanes = set(lanes)
        self._events = await _alarm_events(self._server, self._namespace, self._folders[self._line])

    async def state(self, state: LineState) -> None:
        values = state_values(state)
        lanes = {lane.lane for lane in state.lanes}
        for gone in self._lanes - lanes:
            values |= no_lane(gone)
        self._lanes = lanes
        await self.show(values)

    async def decision(self, decision: Decision) -> None:
        self._decisions += 1
        await self.show(decision_values(decision, self._decisions))

    async def alarm(self, alarm: Alarm) -> None:
        active = alarm.until is None
        (self._alarms.add if active else self._alarms.discard)(alarm.code)
        await self.show(alarm_values(alarm) | {"AlarmsActive": Value("UInt32", len(self._alarms))})
        event = self._events.event
        event.Severity = _SEVERITY[active]
        event.Line, event.Code, event.Active, event.Count = self._line, alarm.code, active, alarm.count
        await self._events.trigger(time_attr=alarm.until or alarm.since, message=alarm.cause)

    async def show(self, values: Values) -> None:
        now = datetime.now(UTC)
        for path, value in values.items():
            before = self._shown.get(path)
            if before == value:
                continue
            if before is None:
                await self._add(path, value)
            await self._server.write_attribute_value(
                ua.NodeId(f"{self._line}.{path}", self._namespace), _data_value(value, now)
            )
            self._shown[path] = value

    async def _add(self, path: str, value: Value) -> None:
        parent, _, name = f"{self._line}.{path}".rpartition(".")
        kind = ua.VariantType[value.type]
        await (await self._parent(parent)).add_variable(
            ua.NodeId(f"{self._line}.{path}", self._namespace),
            ua.QualifiedName(name, self._namespace),
            ua.get_default_value(kind),
            kind,
        )

    async def _parent(self, path: str) -> Node:
        if path not in self._folders:
            above, _, name = path.rpartition(".")
            await self._parent(above)
            self._folders[path] = await self._folder(above, name)
        return self._folders[path]

    async def _folder(self, above: str, name: str) -> Node:
        identifier = f"{above}.{name}" if above else name
        return await self._folders[above].add_object(
            ua.NodeId(identifier, self._namespace), ua.QualifiedName(name, self._namespace)
        )


def _data_value(value: Value, now: datetime) -> Any:
    if value.value is None:
        bad = ua.StatusCode(ua.StatusCodes.BadNoData)
        return ua.DataValue(StatusCode=bad, SourceTimestamp=now)
    return ua.DataValue(ua.Variant(value.value, ua.VariantType[value.type]), SourceTimestamp=now)


async def _alarm_events(server: Server, namespace: int, line: Node) -> Any:
    """A generator of events "LineAlarmType" at the Server object, where every client listens."""
    base = server.get_node(ua.NodeId(ua.ObjectIds.BaseEventType))
    for known in await base.get_children():
        if (await known.read_browse_name()) == ua.QualifiedName("LineAlarmType", namespace):
            kind = known
            break
    else:
        kind = await server.create_custom_event_type(
            namespace,
            "LineAlarmType",
            ua.ObjectIds.BaseEventType,
            [
                ("Line", ua.VariantType.String),
                ("Code", ua.VariantType.String),
                ("Active", ua.VariantType.Boolean),
                ("Count", ua.VariantType.UInt32),
            ],
        )
    events = await server.get_event_generator(kind, ua.ObjectIds.Server)
    events.event.SourceNode = line.nodeid
    events.event.SourceName = (await line.read_browse_name()).Name
    return events
