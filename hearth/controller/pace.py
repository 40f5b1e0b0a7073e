"""How often the same thing is written: many times at once, then now and then. Pure: `now` is a monotonic clock's.

A status follows what happens. Where two write one, each write of the one is news for the other, without end.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BURST, EACH_SECONDS = 40, 3.0
"""A model that is woken, served and put to sleep writes about ten statuses."""


class Pace(Generic[K]):
    """A bucket of tokens for each key."""

    def __init__(self, burst: int = BURST, each_seconds: float = EACH_SECONDS) -> None:
        self._ahead = burst * each_seconds
        self._each = each_seconds
        self._paid: dict[K, float] = {}  # when all that was taken is paid for

    def wait(self, key: K, now: float) -> float:
        """Take one: 0, or the seconds until there is one, and none is taken."""
        paid = max(self._paid.get(key, now), now) + self._each
        if paid - now > self._ahead:
            return paid - now - self._ahead
        self._paid[key] = paid
        return 0.0

    def forget(self, key: K) -> None:
        self._paid.pop(key, None)
