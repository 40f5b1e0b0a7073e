"""What outsiders can make a server hold: how much, how many, and for how long.

One budget counts the bytes of all requests' bodies that are kept at a time; each request's own limits stand beside it.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one server's connections. Bytes, counts, seconds.

    A connection that asks nothing is closed after `silent_seconds`, one that has asked after `keep_alive_seconds`:
    longer than pools and load balancers keep theirs, since what they send to one that closes is lost. A body must come
    at `body_rate` bytes a second in each `body_seconds`; a client that does not read what is written to it is cut off
    after `write_seconds`.
    """

    body_bytes: int = 64 * 2**20
    head_bytes: int = 64 * 1024
    fields: int = 200
    pipelined: int = 64
    connections: int = 100_000
    head_seconds: float = 30.0
    body_seconds: float = 30.0
    body_rate: float = 1024.0
    silent_seconds: float = 75.0
    keep_alive_seconds: float = 620.0
    write_seconds: float = 300.0
    linger_seconds: float = 3.0


LARGE: Final = 2**20
"""Bytes of one body from which on it shares half of the budget with all other large ones: a few of them, half sent,
leave room for everybody else's."""


class Budget:
    """Bytes that may be held at a time, by everybody together."""

    __slots__ = ("large", "limit", "refused", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.large = 0
        self.refused = 0

    def take(self, size: int, held: int) -> bool:
        """Hold so many bytes more of a body that holds `held` already; False, and nothing is held, where they are too
        many."""
        large = max(0, held + size - LARGE) - max(0, held - LARGE)
        if self.used + size > self.limit or (large and self.large + large > self.limit // 2):
            self.refused += 1
            return False
        self.used += size
        self.large += large
        return True

    def take_back(self, size: int) -> None:
        """Hold again what has just been given."""
        self.used += size
        self.large += max(0, size - LARGE)

    def give(self, size: int) -> None:
        """A body of so many bytes is held no longer."""
        self.used -= size
        self.large -= max(0, size - LARGE)
