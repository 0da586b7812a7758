"""What a line says to whoever is connected, as records: the client's half of `stream.socket`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from weft.errors import LineError
from weft.line.description import LineDescription
from weft.line.records import Alarm, Decision, LineState
from weft_serving.line.timing import Command, Withdrawal

_Record = TypeVar("_Record", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection stands, for the first time or again; `resent` frames had not been taken before."""

    description: LineDescription
    state: LineState
    resent: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame that the line did not take: `problem` is the stable kind, `detail` says what is wrong."""

    problem: str
    detail: str


@dataclass(frozen=True, slots=True)
class Lost:
    """So many of the oldest messages are gone: the reader was slower than the line talks."""

    messages: int


Message = Command | Withdrawal | Decision | Alarm | LineState | Connected | Refused | Lost


def read_message(told: Mapping[str, Any]) -> Message | None:
    """What the server said, as a record; None for a kind that a newer server may have."""
    kind = told["type"]
    fields = {key: value for key, value in told.items() if key != "type"}
    match kind:
        case "command":
            return Command(**fields)
        case "withdrawal":
            return Withdrawal(**fields)
        case "decision":
            return read_record(Decision, told["decision"])
        case "alarm":
            return read_record(Alarm, told["alarm"])
        case "state":
            return read_record(LineState, told["state"])
        case "problem":
            return Refused(told["problem"], told["detail"])
        case "lost":
            return Lost(told["messages"])
        case _:
            return None


def read_record(model: type[_Record], given: Any) -> _Record:
    """Raises LineError where the server's record is not of this version."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise LineError(
            f"the server's {model.__name__} cannot be read ({error.errors()[0]['msg']}); "
            "install the client of the server's version"
        ) from error
