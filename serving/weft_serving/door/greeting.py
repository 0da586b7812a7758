"""The first message of a WebSocket: JSON text that says what will come."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import WebSocketDisconnect
from pydantic import ValidationError

from weft_serving.problems import InvalidRequestError, invalid

Greeting = TypeVar("Greeting")


def read_greeting(
    message: Any, validate: Callable[[str], Greeting], *, characters: int, example: str
) -> Greeting:
    """Read it from an ASGI message.

    Raises:
        WebSocketDisconnect: The client went away instead.
        InvalidRequestError: Not text, too long, or not what `validate` takes.
    """
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text: str | None = message.get("text")
    if text is None:
        raise InvalidRequestError(f"the first message was binary; send JSON text first: {example}")
    if len(text) > characters:
        raise InvalidRequestError(f"the first message has {len(text):,} characters; send {example}")
    try:
        return validate(text)
    except ValidationError as error:
        raise invalid(error, need=f"send as the first message {example}") from error
