"""The Secrets that hold API keys, each watched by its name: what is in it reaches the keyring within moments.

A watch by name is what a Role may allow for this one Secret (a list or watch whose field selector names one object is a
right on that object). One that can't be read (it is not allowed yet, or the API server is away) is tried again. What is
in one is read in a thread, one Secret after the other: thousands of keys take longer than a stream may wait.
"""

import asyncio
import logging

from hearth.activator.keyring import Keyring, ReadSecret
from hearth.api.keys import MIN_KEY_BYTES
from hearth.faults import contained
from hearth.kube.client import KubeClient
from hearth.kube.informer import Informer
from hearth.kube.kinds import SECRET
from hearth.kube.objects import KubeObject, ObjectKey, key_of
from hearth.logs import fields

log = logging.getLogger(__name__)


class KeyWatch:
    """Watches what the keyring wants, from `start` to `stop`."""

    def __init__(self, kube: KubeClient, keyring: Keyring) -> None:
        self._kube = kube
        self._keyring = keyring
        self._news: dict[tuple[str, str], KubeObject | None] = {}
        self._reader: asyncio.Task[None] | None = None
        self._watched: dict[tuple[str, str], tuple[Informer, asyncio.Task[None]]] = {}

    def start(self) -> None:
        """Watch what is wanted now and from now on."""
        self._keyring.on_wanted = self._wanted
        for at in self._keyring.wanted:
            self._wanted(at, True)

    async def stop(self) -> None:
        """Watch nothing any more."""
        self._keyring.on_wanted = lambda at, wanted: None
        tasks = [*(task for _, task in self._watched.values()), *([self._reader] if self._reader else [])]
        self._watched.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settled(self, seconds: float) -> None:
        """Wait until every Secret that is wanted now has been looked for, no longer than this."""
        looks = [asyncio.ensure_future(informer.synced.wait()) for informer, _ in self._watched.values()]
        if looks:
            _, late = await asyncio.wait(looks, timeout=seconds)
            for look in late:
                look.cancel()
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=seconds)

    def _wanted(self, at: tuple[str, str], wanted: bool) -> None:
        if wanted:
            namespace, name = at
            log.info("watching a Secret of API keys", extra=fields(secret=f"{namespace}/{name}"))
            informer = Informer(
                self._kube, SECRET.within(namespace), self._changed, field_selector=f"metadata.name={name}", kept=_data
            )
            self._watched[at] = informer, asyncio.get_running_loop().create_task(_follow(at, informer))
        elif (watched := self._watched.pop(at, None)) is not None:
            watched[1].cancel()

    def _changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        if key in self._watched:
            self._news[key] = item
            if self._reader is None or self._reader.done():
                self._reader = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        while self._news:
            at, item = self._news.popitem()
            with contained("object", path=SECRET.api, object="/".join(at)):
                read = await asyncio.to_thread(self._keyring.read, item) if item is not None else None
                if at in self._watched and at not in self._news:  # another one, meanwhile
                    for _ in self._keyring.taking(at, read):
                        await asyncio.sleep(0)  # streams go on
                    _tell(at, read)


async def _follow(at: tuple[str, str], informer: Informer) -> None:
    """Run an informer, and tell where it finds nothing: of what is not there no change tells."""
    running = asyncio.ensure_future(informer.run())
    try:
        await informer.synced.wait()
        if not informer.objects:
            _tell(at, None)
        await running
    finally:
        running.cancel()


def _tell(at: tuple[str, str], read: ReadSecret | None) -> None:
    about = {"secret": "/".join(at)}
    if read is None:
        log.warning("a Secret of API keys is not there", extra=fields(**about))
    else:
        counts = {entry: len(found.keys) for entry, found in read.items()}
        if any(counts.values()):
            log.info("a Secret of API keys was read", extra=fields(**about, keys=counts))
        else:
            log.warning(
                f"a Secret of API keys has none: expected one a line, of {MIN_KEY_BYTES} bytes or more",
                extra=fields(**about, keys=counts),
            )


def _data(secret: KubeObject) -> KubeObject:
    """What counts of a Secret: an API server has a copy of it in an annotation, too, where kubectl applied it."""
    key = key_of(secret)
    return {"metadata": {"namespace": key.namespace, "name": key.name}, "data": secret.get("data")}
