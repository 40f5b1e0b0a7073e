"""The LLMServices that there are, as their keeper, the controller, tells Prometheus of them.

Every LLMService is told of from the first look at it, one that nothing can serve too. Accelerators are counted by the
clock: each is held from the moment that a pod has a node until that pod has ended, and beside it runs what the same
model would cost without Hearth, on for ever with max(scaling.min, 1) replicas. One controller works at a time, so that
what happens once, a cold start, is counted once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

from hearth.api.key import ServiceKey
from hearth.api.llmservice import LLMService
from hearth.api.status import Phase
from hearth.coldstart import StartPhase, Took
from hearth.metrics import SERVICE_LABELS, START_BUCKETS, Collected, Metric, Timings

PHASES: tuple[Phase, ...] = get_args(Phase)
START_PHASES: tuple[StartPhase, ...] = get_args(StartPhase)

PHASE = Metric(
    "gauge", "hearth_llmservice_phase", "1 for the phase that the LLMService is in, else 0.", (*SERVICE_LABELS, "phase")
)
NOT_READY = Metric(
    "gauge",
    "hearth_llmservice_not_ready",
    "1 where the condition Ready is False until somebody acts; `reason` is that condition's. Not there otherwise.",
    (*SERVICE_LABELS, "reason"),
)
REPLICAS = Metric(
    "gauge",
    "hearth_llmservice_replicas",
    "Replicas that KEDA and the HPA want: spec.replicas of its Deployment.",
    SERVICE_LABELS,
)
PLACED = Metric(
    "gauge",
    "hearth_llmservice_placed_replicas",
    "Pods that have a node, and so hold the accelerators of a replica: starting and ending ones too, and a prewarm's.",
    SERVICE_LABELS,
)
PAUSED = Metric(
    "gauge",
    "hearth_llmservice_paused",
    "1 while an annotation of its ScaledObject keeps KEDA from starting replicas, else 0.",
    SERVICE_LABELS,
)
READY = Metric(
    "gauge",
    "hearth_llmservice_ready_replicas",
    "Replicas that are ready: readyReplicas of its Deployment.",
    SERVICE_LABELS,
)
MINIMUM = Metric("gauge", "hearth_llmservice_min_replicas", "The LLMService's scaling.min.", SERVICE_LABELS)
MAXIMUM = Metric("gauge", "hearth_llmservice_max_replicas", "The LLMService's scaling.max.", SERVICE_LABELS)
TARGET = Metric(
    "gauge",
    "hearth_llmservice_target",
    "The LLMService's scaling.target: the queueDepth that one replica is meant for.",
    SERVICE_LABELS,
)
ACCELERATORS = Metric(
    "gauge", "hearth_llmservice_accelerators", "Accelerators that one replica asks for.", SERVICE_LABELS
)
STARTS = Metric(
    "histogram",
    "hearth_llmservice_cold_start_seconds",
    "Seconds that a cold start took, from the scale-up to the first ready replica; each start is counted once.",
    SERVICE_LABELS,
    START_BUCKETS,
)
STARTS_BY_PHASE = Metric(
    "counter",
    "hearth_llmservice_cold_start_phase_seconds_total",
    f"Seconds that the starts of `hearth_llmservice_cold_start_seconds` spent in a phase: {', '.join(START_PHASES)}.",
    (*SERVICE_LABELS, "phase"),
)
VAIN_STARTS = Metric(
    "counter",
    "hearth_llmservice_cold_starts_in_vain_total",
    "Cold starts that went back to zero before a replica was ready.",
    SERVICE_LABELS,
)
USED = Metric(
    "counter",
    "hearth_llmservice_accelerator_hours_total",
    "Accelerator-hours that pods held, from their node to their end.",
    SERVICE_LABELS,
)
SAVED = Metric(
    "counter",
    "hearth_llmservice_accelerator_hours_saved_total",
    "Accelerator-hours that were not held, where max(scaling.min, 1) replicas would have been always on.",
    SERVICE_LABELS,
)
PRICE = Metric(
    "gauge",
    "hearth_accelerator_price_per_hour",
    "Price of one accelerator for an hour, as --accelerator-price gives it; not there where it is not given.",
)

METRICS = [
    *(PHASE, NOT_READY, PAUSED, REPLICAS, READY, PLACED, MINIMUM, MAXIMUM, TARGET, ACCELERATORS, STARTS),
    *(STARTS_BY_PHASE, VAIN_STARTS, USED, SAVED, PRICE),
]

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an LLMService's spec asks for."""

    minimum: int = 0
    maximum: int = 0
    target: float = 0.0
    accelerators: float = 0.0

    @classmethod
    def of(cls, service: LLMService) -> "Wanted":
        scaling = service.spec.scaling
        return cls(scaling.min, scaling.max, scaling.target, service.spec.resources.accelerators)


