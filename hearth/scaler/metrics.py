"""What a scaler tells Prometheus. Labels are of LLMServices that some activator told of, whatever KEDA asks about."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

from hearth.api.key import ServiceKey
from hearth.metrics import FAST_BUCKETS, SERVICE_LABELS, Collected, Metric
from hearth.scaler.picture import Blind, DemandPicture
from hearth.scaler.pulses import Pulses

QUEUE_DEPTH = Metric(
    "gauge",
    "hearth_scaler_queue_depth",
    "queueDepth as this scaler would tell KEDA now: the requests that wait or are in flight in all activators. While "
    "one of them is not heard: the least that it may be, and not there if that is zero.",
    SERVICE_LABELS,
)
ACTIVE = Metric(
    "gauge",
    "hearth_scaler_active",
    "1 while the scaler tells KEDA that there is demand (a cold start that was asked for counts too), else 0.",
    SERVICE_LABELS,
)
TARGET = Metric(
    "gauge",
    "hearth_scaler_target",
    "scaling.target as KEDA said it when it asked last: the queueDepth that one replica is meant for.",
    SERVICE_LABELS,
)
TOLD = Metric(
    "gauge",
    "hearth_scaler_told_queue_depth",
    "queueDepth that the scaler answered when KEDA asked last.",
    SERVICE_LABELS,
)
STREAMS = Metric(
    "gauge", "hearth_scaler_streams", "StreamIsActive streams that KEDA has open to this scaler.", SERVICE_LABELS
)
PUSHES = Metric(
    "counter", "hearth_scaler_pushes_total", 'Times that the scaler pushed "active" to KEDA.', SERVICE_LABELS
)
PUSH = Metric(
    "histogram",
    "hearth_scaler_push_seconds",
    "Seconds from hearing a change of demand until gRPC has taken the push.",
    buckets=FAST_BUCKETS,
)
SILENCE = Metric(
    "gauge",
    "hearth_scaler_demand_age_seconds",
    "Seconds since the scaler heard an activator, which speaks each second; +Inf: never. Above 10 the scaler is blind.",
    ("activator",),
)
BLIND = Metric(
    "gauge",
    "hearth_scaler_blind",
    "1 while the scaler does not hear an activator that is listed, so that it tells nobody zero; else 0.",
)
BLIND_ANSWERS = Metric(
    "counter",
    "hearth_scaler_blind_answers_total",
    "Questions of KEDA that the scaler answered with UNAVAILABLE because it was blind.",
)

METRICS = [QUEUE_DEPTH, ACTIVE, TARGET, TOLD, STREAMS, PUSHES, PUSH, SILENCE, BLIND, BLIND_ANSWERS]


class ScalerMetrics:
    """Reads picture and pulses when Prometheus asks; `told` notes what KEDA was told."""

    def __init__(
        self, registry: CollectorRegistry, picture: DemandPicture, pulses: Pulses, clock: Callable[[], float]
    ) -> None:
        self.push = PUSH.histogram(registry)
        self.blind_answers = 0
        self._picture = picture
        self._pulses = pulses
        self._clock = clock
        self._told: dict[ServiceKey, tuple[int, float]] = {}
        registry.register(Collected(self._collect))

    def told(self, key: ServiceKey, depth: int, target: float) -> None:
        """KEDA asked, and got this depth; the target is its own."""
        self._told[key] = (depth, target)

    def _collect(self) -> Iterator[Family]:
        now = self._clock()
        keys = self._picture.services(now)
        self._told = {key: self._told[key] for key in keys if key in self._told}
        self._pulses.forget_all_but(keys)
        demands = {}
        for key in keys:
            try:
                demands[key] = self._picture.demand(key, now)
            except Blind:
                continue  # no figure rather than a guess; BLIND says so
        yield QUEUE_DEPTH.of((key, demand.queue_depth) for key, demand in demands.items())
        yield ACTIVE.of((key, demand.active) for key, demand in demands.items())
        yield TARGET.of((key, target) for key, (_, target) in self._told.items())
        yield TOLD.of((key, depth) for key, (depth, _) in self._told.items())
        yield STREAMS.of((key, self._pulses.listeners(key)) for key in keys)
        yield PUSHES.of((key, self._pulses.pushed[key]) for key in keys)
        silence = self._picture.silence(now)
        yield SILENCE.of(((address,), seconds) for address, seconds in silence.items())
        yield BLIND.of([((), bool(self._picture.unheard(now)))])
        yield BLIND_ANSWERS.of([((), self.blind_answers)])
