"""What the requests of one LLMService came to since this process began.

Plain numbers, since they are counted in front of every token: Prometheus reads them when it asks.
"""

from bisect import bisect_left
from collections import Counter

from hearth.coldstart import PHASES
from hearth.metrics import BUCKETS, START_BUCKETS

REASONS = (
    *("queue_full", "activation_timeout", "model_starting", "model_asleep", "model_deleted", "activator_stopping"),
    *("engine_failed", "overloaded", "internal_error", "rate_limit_exceeded", "cold_starts_limited"),
)
"""Codes of the errors with which a request of a known LLMService is rejected."""

STATUSES = (200, 400, 404, 429, 500, 502, 503)
"""Of answers that an LLMService's requests get: the engine's usual ones, and those of Hearth's own errors."""


class Timings:
    """What something took, in seconds: how often up to each of `bounds` and more than the one before it, last those
    that took longer than all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """It took so long once more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Tally:
    """`held` and `first_byte` are of requests, `cold_start` of starts, `starts` of those that a request asked for;
    `phases` are seconds of starts by phase.

    Every series that can be named beforehand is there from the start: one that begins with its first count has no rate
    there."""

    __slots__ = (
        *("admitted", "broken", "bytes", "cold_start", "events", "first_byte", "heartbeats", "held", "left"),
        *("phases", "rejected", "responses", "retries", "starts"),
    )

    def __init__(self) -> None:
        self.admitted = 0
        self.rejected: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.responses: Counter[int] = Counter(dict.fromkeys(STATUSES, 0))
        self.bytes = 0
        self.events = 0
        self.heartbeats = 0
        self.retries = 0
        self.starts = 0
        self.broken = 0
        self.left = 0
        self.held = Timings(BUCKETS)
        self.first_byte = Timings(BUCKETS)
        self.cold_start = Timings(START_BUCKETS)
        self.phases: dict[str, float] = dict.fromkeys(PHASES, 0.0)
