"""The LLMServices that there are, as their keeper, the controller, tells Prometheus of them.

Accelerators are counted by the clock: each holds for as long as the replica that has it, and beside it runs what the
same model would cost without Hearth, on for ever with max(scaling.min, 1) replicas.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

from hearth.api.key import ServiceKey
from hearth.api.llmservice import LLMService
from hearth.api.status import Phase
from hearth.metrics import SERVICE_LABELS, Collected, Metric

PHASES: tuple[Phase, ...] = get_args(Phase)

PHASE = Metric("gauge", "hearth_llmservice_phase", "1 for the phase that it is in.", (*SERVICE_LABELS, "phase"))
REPLICAS = Metric("gauge", "hearth_llmservice_replicas", "Replicas that KEDA and the HPA want.", SERVICE_LABELS)
PAUSED = Metric(
    "gauge",
    "hearth_llmservice_paused",
    "1 where somebody's annotation keeps KEDA from starting replicas.",
    SERVICE_LABELS,
)
READY = Metric("gauge", "hearth_llmservice_ready_replicas", "Replicas that answer.", SERVICE_LABELS)
MINIMUM = Metric("gauge", "hearth_llmservice_min_replicas", "scaling.min.", SERVICE_LABELS)
MAXIMUM = Metric("gauge", "hearth_llmservice_max_replicas", "scaling.max.", SERVICE_LABELS)
TARGET = Metric("gauge", "hearth_llmservice_target", "scaling.target: queueDepth for each replica.", SERVICE_LABELS)
ACCELERATORS = Metric("gauge", "hearth_llmservice_accelerators", "Accelerators of one replica.", SERVICE_LABELS)
USED = Metric(
    "counter", "hearth_llmservice_accelerator_hours_total", "Accelerator-hours that replicas held.", SERVICE_LABELS
)
SAVED = Metric(
    "counter",
    "hearth_llmservice_accelerator_hours_saved_total",
    "Accelerator-hours that were not held, where max(min, 1) replicas would have been always on.",
    SERVICE_LABELS,
)
PRICE = Metric(
    "gauge",
    "hearth_accelerator_price_per_hour",
    "Of one accelerator, in your currency (--accelerator-price); not there where it is not given.",
)

METRICS = [PHASE, PAUSED, REPLICAS, READY, MINIMUM, MAXIMUM, TARGET, ACCELERATORS, USED, SAVED, PRICE]

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One LLMService as it was seen last."""

    phase: Phase
    replicas: int
    ready: int
    minimum: int
    maximum: int
    target: float
    accelerators: float
    paused: bool = False

    @classmethod
    def of(cls, service: LLMService, phase: Phase, replicas: int, ready: int, *, paused: bool) -> "Seen":
        """What it wants is in its spec; the rest is what is."""
        scaling = service.spec.scaling
        accelerators = service.spec.resources.accelerators
        return cls(phase, replicas, ready, scaling.min, scaling.max, scaling.target, accelerators, paused)


@dataclass(slots=True)
class Meter:
    """Accelerator-hours of one LLMService, up to `at`. Pure: times are given, in seconds of a monotonic clock."""

    at: float
    used: float = 0.0
    saved: float = 0.0

    def run(self, seen: Seen, now: float) -> None:
        """It was so from `at` until `now`."""
        hours, self.at = max(0.0, now - self.at) / _HOUR, now
        always_on = max(seen.minimum, 1)
        self.used += hours * seen.replicas * seen.accelerators
        self.saved += hours * max(0, always_on - seen.replicas) * seen.accelerators


@dataclass
class Fleet:
    """`see` each LLMService when something about it may have changed, `forget` it when it is gone."""

    clock: Callable[[], float]
    price: float | None = None
    _seen: dict[ServiceKey, Seen] = field(default_factory=dict)
    _meters: dict[ServiceKey, Meter] = field(default_factory=dict)

    def register(self, registry: CollectorRegistry) -> "Fleet":
        """Tell these metrics in `registry`."""
        registry.register(Collected(self._collect))
        return self

    def see(self, key: ServiceKey, seen: Seen) -> None:
        """It is so now; what it was before counted until now."""
        now = self.clock()
        if (before := self._seen.get(key)) is not None:
            self._meters[key].run(before, now)
        else:
            self._meters[key] = Meter(now)
        self._seen[key] = seen

    def forget(self, key: ServiceKey) -> None:
        """It is gone, and its series with it."""
        self._seen.pop(key, None)
        self._meters.pop(key, None)

    def _collect(self) -> Iterator[Family]:
        now, fleet = self.clock(), self._seen
        for key, seen in fleet.items():
            self._meters[key].run(seen, now)
        yield PHASE.of(((*key, phase), phase == seen.phase) for key, seen in fleet.items() for phase in PHASES)
        yield PAUSED.of((key, seen.paused) for key, seen in fleet.items())
        yield REPLICAS.of((key, seen.replicas) for key, seen in fleet.items())
        yield READY.of((key, seen.ready) for key, seen in fleet.items())
        yield MINIMUM.of((key, seen.minimum) for key, seen in fleet.items())
        yield MAXIMUM.of((key, seen.maximum) for key, seen in fleet.items())
        yield TARGET.of((key, seen.target) for key, seen in fleet.items())
        yield ACCELERATORS.of((key, seen.accelerators) for key, seen in fleet.items())
        yield USED.of((key, meter.used) for key, meter in self._meters.items())
        yield SAVED.of((key, meter.saved) for key, meter in self._meters.items())
        if self.price is not None:
            yield PRICE.of([((), self.price)])
