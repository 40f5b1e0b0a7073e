"""The demand picture: what all activators together say about each LLMService.

Pure state. It takes what was heard and a monotonic clock, and says whom to tell. It knows nothing of gRPC or KEDA.
Blind is not zero: what an activator said last stands for `STANDS_SECONDS`; after that, nobody may conclude from its
silence that there is no demand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hearth.api.key import ServiceKey

__all__ = ["Blind", "Demand", "DemandPicture", "Figures", "ServiceKey"]

STANDS_SECONDS = 10.0


class Blind(Exception):
    """A listed activator cannot be heard and the others report no demand: zero would be a guess."""


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

    waiting: int
    in_flight: int
    lease: bool

    @property
    def queue_depth(self) -> int:
        return self.waiting + self.in_flight

    @property
    def active(self) -> bool:
        return self.queue_depth > 0 or self.lease


@dataclass(slots=True)
class _Activator:
    heard_at: float | None = None
    instance: str = ""
    figures: dict[ServiceKey, Figures] = field(default_factory=dict)


class DemandPicture:
    """What each listed activator said last, and when."""

    def __init__(self) -> None:
        self._activators: dict[str, _Activator] = {}
        self._listed = False

    @property
    def addresses(self) -> list[str]:
        """The activators that are listed now."""
        return list(self._activators)

    def list_activators(self, addresses: Iterable[str]) -> list[ServiceKey]:
        """Take the complete list of activators. Those that left take their figures with them at once.

        Returns the services whose demand ended with them. Before the first list everything is blind.
        """
        self._listed = True
        wanted = set(addresses)
        ended: list[ServiceKey] = []
        for address in [known for known in self._activators if known not in wanted]:
            gone = self._activators.pop(address)
            ended += [key for key, figures in gone.figures.items() if figures.active and not self._active(key)]
        for address in wanted - self._activators.keys():
            self._activators[address] = _Activator()
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
        counts: dict[ServiceKey, int] | None = None  # of the first update that is heard, nothing is news
        if activator.heard_at is not None:
            same = activator.instance == instance
            counts = {key: known.requests for key, known in activator.figures.items()} if same else {}
        activator.heard_at, activator.instance = now, instance
        affected = set(figures) | (set(activator.figures) if snapshot else set())
        before = {key: self._active(key) for key in affected}
        if snapshot:
            activator.figures = dict(figures)
        else:
            activator.figures.update(figures)
        pulses: list[ServiceKey] = []
        for key in sorted(affected):
            active = self._active(key)
            asked = activator.figures.get(key, Figures()).requests
            came_and_went = not active and counts is not None and asked > counts.get(key, 0)
            if active != before[key] or came_and_went:
                pulses.append(key)
        for key in [key for key, known in activator.figures.items() if known.gone]:
            del activator.figures[key]
        return pulses

    def demand(self, key: ServiceKey, now: float) -> Demand:
        """The demand for one LLMService. Raises Blind where it may be more than is known and what is known is zero."""
        waiting = in_flight = 0
        lease = False
        blind = self.unheard(now)
        for address, activator in self._activators.items():
            if address not in blind and (figures := activator.figures.get(key)):
                waiting += figures.waiting
                in_flight += figures.in_flight
                lease = lease or figures.lease
        demand = Demand(waiting, in_flight, lease)
        if blind and not demand.active:
            raise Blind(f"activators not heard: {', '.join(sorted(blind))}; their demand is unknown, not zero")
        return demand

    def services(self) -> list[ServiceKey]:
        """Every LLMService that some activator has told of."""
        return sorted({key for activator in self._activators.values() for key in activator.figures})

    def unheard(self, now: float) -> list[str]:
        """Who is listed and not heard; while there are any, zero would be a guess."""
        missing = [] if self._listed else ["no list of activators yet"]
        return missing + [address for address, seconds in self.silence(now).items() if seconds > STANDS_SECONDS]

    def silence(self, now: float) -> dict[str, float]:
        """Seconds since each activator was heard last; infinite where it never was."""
        return {
            address: float("inf") if activator.heard_at is None else now - activator.heard_at
            for address, activator in self._activators.items()
        }

    def _active(self, key: ServiceKey) -> bool:
        return any(key in a.figures and a.figures[key].active for a in self._activators.values())
