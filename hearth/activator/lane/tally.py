"""What the requests of one LLMService came to since this process began.

Plain numbers, since they are counted in front of every token: Prometheus reads them when it asks.
"""

from collections import Counter

from prometheus_client import Histogram

REASONS = (
    *("queue_full", "activation_timeout", "model_starting", "model_asleep", "model_deleted", "activator_stopping"),
    *("engine_failed", "overloaded", "internal_error"),
)
"""Codes of the errors with which a request of a known LLMService is rejected."""


class Tally:
    """`held`, `first_byte`, `cold_start` (seconds) and `phase` (seconds, labelled by phase) are histograms."""

    __slots__ = (
        *("admitted", "broken", "bytes", "cold_start", "events", "first_byte", "heartbeats", "held", "left"),
        *("phase", "rejected", "responses", "retries"),
    )

    def __init__(
        self, held: Histogram, first_byte: Histogram, cold_start: Histogram, phase: dict[str, Histogram]
    ) -> None:
        self.admitted = 0
        # From the start on, since a series that begins with its first count has no rate there.
        self.rejected: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.responses: Counter[int] = Counter({200: 0, 500: 0})
        self.bytes = 0
        self.events = 0
        self.heartbeats = 0
        self.retries = 0
        self.broken = 0
        self.left = 0
        self.held = held
        self.first_byte = first_byte
        self.cold_start = cold_start
        self.phase = phase
