"""What an activator tells Prometheus."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

from hearth.activator.allowance import REASONS as KEY_REASONS
from hearth.activator.lane.tally import REASONS, STATUSES
from hearth.api.key import ServiceKey
from hearth.http1.limits import Budget
from hearth.metrics import SERVICE_LABELS, Collected, Metric

if TYPE_CHECKING:
    from hearth.activator.keyring import Keyring
    from hearth.activator.lane.gate import Gate

WAITING = Metric(
    "gauge",
    "hearth_activator_waiting_requests",
    "Requests that the activator holds until a replica has room for them.",
    SERVICE_LABELS,
)
IN_FLIGHT = Metric(
    "gauge",
    "hearth_activator_in_flight_requests",
    "Requests that the activator has sent to a replica and that are not answered to the end.",
    SERVICE_LABELS,
)
MAX_QUEUE = Metric(
    "gauge",
    "hearth_activator_max_queue",
    "The LLMService's endpoint.maxQueue: how many requests may wait or be in flight in one activator.",
    SERVICE_LABELS,
)
ENDPOINTS = Metric(
    "gauge", "hearth_activator_ready_endpoints", "Replicas to which this activator may send requests.", SERVICE_LABELS
)
ADMITTED = Metric(
    "counter",
    "hearth_activator_admitted_requests_total",
    "Requests that the activator let in: it held them, or sent them to a replica at once.",
    SERVICE_LABELS,
)
COLD = Metric(
    "counter",
    "hearth_activator_cold_requests_total",
    "Requests that the activator let in while no replica was ready, so that each waits for a cold start.",
    SERVICE_LABELS,
)
REJECTED = Metric(
    "counter",
    "hearth_activator_rejected_requests_total",
    f"Requests that the activator answered with an error of its own; `reason` is its code: {', '.join(REASONS)}.",
    (*SERVICE_LABELS, "reason"),
)
UNROUTED = Metric(
    "counter",
    "hearth_activator_unrouted_requests_total",
    "Requests that belong to no LLMService that is known, or lack a key for it; `reason` is the code of their error.",
    ("reason",),
)
RESPONSES = Metric(
    "counter",
    "hearth_activator_responses_total",
    "Answers by status code: the engine's, or that of an error of Hearth's, even if heartbeats began with 200; "
    "an unusual one by its hundred, such as 5xx.",
    (*SERVICE_LABELS, "code"),
)
BYTES = Metric(
    "counter",
    "hearth_activator_relayed_bytes_total",
    "Bytes of answers' bodies that the activator passed on to clients.",
    SERVICE_LABELS,
)
EVENTS = Metric(
    "counter",
    "hearth_activator_relayed_events_total",
    "Server-sent events that the activator passed on to clients; about one for each token.",
    SERVICE_LABELS,
)
HEARTBEATS = Metric(
    "counter",
    "hearth_activator_heartbeats_total",
    "Signs of life that the activator wrote to clients that it held.",
    SERVICE_LABELS,
)
RETRIES = Metric(
    "counter",
    "hearth_activator_retries_total",
    "Times that a request went back into the line because its replica failed before the first byte.",
    SERVICE_LABELS,
)
BROKEN = Metric(
    "counter",
    "hearth_activator_broken_answers_total",
    "Answers that a replica broke off after their first byte.",
    SERVICE_LABELS,
)
LEFT = Metric(
    "counter",
    "hearth_activator_clients_left_total",
    "Requests whose clients left before the answer was complete.",
    SERVICE_LABELS,
)
HELD = Metric(
    "histogram",
    "hearth_activator_held_seconds",
    "Seconds for which the activator held a request that had to wait.",
    SERVICE_LABELS,
)
FIRST_BYTE = Metric(
    "histogram",
    "hearth_activator_time_to_first_byte_seconds",
    "Seconds from a request's arrival to the first byte of the engine's answer.",
    SERVICE_LABELS,
)
STARTS = Metric(
    "counter",
    "hearth_activator_cold_starts_asked_total",
    "Cold starts that a request asked for: those that budgets count.",
    SERVICE_LABELS,
)
ELAPSED = Metric(
    "gauge",
    "hearth_activator_cold_start_elapsed_seconds",
    "Seconds since a request asked for the cold start that is under way; 0 while none is.",
    SERVICE_LABELS,
)
EXPECTED = Metric(
    "gauge",
    "hearth_activator_cold_start_expected_seconds",
    "Seconds that a cold start takes, learned from earlier ones; not there before the first one.",
    SERVICE_LABELS,
)
_KEY_LABELS = ("namespace", "secret", "key")
KEY_REQUESTS = Metric(
    "counter",
    "hearth_activator_key_requests_total",
    "Requests let in by an API key; `namespace` and `secret` are where the key stands, `key` is the beginning of its "
    "name's SHA-256 (`printf %s NAME | sha256sum | head -c 12`), `unnamed` for those without a name.",
    _KEY_LABELS,
)
KEY_TOKENS = Metric(
    "counter", "hearth_activator_key_tokens_total", "Tokens that the requests of an API key took.", _KEY_LABELS
)
KEY_LIMITED = Metric(
    "counter",
    "hearth_activator_key_limited_requests_total",
    f"Requests refused for a limit of their API key; `reason` is the limit's name: {', '.join(KEY_REASONS)}.",
    (*_KEY_LABELS, "reason"),
)
UNREADABLE = Metric(
    "gauge",
    "hearth_activator_unreadable_key_sources",
    "Entries of Secrets that LLMServices or --api-keys name and that have no API keys or can't be read: the activator "
    "lets nobody in there.",
)
BUFFERED = Metric(
    "gauge", "hearth_activator_buffered_bytes", "Bytes of requests' bodies that the activator has in memory."
)
BUDGET = Metric("gauge", "hearth_activator_buffered_bytes_limit", "How many of them it may have: --buffer-bytes.")
OVER_BUDGET = Metric(
    "counter",
    "hearth_activator_over_budget_total",
    "Requests that the activator refused because the bodies of all requests exceed --buffer-bytes.",
)
TURNED_AWAY = Metric(
    "counter",
    "hearth_activator_connections_refused_total",
    "Connections that the activator refused because it had no file descriptor left for them.",
)
STREAMS = Metric(
    "gauge", "hearth_activator_demand_streams", "Streams on which scalers listen to this activator's demand."
)

METRICS = [
    *(
        WAITING,
        IN_FLIGHT,
        MAX_QUEUE,
        ENDPOINTS,
        ADMITTED,
        COLD,
        REJECTED,
        UNROUTED,
        RESPONSES,
        BYTES,
        EVENTS,
        HEARTBEATS,
    ),
    *(RETRIES, BROKEN, LEFT, HELD, FIRST_BYTE, ELAPSED, EXPECTED, STREAMS, BUFFERED, BUDGET),
    *(OVER_BUDGET, TURNED_AWAY, STARTS, UNREADABLE, KEY_REQUESTS, KEY_TOKENS, KEY_LIMITED),
]


UNROUTED_CODES = (
    *("model_not_found", "model_required", "unknown_path", "method_not_allowed", "missing_required_parameter"),
    *("bad_request", "request_too_large", "unsupported_content_encoding", "websocket_not_supported", "head_too_large"),
    *("request_timeout", "http_version_not_supported", "overloaded", "activator_starting", "stopping"),
    *("invalid_api_key", "keys_unreadable", "origin_not_allowed"),
)
"""Codes of the errors with which a request for no LLMService is answered."""


class ActivatorMetrics:
    """Reads the gates when Prometheus asks. `unrouted` counts by the code of an error."""

    def __init__(
        self,
        registry: CollectorRegistry,
        gates: "Mapping[ServiceKey, Gate]",
        now: Callable[[], float],
        streams: Callable[[], int],
        budget: Budget,
        keyring: "Keyring",
    ) -> None:
        self.unrouted: Counter[str] = Counter(dict.fromkeys(UNROUTED_CODES, 0))
        self.turned_away = 0
        self._budget = budget
        self._keyring = keyring
        self._gates = gates
        self._now = now
        self._streams = streams
        registry.register(Collected(self._collect))

    def _collect(self) -> Iterator[Family]:
        gates, now = list(self._gates.items()), self._now()
        yield WAITING.of((key, gate.hold.waiting) for key, gate in gates)
        yield IN_FLIGHT.of((key, gate.hold.in_flight) for key, gate in gates)
        yield MAX_QUEUE.of((key, gate.hold.max_queue) for key, gate in gates)
        yield ENDPOINTS.of((key, len(gate.entry.ready)) for key, gate in gates)
        yield ADMITTED.of((key, gate.tally.admitted) for key, gate in gates)
        yield COLD.of((key, gate.tally.cold) for key, gate in gates)
        yield BYTES.of((key, gate.tally.bytes) for key, gate in gates)
        yield EVENTS.of((key, gate.tally.events) for key, gate in gates)
        yield HEARTBEATS.of((key, gate.tally.heartbeats) for key, gate in gates)
        yield RETRIES.of((key, gate.tally.retries) for key, gate in gates)
        yield BROKEN.of((key, gate.tally.broken) for key, gate in gates)
        yield STARTS.of((key, gate.tally.starts) for key, gate in gates)
        yield LEFT.of((key, gate.tally.left) for key, gate in gates)
        yield REJECTED.of(
            ((*key, reason), count) for key, gate in gates for reason, count in gate.tally.rejected.items()
        )
        yield RESPONSES.of(
            ((*key, code), count) for key, gate in gates for code, count in by_code(gate.tally.responses).items()
        )
        yield HELD.of_timings((key, gate.tally.held) for key, gate in gates)
        yield FIRST_BYTE.of_timings((key, gate.tally.first_byte) for key, gate in gates)
        yield ELAPSED.of((key, gate.cold_starts.elapsed(now)) for key, gate in gates)
        yield EXPECTED.of(
            (key, expected) for key, gate in gates if (expected := gate.cold_starts.expected()) is not None
        )
        yield UNROUTED.of(((reason,), count) for reason, count in self.unrouted.items())
        yield STREAMS.of([((), self._streams())])
        yield BUFFERED.of([((), self._budget.used)])
        yield BUDGET.of([((), self._budget.limit)])
        yield OVER_BUDGET.of([((), self._budget.refused)])
        yield TURNED_AWAY.of([((), self.turned_away)])
        yield UNREADABLE.of([((), self._keyring.unreadable)])
        keys = list(self._keyring.counts.items())
        yield KEY_REQUESTS.of((series, counts.requests) for series, counts in keys)
        yield KEY_TOKENS.of((series, counts.tokens) for series, counts in keys)
        yield KEY_LIMITED.of(
            ((*series, reason), count) for series, counts in keys for reason, count in counts.limited.items()
        )


def by_code(responses: Mapping[int, int]) -> dict[str, int]:
    """By label. What can't be named beforehand has a series all the same, of its hundred: one that begins with its
    first count has no rate there."""
    made = {f"{hundred}xx": 0 for hundred in range(2, 6)}
    for status, count in responses.items():
        code = str(status) if status in STATUSES else f"{status // 100}xx"
        made[code] = made.get(code, 0) + count
    return made
