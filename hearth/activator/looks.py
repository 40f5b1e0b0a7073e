"""Looks at engines that start, while requests wait for them: each is asked what its readiness probe asks.

A kubelet asks once a second at best, and its answer goes through the API server; a held request waits for less. What
answers here is an engine that is ready in its own words, before the EndpointSlice says so.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any

from hearth.activator.directory import Entry
from hearth.api.key import ServiceKey
from hearth.logs import fields

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
"""From one look at an engine to the next."""
NOBODY_SECONDS = 1.0
"""From one look whether somebody waits to the next: an engine that never becomes ready costs nothing else."""
ANSWER_SECONDS = 1.0
"""How long an answer may take, as a probe of Kubernetes' may by default."""
MAX_LOOKS = 16
"""Engines of one LLMService that are looked at at a time."""

_PATH = re.compile(r"/[!-~]*")  # what can stand in a request's first line


class Looks:
    """`see` an LLMService whenever it changes. `waits(key)` says whether somebody waits for it; `answered(key,
    address)` is called for an engine that is ready; `spawn` runs a coroutine as a task that somebody owns."""

    def __init__(
        self,
        waits: Callable[[ServiceKey], bool],
        answered: Callable[[ServiceKey, str], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._waits = waits
        self._answered = answered
        self._spawn = spawn
        self._starting: dict[ServiceKey, Entry] = {}

    def see(self, key: ServiceKey, entry: Entry | None) -> None:
        """Take an LLMService as it is now: one that has engines which start, and none that is ready, is looked at."""
        if entry is None or entry.ready or not entry.starting or not _PATH.fullmatch(entry.readiness_path):
            self._starting.pop(key, None)
            return
        looked_at = key in self._starting
        self._starting[key] = entry
        if not looked_at:
            self._spawn(self._look(key))

    async def _look(self, key: ServiceKey) -> None:
        """Look until one is ready, or none starts any more."""
        while (entry := self._starting.get(key)) is not None:
            if self._waits(key):
                looks = [self._look_at(entry, address) for address in sorted(entry.starting)[:MAX_LOOKS]]
                await asyncio.gather(*looks)
                await asyncio.sleep(LOOK_SECONDS)
            else:
                await asyncio.sleep(NOBODY_SECONDS)

    async def _look_at(self, entry: Entry, address: str) -> None:
        if await is_ready(address, entry.readiness_path) and entry.key in self._starting:
            log.info("engine answers before it is listed", extra=fields(service=entry.name, address=address))
            self._answered(entry.key, address)


async def is_ready(address: str, path: str) -> bool:
    """Whether a GET of `path` at host:port is answered with 200 to 399, which a kubelet takes for a success."""
    host, _, port = address.rpartition(":")
    writer = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readline()
    except (OSError, TimeoutError, ValueError):  # ValueError: a line without an end
        return False
    finally:
        if writer is not None:
            writer.transport.abort()
    return re.match(rb"HTTP/1\.[01] [23]\d\d[ \r]", line) is not None
