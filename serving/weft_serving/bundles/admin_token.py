"""What can be a WEFT_ADMIN_TOKEN: it is sent in a header, so it is of visible ASCII characters."""

import re
from typing import Final

LEAST_CHARACTERS: Final = 8
_SENDABLE: Final = re.compile(r"[!-~]+")


def can_be_sent(token: str) -> bool:
    return _SENDABLE.fullmatch(token) is not None
