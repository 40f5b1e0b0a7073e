"""How long a cold start will still take, learned from earlier ones of the same LLMService, phase by phase.

Pure: no clock of its own, times in seconds. What earlier starts took is a history, the latest last: for each start the
seconds of its phases. The controller keeps it in an LLMService's status; the activator reads it there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, get_args

StartPhase = Literal["scheduling", "pulling-image", "starting", "loading"]
"""How far a start is, as the controller writes it to status.coldStart.phase."""

PHASES: tuple[str, ...] = ("requested", *get_args(StartPhase))
"""requested: asked of KEDA, no pod yet; then those."""

REMEMBERED = 5
"""Starts in a history."""

MAX_SECONDS = 31_536_000.0
"""A year: no phase of a start takes as long, and what says so is no history of ours."""

Took = Mapping[str, float]


def typical(history: Iterable[Took]) -> dict[str, float]:
    """What each phase takes: the median, so that one slow start does not spoil it."""
    seen: dict[str, list[float]] = {}
    for took in history:
        for phase, seconds in took.items():
            if phase in PHASES:
                seen.setdefault(phase, []).append(seconds)
    return {phase: median(seconds) for phase, seconds in seen.items()}


def remaining(history: Sequence[Took], phase: str, in_phase: float) -> float | None:
    """Seconds until ready for a start that is `in_phase` seconds in this phase; None before the first one was seen."""
    if not history or phase not in PHASES:
        return None
    usual = typical(history)
    left = max(0.0, usual.get(phase, 0.0) - in_phase)
    return left + sum(seconds for later, seconds in usual.items() if PHASES.index(later) > PHASES.index(phase))


def remembered(history: Sequence[Took], took: Took) -> list[Took]:
    """The history with one more start."""
    return [*history, took][-REMEMBERED:]


@dataclass(slots=True)
class ColdStarts:
    """One LLMService's cold start as an observer with a monotonic clock sees it, and what earlier ones took."""

    history: Sequence[Took] = ()
    phase: str = "requested"
    _began: float | None = None
    _phase_since: float = 0.0
    _took: dict[str, float] = field(default_factory=dict)

    def begin(self, now: float) -> None:
        """A cold start was asked for; nothing happens where one is under way."""
        if self._began is None:
            self._began = self._phase_since = now
            self.phase = "requested"
            self._took = {}

    def enter(self, phase: str, now: float) -> None:
        """The status says another phase. Unknown ones and steps back (a crash while loading) count as they come."""
        if self._began is None or phase == self.phase or phase not in PHASES:
            return
        self._leave_phase(now)
        self.phase, self._phase_since = phase, now

    def ready(self, now: float) -> Took | None:
        """The first replica is ready: remember what each phase took, and return it. None where no start was seen."""
        if self._began is None:
            return None
        self._leave_phase(now)
        self.history = remembered(self.history, self._took)
        self._began = None
        return self._took

    def abandon(self) -> None:
        """The start brought nothing and is over: nothing is learned from it."""
        self._began = None

    def elapsed(self, now: float) -> float:
        """Seconds since the cold start that is under way was asked for."""
        return 0.0 if self._began is None else now - self._began

    def remaining(self, now: float) -> float | None:
        """Seconds until ready, as far as earlier starts tell; None before the first one was seen."""
        return None if self._began is None else remaining(self.history, self.phase, now - self._phase_since)

    def expected(self) -> float | None:
        """Seconds that a whole start takes, as far as earlier ones tell; None before the first one was seen."""
        return sum(typical(self.history).values()) if self.history else None

    def _leave_phase(self, now: float) -> None:
        self._took[self.phase] = self._took.get(self.phase, 0.0) + now - self._phase_since
