"""Messages of a stream in turn: all of them, or the newest, where a camera's older frames may be overtaken.

Nothing is dropped in silence: messages are numbered as they come, and each turn says how many before it were.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, Field, model_validator

from weft.limits import PHOTO_BYTES
from weft_serving.door.guard import Message, Receive

_MOST_BYTES: Final = PHOTO_BYTES  # of the messages of one stream that wait


class Keeping(BaseModel):
    """What becomes of messages that come faster than they are answered; part of a greeting."""

    keep: Literal["all", "latest"] = "all"
    queue: int | None = Field(default=None, ge=1, le=16)  # messages that may wait; 1 if left out

    @model_validator(mode="after")
    def queue_is_of_the_latest(self) -> "Keeping":
        if self.queue is not None and self.keep == "all":
            raise ValueError('`queue` says how many of the latest may wait; send it with "keep": "latest"')
        return self


class Turn(NamedTuple):
    number: int  # counted from 1 over all messages that came
    dropped: int  # so many just before it were overtaken, and get no answer
    message: Message


async def every(receive: Receive) -> AsyncGenerator[Turn, None]:
    """Every message. The next one is read when this one is answered, so TCP slows down who is too fast."""
    number = 0
    while (message := await receive())["type"] != "websocket.disconnect":
        number += 1
        yield Turn(number, 0, message)


async def newest(
    receive: Receive, *, queue: int, dropped: Callable[[], object]
) -> AsyncGenerator[Turn, None]:
    """The newest messages in their order; the oldest of more than `queue` that wait is overtaken."""
    waiting: deque[tuple[int, Message]] = deque()
    came = asyncio.Event()

    async def read() -> None:
        number = held = 0
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                number += 1
                waiting.append((number, message))
                held = sum(_size(kept) for _, kept in waiting)
                while len(waiting) > queue or (held > _MOST_BYTES and len(waiting) > 1):
                    held -= _size(waiting.popleft()[1])
                    dropped()
                came.set()
        finally:
            waiting.clear()  # nobody is there to be told
            came.set()

    reader = asyncio.create_task(read())
    taken = 0
    try:
        while True:
            await came.wait()
            if not waiting:
                await reader
                return
            number, message = waiting.popleft()
            if not waiting and not reader.done():
                came.clear()
            yield Turn(number, number - taken - 1, message)
            taken = number
    finally:
        reader.cancel()


def _size(message: Any) -> int:
    return len(message.get("bytes") or message.get("text") or b"")
