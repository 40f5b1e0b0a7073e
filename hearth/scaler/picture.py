"""The demand picture: what all activators together say about each LLMService.

Pure state. It takes what was heard and a monotonic clock, and says whom to tell. It knows nothing of gRPC or KEDA.
Blind is not zero, and not less either: while a listed activator is silent for longer than `STANDS_SECONDS`, its last
figures go on counting, and no sum is told that is below the one that was known when everybody was heard. More is told
as ever. So ignorance takes no replica away, and keeps none from coming.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hearth.api.key import ServiceKey
from hearth.kube.endpoints import Listing

__all__ = ["Blind", "Demand", "DemandPicture", "Figures", "ServiceKey"]

STANDS_SECONDS = 10.0
GRACE_SECONDS = 150.0
"""terminationGracePeriodSeconds of the activators in deploy/."""


class Blind(Exception):
    """A listed activator cannot be heard and nothing is known of demand: zero would be a guess."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One activator's demand for one LLMService. `requests`: how many it was asked since its process began;
    `gone`: the LLMService was deleted."""

    waiting: int = 0
    in_flight: int = 0
    lease: bool = False
    requests: int = 0
    gone: bool = False

    @property
    def active(self) -> bool:
        return self.waiting > 0 or self.in_flight > 0 or self.lease


@dataclass(frozen=True, slots=True)
class Demand:
    """The sum over all activators. `queue_depth` is waiting + in flight."""

    waiting: int = 0
    in_flight: int = 0
    lease: bool = False

    @property
    def queue_depth(self) -> int:
        return self.waiting + self.in_flight

    @property
    def active(self) -> bool:
        return self.queue_depth > 0 or self.lease


@dataclass(slots=True)
class _Activator:
    listed_at: float
    patience: float
    heard_at: float | None = None
    instance: str = ""
    figures: dict[ServiceKey, Figures] = field(default_factory=dict)

    def gone(self, now: float) -> bool:
        """Whether it was not heard for so long that nobody can be there, as it is listed."""
        return now - (self.listed_at if self.heard_at is None else self.heard_at) > self.patience


class DemandPicture:
    """What each listed activator said last, and when. `grace_seconds`: for how long one that was told to stop may live,
    its terminationGracePeriodSeconds."""

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._activators: dict[str, _Activator] = {}
        self._listed = False
        self._known: dict[ServiceKey, Demand] | None = None  # while blind: what was known when everybody was heard
        # A node that died leaves its pods terminating for ever: silence beyond their grace says that they are gone.
        self._patience: dict[Listing, float] = {
            "ready": math.inf,
            "terminating": grace_seconds,
            "unready": grace_seconds,
        }

    @property
    def addresses(self) -> list[str]:
        """The activators that are listed now."""
        return list(self._activators)

    def list_activators(self, listed: Mapping[str, Listing], now: float) -> list[ServiceKey]:
        """Take the complete list of activators by their address. Those that left take their figures with them at once.
        Whose readiness probe fails may have answers under way still, if it was heard; one that starts, or keeps
        crashing, holds nobody and is not taken.

        Returns the services whose demand ended with them. Before the first list everything is blind.
        """
        self._look(now)
        self._listed = True
        ended: list[ServiceKey] = []
        wanted = {
            address: self._patience[listing]
            for address, listing in listed.items()
            if listing != "unready" or address in self._activators
        }
        for address in [known for known in self._activators if known not in wanted]:
            gone = self._activators.pop(address)
            ended += [key for key, figures in gone.figures.items() if figures.active and not self._sum(key, now).active]
        for address, patience in wanted.items():
            self._activators.setdefault(address, _Activator(now, patience)).patience = patience
        self._look(now)
        return ended

    def hear(
        self, address: str, figures: Mapping[ServiceKey, Figures], *, snapshot: bool, now: float, instance: str = ""
    ) -> list[ServiceKey]:
        """Take an update of one activator; an activator that is no longer listed is not heard. `instance` is its
        process: another one at the same address has counted its requests from zero.

        Returns the services of which KEDA should hear "active" now: demand began, or ended (KEDA's cooldown counts
        from the last true it saw), or came and went between two updates.
        """
        activator = self._activators.get(address)
        if activator is None:
            return []
        self._look(now)
        counts: dict[ServiceKey, int] | None = None  # of the first update that is heard, nothing is news
        if activator.heard_at is not None:
            same = activator.instance == instance
            counts = {key: known.requests for key, known in activator.figures.items()} if same else {}
        # One that was taken for gone is back with all that it said.
        affected = set(figures) | (set(activator.figures) if snapshot or activator.gone(now) else set())
        before = {key: self._sum(key, now).active for key in affected}
        activator.heard_at, activator.instance = now, instance
        if snapshot:
            activator.figures = dict(figures)
        else:
            activator.figures.update(figures)
        self._look(now)
        pulses: list[ServiceKey] = []
        for key in sorted(affected):
            active = self._sum(key, now).active
            asked = activator.figures.get(key, Figures()).requests
            came_and_went = not active and counts is not None and asked > counts.get(key, 0)
            if active != before[key] or came_and_went:
                pulses.append(key)
        for key in [key for key, known in activator.figures.items() if known.gone]:
            del activator.figures[key]
        return pulses

    def demand(self, key: ServiceKey, now: float) -> Demand:
        """The demand for one LLMService; while blind no less than what was known last. Raises Blind where it may be
        more than is known and what is known is zero."""
        self._look(now)
        demand = self._sum(key, now)
        if self._known is None:
            return demand
        known = self._known.get(key, Demand())
        more = max(demand, known, key=lambda each: each.queue_depth)
        least = replace(more, lease=demand.lease or known.lease)
        if not least.active:
            blind = ", ".join(sorted(self.unheard(now)))
            raise Blind(f"activators not heard: {blind}; their demand is unknown, not zero")
        return least

    def services(self, now: float) -> list[ServiceKey]:
        """Every LLMService that an activator has told of which may still be there."""
        there = [activator for activator in self._activators.values() if not activator.gone(now)]
        return sorted({key for activator in there for key in activator.figures})

    def unheard(self, now: float) -> list[str]:
        """Who is listed and not heard; while there are any, zero would be a guess."""
        missing = [] if self._listed else ["no list of activators yet"]
        return missing + [address for address, seconds in self.silence(now).items() if seconds > STANDS_SECONDS]

    def silence(self, now: float) -> dict[str, float]:
        """Seconds since each activator that is not gone was heard last; infinite where it never was."""
        return {
            address: math.inf if activator.heard_at is None else now - activator.heard_at
            for address, activator in self._activators.items()
            if not activator.gone(now)
        }

    def _look(self, now: float) -> None:
        """Note that blindness began or ended, before anything changes: nothing has since the last look."""
        if not self.unheard(now):
            self._known = None
        elif self._known is None:
            self._known = {key: self._sum(key, now) for key in self.services(now)}

    def _sum(self, key: ServiceKey, now: float) -> Demand:
        """The last figures of everybody who may still be there."""
        waiting = in_flight = 0
        lease = False
        for activator in self._activators.values():
            figures = activator.figures.get(key)
            if figures is not None and not activator.gone(now):
                waiting += figures.waiting
                in_flight += figures.in_flight
                lease = lease or figures.lease
        return Demand(waiting, in_flight, lease)
