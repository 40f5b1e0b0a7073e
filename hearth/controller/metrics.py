"""What a controller tells Prometheus beside its LLMServices (hearth/fleet.py)."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

from hearth.metrics import FAST_BUCKETS, Collected, Metric

RECONCILE = Metric(
    "histogram",
    "hearth_controller_reconcile_seconds",
    "Seconds that the controller took to look at one LLMService and write what it lacked.",
    buckets=FAST_BUCKETS,
)
ERRORS = Metric(
    "counter",
    "hearth_controller_reconcile_errors_total",
    "Looks at an LLMService that failed; the controller repeats each after a while.",
)
QUEUE = Metric("gauge", "hearth_controller_queue_length", "LLMServices that wait for the controller to look at them.")
LEADER = Metric(
    "gauge", "hearth_controller_leader", "1 in the controller that works, 0 in one that waits for the Lease."
)

KEDA = Metric(
    "gauge",
    "hearth_controller_keda_running",
    "1 while KEDA's operator renews its Lease, or has none, 0 while it does not; told by the controller that works, "
    "once it knows.",
)

METRICS = [RECONCILE, ERRORS, QUEUE, LEADER, KEDA]


class ControllerMetrics:
    """`queue_length`, `leading` and `keda_running` are read when Prometheus asks, the last is None while it is not
    known; `errors` is counted up by who sees one."""

    def __init__(
        self,
        registry: CollectorRegistry,
        queue_length: Callable[[], int],
        leading: Callable[[], bool],
        keda_running: Callable[[], bool | None],
    ) -> None:
        self.reconcile = RECONCILE.histogram(registry)
        self.errors = 0
        self._queue_length = queue_length
        self._leading = leading
        self._keda_running = keda_running
        registry.register(Collected(self._collect))

    def _collect(self) -> Iterator[Family]:
        yield ERRORS.of([((), self.errors)])
        yield QUEUE.of([((), self._queue_length())])
        yield LEADER.of([((), self._leading())])
        running = self._keda_running() if self._leading() else None
        yield KEDA.of([] if running is None else [((), running)])
