"""Who listens for pushes of which LLMService: a function to call for each open StreamIsActive; and who for the end."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from hearth.api.key import ServiceKey

Tell = Callable[[float | None], None]
"""Takes the time of a pulse; None once, when the scaler shuts down."""


class Pulses:
    """Fan-out of "tell KEDA that this is active" to the open streams, and the end of all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._listeners: dict[ServiceKey, list[Tell]] = defaultdict(list)
        self._last: list[Tell] = []
        self._clock = clock
        self.pushed: Counter[ServiceKey] = Counter()
        self._closed = False

    @contextmanager
    def listen(self, key: ServiceKey, tell: Tell) -> Iterator[None]:
        """Call `tell` for each pulse of `key` while the context lasts."""
        try:
            with self._told(self._listeners[key], tell):
                yield
        finally:
            if not self._listeners[key]:
                del self._listeners[key]

    @contextmanager
    def until_closed(self, tell: Tell) -> Iterator[None]:
        """Call `tell` with None when the scaler shuts down, while the context lasts; of pulses it hears nothing."""
        with self._told(self._last, tell):
            yield

    @contextmanager
    def _told(self, among: list[Tell], tell: Tell) -> Iterator[None]:
        if self._closed:
            tell(None)
        among.append(tell)
        try:
            yield
        finally:
            among.remove(tell)

    def pulse(self, keys: Iterable[ServiceKey]) -> None:
        """Push true on every open stream of each service."""
        for key in keys:
            for tell in self._listeners.get(key, ()):
                self.pushed[key] += 1
                tell(self._clock())

    def forget_all_but(self, keys: Iterable[ServiceKey]) -> None:
        """Of other services the count of pushes is of no more use."""
        kept = set(keys)
        for key in [key for key in self.pushed if key not in kept]:
            del self.pushed[key]

    def listeners(self, key: ServiceKey) -> int:
        """Open streams of a service."""
        return len(self._listeners.get(key, ()))

    def close(self) -> None:
        """End every stream, and those that are opened later."""
        self._closed = True
        for listeners in (*self._listeners.values(), self._last):
            for tell in listeners:
                tell(None)
