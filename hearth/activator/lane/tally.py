"""What the requests of one LLMService came to since this process began.

Plain numbers, since they are counted in front of every token: Prometheus reads them when it asks.
"""

from collections import Counter

from hearth.metrics import BUCKETS, Timings

REASONS = (
    *("queue_full", "activation_timeout", "model_starting", "model_asleep", "model_deleted", "activator_stopping"),
    *("engine_failed", "engine_timeout", "overloaded", "internal_error", "rate_limit_exceeded", "cold_starts_limited"),
)
"""Codes of the errors with which a request of a known LLMService is rejected."""

STATUSES = (200, 400, 404, 429, 500, 502, 503, 504)
"""Of answers that an LLMService's requests get: the engine's usual ones, and those of Hearth's own errors. Others are
shown by their hundred, such as 5xx."""


class Tally:
    """`cold` are requests that were let in while no replica was ready, `starts` are cold starts that a request asked
    for; `held` and `first_byte` are of requests.

    Every series that can be named beforehand is there from the start: one that begins with its first count has no rate
    there."""

    __slots__ = (
        *("admitted", "broken", "bytes", "cold", "events", "first_byte", "heartbeats", "held", "left"),
        *("rejected", "responses", "retries", "starts"),
    )

    def __init__(self) -> None:
        self.admitted = 0
        self.cold = 0
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
