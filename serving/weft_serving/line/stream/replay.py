"""Streaming a recording to a line at the speed it was recorded at, and counting what comes back."""

import asyncio
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from weft.errors import LineError
from weft.line.frames import Frame
from weft.line.records import Alarm, Decision
from weft_serving.line.stream.messages import Lost, Message, Refused
from weft_serving.line.stream.tape import Start, open_tape
from weft_serving.line.timing import Command, Withdrawal
from weft_serving.line_client import LineClient

_AHEAD_MM: Final = 20.0  # of belt between where the line's encoder stands and the tape's first line
_QUIET_S: Final = 1.5  # without a decision: the line has nothing more to say
_BEHIND_S: Final = 0.1  # later than this is told
_TOLD: Final = 20  # kinds of refusals
_REMEMBERED: Final = 4_096  # frames, for the time of a decision


@dataclass(slots=True)
class Played:
    """What went out and what came back."""

    line: str = ""
    simulated: bool = False
    seconds: float = 0.0  # of tape that went out
    took_s: float = 0.0
    frames: int = 0
    lines: int = 0
    behind_s: float = 0.0  # the most that a frame went out late
    late_frames: int = 0  # of them more than 0.1 s
    dropped_frames: int = 0  # by the line meanwhile, because it could not keep up
    refused: int = 0
    refusals: list[str] = field(default_factory=list[str])  # the first of each kind
    lost_messages: int = 0
    pieces: int = 0
    lanes: Counter[str] = field(default_factory=Counter[str])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    commands: int = 0
    withdrawals: int = 0
    latency_ms: list[float] = field(default_factory=list[float])  # by the line's own clock
    seen_ms: list[float] = field(
        default_factory=list[float]
    )  # last row's frame sent -> decision received here
    alarms: dict[str, str] = field(default_factory=dict[str, str])  # code -> the first cause

    def as_json(self) -> dict[str, Any]:
        """For `--json`; latencies as percentiles."""
        told = {name: getattr(self, name) for name in self.__slots__ if not name.endswith("_ms")}
        for kind, values in (("latency", self.latency_ms), ("seen", self.seen_ms)):
            ordered = sorted(values)
            for percent in (50, 99):
                place = min(len(ordered) * percent // 100, len(ordered) - 1)
                told[f"{kind}_p{percent}_ms"] = round(ordered[place], 1) if ordered else None
        return told | {"lanes": dict(+self.lanes), "outcomes": dict(+self.outcomes), "late": self.late}

    @property
    def late(self) -> int:
        """Pieces that were decided too late to be fired at."""
        return self.outcomes["late"]


@dataclass(frozen=True, slots=True)
class Playing:
    """How to play: `speed` 1 is that of the recording; without `loop` once."""

    speed: float = 1.0
    loop: bool = False
    seconds: float | None = None  # of streaming, after which it ends; None: when the tape does
    until_done: bool = True  # wait for the decisions on the last pieces
    block_s: float = 0.025  # of lines in one frame: a camera's driver hands over as much
    references: Path | None = None
    token: str | None = None


async def replay(
    place: Path, url: str, playing: Playing, *, told: Callable[[Played, Message], None] | None = None
) -> Played:
    """Stream the recording or cube at `place` to the line at `url`; returns when all has gone out.

    Args:
        told: Called with each message that comes back, after it was counted.

    Raises:
        LineError: The tape cannot be read or is of another camera, the server refuses or is not there.
    """
    played = Played()
    sent = _Sent()
    async with LineClient(url, sensor="all", token=playing.token, patience_s=10) as client:
        counting = asyncio.create_task(_count(client, played, sent, told))
        try:
            await _play(place, client, playing, played, sent)
            sent.ended = True
            if not await client.drain(30):
                raise LineError(f"{url}: {client.unacknowledged} frames were not taken; see to the server")
            if playing.until_done:
                await _until_quiet(played)
        finally:
            counting.cancel()
            await asyncio.wait([counting])
    if not counting.cancelled() and (fault := counting.exception()) is not None:
        raise fault
    return played


async def _play(place: Path, client: LineClient, playing: Playing, played: Played, sent: "_Sent") -> None:
    description = client.description
    assert description is not None  # known once the client is connected
    tape = await asyncio.to_thread(open_tape, place, description, references=playing.references)
    played.line, played.simulated = description.name, tape.simulated
    rows = max(1, round(description.nir.lines_per_s * playing.block_s))
    dropped = client.dropped_there
    stands = client.state.encoder if client.state is not None else 0
    start = Start(
        timestamp_ns=time.time_ns(),
        encoder=stands + round(_AHEAD_MM * description.belt.counts_per_mm),
        speed=playing.speed,
    )
    for frame in tape.play_references(start):
        await client.send(frame)
    await client.drain(30)
    # Sending the references took a while: the belt starts now.
    start = Start(timestamp_ns=time.time_ns(), encoder=start.encoder, speed=playing.speed)
    clock = asyncio.get_running_loop().time
    began = clock()
    before = 0.0
    while True:
        for due_s, frame in tape.play(start, rows=rows):
            if playing.seconds is not None and before + due_s > playing.seconds:
                played.seconds += due_s * playing.speed
                return
            await _send_at(client, frame, began + before + due_s, played)
            if frame.sensor == "nir":
                sent.note(int(frame.encoder[-1]), clock())
            played.took_s = clock() - began
            played.dropped_frames = client.dropped_there - dropped
        played.seconds += tape.seconds
        before += tape.seconds / playing.speed
        if not playing.loop:
            return
        start = tape.after(start, rows)


async def _send_at(client: LineClient, frame: Frame, due: float, played: Played) -> None:
    clock = asyncio.get_running_loop().time
    early = due - clock()
    if early > 0:
        await asyncio.sleep(early)
    await client.send(frame)
    behind = clock() - due
    played.behind_s = max(played.behind_s, behind)
    played.late_frames += behind > _BEHIND_S
    played.frames += 1
    played.lines += frame.shape[0] if frame.sensor == "nir" else 0


async def _until_quiet(played: Played) -> None:
    """Wait until no piece was decided for a while: the last ones may still be on their way."""
    pieces = -1
    while pieces != played.pieces:
        pieces = played.pieces
        await asyncio.sleep(_QUIET_S)


class _Sent:
    """When which count of the belt went out: to know how long a decision took, seen from here."""

    def __init__(self) -> None:
        self.ended = False  # the tape is over
        self._counts: deque[int] = deque(maxlen=_REMEMBERED)
        self._at: deque[float] = deque(maxlen=_REMEMBERED)

    def note(self, encoder: int, at: float) -> None:
        self._counts.append(encoder)
        self._at.append(at)

    def at(self, encoder: float) -> float | None:
        """When the frame with this count in it went out; None where that is not known any more."""
        place = bisect_left(self._counts, encoder)
        return self._at[place] if 0 < place < len(self._at) else None


async def _count(
    client: LineClient, played: Played, sent: _Sent, told: Callable[[Played, Message], None] | None
) -> None:
    clock = asyncio.get_running_loop().time
    decided: dict[int, Decision] = {}  # a later one for the same piece replaces the first
    async for message in client:
        match message:
            case Decision():
                number = message.piece.number
                if (earlier := decided.pop(number, None)) is not None:
                    played.lanes[earlier.lane] -= 1
                    played.outcomes[earlier.outcome] -= 1
                else:
                    played.pieces += 1
                    played.latency_ms.append(message.latency_ms)
                    line = client.description
                    last = line and line.encoder_at(message.piece.place.last_mm, line.nir.position_mm)
                    if last is not None and (at := sent.at(last)) is not None:
                        played.seen_ms.append((clock() - at) * 1e3)
                decided[number] = message
                played.lanes[message.lane] += 1
                played.outcomes[message.outcome] += 1
                if len(decided) > 1_000:
                    decided.pop(next(iter(decided)))
            case Command():
                played.commands += 1
            case Withdrawal():
                played.withdrawals += 1
            case Alarm():
                if sent.ended and message.code == "camera-silent":
                    continue  # so are the cameras of a tape that is over
                if message.until is None:
                    played.alarms.setdefault(message.code, message.cause)
            case Refused():
                played.refused += 1
                if message.detail not in played.refusals and len(played.refusals) < _TOLD:
                    played.refusals.append(message.detail)
            case Lost():
                played.lost_messages += message.messages
            case _:
                pass
        if told is not None:
            told(played, message)
