"""A control loop: events say where to look, a look says what is to be done. The habit of kube-controller-manager.

A look is a plain function that reads the store and writes to it, so that a test can call it without a loop.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from hearth.emulators.store import Event, ObjectStore
from hearth.logs import fields

log = logging.getLogger(__name__)

K = TypeVar("K")


class Looks(Generic[K]):
    """`about(event)` names what an event is about; `look(key)` is called for each of these, one after the other."""

    def __init__(
        self,
        store: ObjectStore,
        about: Callable[[Event], Iterable[K]],
        look: Callable[[K], None],
        first: Iterable[K] = (),
    ) -> None:
        self._store = store
        self._about = about
        self._look = look
        self._name = look.__qualname__
        self._due: dict[K, None] = dict.fromkeys(first)
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Look until cancelled. A look that fails is logged, and the others go on: one object that is not understood
        must not end the loop for all."""
        stop = self._store.listen(self._hear)
        try:
            while True:
                while self._due:
                    key = next(iter(self._due))
                    del self._due[key]
                    try:
                        self._look(key)
                    except Exception:
                        log.exception("a look failed", extra=fields(loop=self._name, key=key))
                self._woken.clear()
                await self._woken.wait()
        finally:
            stop()

    def _hear(self, event: Event) -> None:
        try:
            about = list(self._about(event))
        except Exception:  # nor may it end the write that is told here
            log.exception("an event was not understood", extra=fields(loop=self._name, resource=event.resource))
            return
        self._due |= dict.fromkeys(about)
        if self._due:
            self._woken.set()
