"""Who listens for pushes of which LLMService: one queue for each open StreamIsActive."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hearth.scaler.picture import ServiceKey


class Pulses:
    """Fan-out of "tell KEDA that this is active" to the open streams, and the end of all of them."""

    def __init__(self) -> None:
        self._listeners: dict[ServiceKey, set[asyncio.Queue[bool]]] = defaultdict(set)
        self._closed = False

    @contextmanager
    def listen(self, key: ServiceKey) -> Iterator[asyncio.Queue[bool]]:
        """A queue that gets True for each pulse of `key`, and False once when the scaler shuts down."""
        queue: asyncio.Queue[bool] = asyncio.Queue()
        if self._closed:
            queue.put_nowait(False)
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
            for queue in self._listeners.get(key, ()):
                queue.put_nowait(True)

    def close(self) -> None:
        """End every stream, and those that are opened later."""
        self._closed = True
        for queues in self._listeners.values():
            for queue in queues:
                queue.put_nowait(False)
