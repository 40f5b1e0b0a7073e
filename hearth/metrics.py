"""What a role tells Prometheus: how a metric is declared, and what all roles tell.

Each role declares its metrics in a module of its own, as a list from which docs/metrics.md is generated too. Where a
figure is a state that is kept anyway, it is read when Prometheus asks, and costs nothing before.

https://prometheus.io/docs/practices/naming/
"""

import math
import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from hearth import __version__
from hearth.faults import counted
from hearth.logs import dropped_lines

Sample = tuple[Sequence[str], float]
"""The values of a metric's labels, in their order, and its own."""

SERVICE_LABELS = ("namespace", "service")
"""Of an LLMService that is known; a model's name that a client made up is never a label."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds, of a request: from a warm model's first byte to one that waited for a cold start."""

START_BUCKETS = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
"""Seconds, from a model in memory to a large one that is pulled first."""

FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds, of what a control plane does."""


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


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `name` is the one that is exposed, so a counter's ends in _total."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = BUCKETS

    def of(self, samples: Iterable[Sample]) -> Family:
        """A counter or a gauge with these samples."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = kind(self.name.removesuffix("_total"), self.help, labels=self.labels)
        for labels, value in samples:
            family.add_metric(labels, value)
        return family

    def of_timings(self, samples: Iterable[tuple[Sequence[str], Timings]]) -> Family:
        """A histogram of what was counted elsewhere, with these `buckets`."""
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        bounds = [floatToGoString(bound) for bound in (*self.buckets, math.inf)]  # type: ignore[no-untyped-call]
        for labels, timings in samples:
            family.add_metric(labels, list(zip(bounds, accumulate(timings.counts), strict=True)), timings.total)
        return family

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """A histogram that is observed as things happen."""
        return Histogram(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)


class Collected(Collector):
    """Families that are made when Prometheus asks, by a function that reads a state of the event loop's."""

    def __init__(self, families: Callable[[], Iterable[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        yield from self._families()


BUILD_INFO = Metric(
    "gauge",
    "hearth_build_info",
    "Always 1; the labels say which role of which version runs, on which Python.",
    ("role", "version", "python"),
)
FAULTS = Metric(
    "counter",
    "hearth_faults_total",
    "Errors of Hearth's own, each of which ended what the role did for one object, update, timer or request.",
    ("role", "where"),
)


DROPPED_LINES = Metric(
    "counter",
    "hearth_log_lines_dropped_total",
    "Lines of log that the role dropped because nobody read its standard error fast enough.",
    ("role",),
)


class RoleRegistry(CollectorRegistry):
    """A registry that keeps apart what is read from the event loop's state (`states`), and only there, from what any
    thread may read (`observed`)."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[Collected] = []

    def register(self, collector: Collector) -> None:
        """Add a collector."""
        if isinstance(collector, Collected):
            self.states.append(collector)
        else:
            super().register(collector)

    def observed(self) -> Iterable[Family]:
        """What may be read in any thread."""
        return super().collect()

    def collect(self) -> Iterable[Family]:
        """All of it; in the event loop."""
        yield from self.observed()
        for state in self.states:
            yield from state.collect()


def role_registry(role: str) -> RoleRegistry:
    """A registry with what every role tells: its build, its faults, and its process as prometheus-client tells it."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each counter that nobody asks for
    registry = RoleRegistry()
    ProcessCollector(registry=registry)
    info = Gauge(BUILD_INFO.name, BUILD_INFO.help, BUILD_INFO.labels, registry=registry)
    info.labels(role, __version__, platform.python_version()).set(1)
    registry.register(Collected(lambda: [FAULTS.of(((role, where), count) for where, count in counted().items())]))
    registry.register(Collected(lambda: [DROPPED_LINES.of([((role,), dropped_lines())])]))
    return registry
