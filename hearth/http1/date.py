"""The Date field (RFC 9110, 6.6.1), made once a second."""

import time
from email.utils import formatdate

_made: tuple[int, bytes] = (0, b"")


def date_line() -> bytes:
    """`date: …` with its line break."""
    global _made  # noqa: PLW0603 - a cache of one
    now = int(time.time())
    if _made[0] != now:
        _made = (now, b"date: " + formatdate(now, usegmt=True).encode() + b"\r\n")
    return _made[1]
