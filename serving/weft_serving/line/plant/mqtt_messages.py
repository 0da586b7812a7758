"""What a line says over MQTT: topics below PREFIX/LINE, payloads, what is retained and what expires.

online          retained    `Online`; false is the last will
state           retained    `LineState`, about once a second; the newest alone
rules           retained    `RulesInForce`
alarms/CODE     retained    `Alarm` while it lasts; at its end once more with `until`, then nothing
decisions                   `Decision`, from the outbox: each at least once, in order
gaps                        `Gap`, from the outbox: what found no room in it
commands        expire      `Command`; never sent late, so never from the outbox

The payloads are the JSON of `weft.line.records`, their schemas are in docs/line/mqtt-*.json.
"""

from typing import Final, NamedTuple

from weft.line.records import (
    Alarm,
    Command,
    Decision,
    Gap,
    LineState,
    Online,
    Record,
    RulesInForce,
)
from weft_serving.line.plant.outbox import Draft

SCHEMAS: Final[dict[str, type[Record]]] = {
    "online": Online,
    "state": LineState,
    "rules": RulesInForce,
    "alarm": Alarm,
    "decision": Decision,
    "gap": Gap,
    "command": Command,
}
SCHEMA_VERSION: Final = 1  # raised when a field goes or changes its meaning; a new field does not raise it
COMMAND_EXPIRES_S: Final = 10
ALARMS: Final = "alarms/"


class Message(NamedTuple):
    """One publication, QoS 1."""

    tail: str  # the topic below PREFIX/LINE/
    schema: str  # a key of `SCHEMAS`
    identity: str  # the same each time that a record is sent: what doubles are told by
    payload: bytes  # empty: takes back what is retained
    retain: bool = False
    expires_s: int | None = None


def decision_draft(decision: Decision) -> Draft:
    return Draft("decision", f"{decision.piece.number}/{decision.outcome}", _json(decision))


def alarm_draft(alarm: Alarm) -> Draft:
    began = f"{alarm.code}/{alarm.since.isoformat()}"
    return Draft("alarm", began if alarm.until is None else f"{began}/end", _json(alarm))


def gap_draft(gap: Gap) -> Draft:
    return Draft("gap", f"gap/{gap.first_piece}/{gap.last_piece}/{gap.records}", _json(gap))


def kept_message(line: str, draft: Draft, *, retain: bool = False) -> Message:
    """A record from the outbox."""
    tail = ALARMS + draft.label.split("/")[0] if draft.kind == "alarm" else f"{draft.kind}s"
    return Message(tail, draft.kind, f"{line}/{draft.label}", draft.payload, retain=retain)


def no_alarm(line: str, code: str) -> Message:
    """Takes back a retained alarm."""
    return Message(ALARMS + code, "alarm", f"{line}/{code}", b"", retain=True)


def state_message(state: LineState) -> Message:
    return Message("state", "state", f"{state.line}/{state.at.isoformat()}", _json(state), retain=True)


def rules_message(rules: RulesInForce) -> Message:
    return Message("rules", "rules", f"{rules.line}/{rules.version}", _json(rules), retain=True)


def online_message(line: str, *, online: bool) -> Message:
    said = Online(line=line, online=online)
    return Message("online", "online", f"{line}/{online}", _json(said), retain=True)


def command_of(decision: Decision) -> Command | None:
    """What an ejector has to do about a decision; a "held" one takes an earlier command back."""
    if decision.ejector is None or decision.fire_encoder is None or decision.hold_encoder is None:
        return None
    if decision.outcome not in {"fired", "held"}:
        return None
    return Command(
        line=decision.piece.line,
        piece=decision.piece.number,
        lane=decision.wanted,
        ejector=decision.ejector,
        fire_encoder=decision.fire_encoder,
        hold_encoder=decision.hold_encoder,
        withdrawn=decision.outcome == "held",
        simulated=decision.simulated,
    )


def command_message(command: Command) -> Message:
    what = "withdrawn" if command.withdrawn else "fire"
    identity = f"{command.line}/{command.piece}/{what}"
    return Message("commands", "command", identity, _json(command), expires_s=COMMAND_EXPIRES_S)


def _json(record: Record) -> bytes:
    return record.model_dump_json().encode()
