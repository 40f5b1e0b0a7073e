"""An event loop's time and timers for what runs in callbacks: the test moves the clock."""

import heapq
import itertools
from collections.abc import Callable


class Timer:
    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """What callbacks use of an event loop. `advance` calls what is due, each at its own time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], object]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        return self.call_at(self.now + seconds, call)

    def call_soon(self, call: Callable[[], object]) -> Timer:
        return self.call_at(self.now, call)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                timer.call()
        self.now = end

    @property
    def armed(self) -> int:
        return sum(not timer.cancelled for _, _, timer in self._timers)
