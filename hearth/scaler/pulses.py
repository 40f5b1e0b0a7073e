"""Who listens for pushes of which LLMService: one queue for each open StreamIsActive."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from hearth.scaler.picture import ServiceKey


class Pulses:
    """Fan-out of "tell KEDA that this is active" to the open streams, and the end of all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._listeners: dict[ServiceKey, set[asyncio.Queue[float | None]]] = defaultdict(set)
        self._clock = clock
        self.pushed: Counter[ServiceKey] = Counter()
        self._closed = False

    @contextmanager
    def listen(self, key: ServiceKey) -> Iterator[asyncio.Queue[float | None]]:
        """A queue that gets the time of each pulse of `key`, and None once when the scaler shuts down."""
        queue: asyncio.Queue[float | None] = asyncio.Queue()
        if self._closed:
            queue.put_nowait(None)
        self._listeners[key].add(queue)
        try:
            yield queue
        finally:
            self._listeners[key].discard(queue)
            if not self._listeners[key]:
                del self._listeners[key]

    def pulse(self, keys: Iterable[ServiceKey]) -> None:
        """Push true on every open stream of each service."""
        for key in keys:
            self.pushed[key] += 1
            for queue in self._listeners.get(key, ()):
                queue.put_nowait(self._clock())

    def listeners(self, key: ServiceKey) -> int:
        """Open streams of a service."""
        return len(self._listeners.get(key, ()))

    def close(self) -> None:
        """End every stream, and those that are opened later."""
        self._closed = True
        for queues in self._listeners.values():
            for queue in queues:
                queue.put_nowait(None)