@dataclass(frozen=True, slots=True)
class Seen:
    """One LLMService as it was seen last. `replicas` are wanted, `placed` have a node; `not_ready` is the reason for
    which it is not ready until somebody acts, "" where there is none."""

    phase: Phase
    replicas: int = 0
    ready: int = 0
    placed: int = 0
    paused: bool = False
    not_ready: str = ""


@dataclass(slots=True)
class Starts:
    """Cold starts of one LLMService since this process began to look after it."""

    seconds: Timings = field(default_factory=lambda: Timings(START_BUCKETS))
    phases: dict[str, float] = field(default_factory=lambda: dict.fromkeys(START_PHASES, 0.0))
    vain: int = 0

    def ended(self, took: Took) -> None:
        """One brought a replica."""
        self.seconds.observe(sum(took.values()))
        for phase, seconds in took.items():
            if phase in self.phases:
                self.phases[phase] += seconds


@dataclass(slots=True)
class Meter:
    """Accelerator-hours of one LLMService, up to `at`. Pure: times are given, in seconds of a monotonic clock."""

    at: float
    used: float = 0.0
    saved: float = 0.0

    def run(self, seen: Seen, wanted: Wanted, now: float) -> None:
        """It was so from `at` until `now`."""
        hours, self.at = max(0.0, now - self.at) / _HOUR, now
        always_on = max(wanted.minimum, 1)
        self.used += hours * seen.placed * wanted.accelerators
        self.saved += hours * max(0, always_on - seen.placed) * wanted.accelerators


@dataclass(slots=True)
class _Member:
    seen: Seen
    wanted: Wanted
    meter: Meter
    starts: Starts = field(default_factory=Starts)


@dataclass
class Fleet:
    """`see` each LLMService when something about it may have changed, `forget` it when it is gone."""

    clock: Callable[[], float]
    price: float | None = None
    _members: dict[ServiceKey, _Member] = field(default_factory=dict)

    def register(self, registry: CollectorRegistry) -> "Fleet":
        """Tell these metrics in `registry`."""
        registry.register(Collected(self._collect))
        return self

    def see(self, key: ServiceKey, seen: Seen, wanted: Wanted | None) -> None:
        """It is so now; what it was before counted until now. `wanted` is None where its spec can't be read: what it
        asked for before stands."""
        now = self.clock()
        member = self._members.get(key)
        if member is None:
            self._members[key] = _Member(seen, wanted or Wanted(), Meter(now))
            return
        member.meter.run(member.seen, member.wanted, now)
        member.seen, member.wanted = seen, wanted or member.wanted

    def recount(self, key: ServiceKey, replicas: int, ready: int, placed: int) -> None:
        """Its replicas are so many now; whatever else there is about it could not be looked at."""
        if (member := self._members.get(key)) is not None:
            self.see(key, replace(member.seen, replicas=replicas, ready=ready, placed=placed), None)

    def started(self, key: ServiceKey, took: Took | None) -> None:
        """A cold start of one that was seen is over: the seconds of its phases, None where it brought no replica."""
        starts = self._members[key].starts
        if took is None:
            starts.vain += 1
        else:
            starts.ended(took)

    def forget(self, key: ServiceKey) -> None:
        """It is gone, and its series with it."""
        self._members.pop(key, None)

    def _collect(self) -> Iterator[Family]:
        now, fleet = self.clock(), dict(self._members)
        for member in fleet.values():
            member.meter.run(member.seen, member.wanted, now)
        yield PHASE.of(((*key, phase), phase == one.seen.phase) for key, one in fleet.items() for phase in PHASES)
        yield NOT_READY.of(((*key, one.seen.not_ready), 1) for key, one in fleet.items() if one.seen.not_ready)
        yield PAUSED.of((key, one.seen.paused) for key, one in fleet.items())
        yield REPLICAS.of((key, one.seen.replicas) for key, one in fleet.items())
        yield READY.of((key, one.seen.ready) for key, one in fleet.items())
        yield PLACED.of((key, one.seen.placed) for key, one in fleet.items())
        yield MINIMUM.of((key, one.wanted.minimum) for key, one in fleet.items())
        yield MAXIMUM.of((key, one.wanted.maximum) for key, one in fleet.items())
        yield TARGET.of((key, one.wanted.target) for key, one in fleet.items())
        yield ACCELERATORS.of((key, one.wanted.accelerators) for key, one in fleet.items())
        yield STARTS.of_timings((key, one.starts.seconds) for key, one in fleet.items())
        yield STARTS_BY_PHASE.of(
            ((*key, phase), spent) for key, one in fleet.items() for phase, spent in one.starts.phases.items()
        )
        yield VAIN_STARTS.of((key, one.starts.vain) for key, one in fleet.items())
        yield USED.of((key, one.meter.used) for key, one in fleet.items())
        yield SAVED.of((key, one.meter.saved) for key, one in fleet.items())
        if self.price is not None:
            yield PRICE.of([((), self.price)])
