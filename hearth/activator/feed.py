"""Who wants to hear of every change of an LLMService: pages and `hearth top`, which wake nothing."""

import asyncio
from collections.abc import AsyncGenerator

from hearth.activator.beat import Beat
from hearth.api.key import ServiceKey

COALESCE_SECONDS = 0.2
BEAT_SECONDS = 15.0
MAX_LISTENERS = 100
"""At a time: each costs a document for every change."""


class _Listener:
    def __init__(self) -> None:
        self.dirty: set[ServiceKey] = set()
        self.wake = asyncio.Event()


class Feed:
    """`changed(key)` from anywhere in the event loop; `watched` says whether anybody would hear it."""

    def __init__(self) -> None:
        self.watched = False
        self._listeners: set[_Listener] = set()
        self._closing = False

    @property
    def full(self) -> bool:
        """Whether `MAX_LISTENERS` listen."""
        return len(self._listeners) >= MAX_LISTENERS

    def changed(self, key: ServiceKey) -> None:
        """Something about an LLMService is different now."""
        for listener in self._listeners:
            listener.dirty.add(key)
            listener.wake.set()

    def close(self) -> None:
        """Let every listener go."""
        self._closing = True
        for listener in self._listeners:
            listener.wake.set()

    async def changes(self) -> AsyncGenerator[frozenset[ServiceKey], None]:
        """The keys of what changed, together where it is close together; every `BEAT_SECONDS` an empty set, whatever
        changes: not everybody may hear of it."""
        listener = _Listener()
        self._listeners.add(listener)
        self.watched = True
        try:
            beat = Beat(BEAT_SECONDS)
            while not self._closing:
                if await beat.wait(listener.wake):
                    yield frozenset()
                if not listener.wake.is_set():
                    continue
                await asyncio.sleep(COALESCE_SECONDS)  # what follows at once is told together
                listener.wake.clear()
                dirty, listener.dirty = listener.dirty, set()
                if not self._closing:
                    yield frozenset(dirty)
        finally:
            self._listeners.discard(listener)
            self.watched = bool(self._listeners)
