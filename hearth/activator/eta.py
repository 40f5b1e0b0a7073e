"""How long a cold start will still take, learned from earlier ones of the same LLMService, phase by phase.

Pure state on a monotonic clock, in seconds.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

PHASES = ("requested", "scheduling", "pulling-image", "starting", "loading")
"""requested: asked of KEDA, no pod yet; then as the controller writes them to status.coldStart.phase."""

_REMEMBERED = 5


@dataclass(slots=True)
class ColdStarts:
    """The phases of one LLMService's cold starts: the one that is under way, and how long earlier ones took."""

    _took: dict[str, deque[float]] = field(default_factory=dict)
    _began: float | None = None
    _phase: str = "requested"
    _phase_since: float = 0.0
    _current: dict[str, float] = field(default_factory=dict)

    @property
    def phase(self) -> str:
        return self._phase

    def begin(self, now: float) -> None:
        """A cold start was asked for; nothing happens where one is under way."""
        if self._began is None:
            self._began = self._phase_since = now
            self._phase = "requested"
            self._current = {}

    def enter(self, phase: str, now: float) -> None:
        """The status says another phase. Unknown ones and steps back (a crash while loading) count as they come."""
        if self._began is None or phase == self._phase or phase not in PHASES:
            return
        self._leave_phase(now)
        self._phase, self._phase_since = phase, now

    def ready(self, now: float) -> None:
        """The first replica is ready: remember what each phase took."""
        if self._began is None:
            return
        self._leave_phase(now)
        for phase, seconds in self._current.items():
            self._took.setdefault(phase, deque(maxlen=_REMEMBERED)).append(seconds)
        self._began = None

    def abandon(self) -> None:
        """The start brought nothing and is over: nothing is learned from it."""
        self._began = None

    def elapsed(self, now: float) -> float:
        """Seconds since the cold start that is under way was asked for."""
        return 0.0 if self._began is None else now - self._began

    def remaining(self, now: float) -> float | None:
        """Seconds until ready, as far as earlier starts tell; None before the first one was seen."""
        if self._began is None or not self._took:
            return None
        here = PHASES.index(self._phase)
        typical = {phase: median(seconds) for phase, seconds in self._took.items()}
        left = max(0.0, typical.get(self._phase, 0.0) - (now - self._phase_since))
        return left + sum(seconds for phase, seconds in typical.items() if PHASES.index(phase) > here)

    def _leave_phase(self, now: float) -> None:
        self._current[self._phase] = self._current.get(self._phase, 0.0) + now - self._phase_since
