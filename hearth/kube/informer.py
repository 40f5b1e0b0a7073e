"""Informer: a collection mirrored by list and watch, with one callback for each object that changed.

Level-triggered: the callback gets the object as it is now, or None where it is gone; what happened in between is
nobody's business. While the API server is down, the mirror keeps what it knows. What is there afterwards is taken as it
is: an etcd that was restored counts its versions anew, and a watch from one that it has not reached says nothing, with
no error. So only a watch that ended in its time goes on from where it was. A callback that raises is about that object
alone: it is called again later and later, while the others go on.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from hearth.backoff import backoff
from hearth.faults import contained
from hearth.kube.client import KubeClient
from hearth.kube.errors import Expired, KubeError
from hearth.kube.objects import KubeObject, ObjectKey, key_of, version_of
from hearth.logs import fields

__all__ = ["Informer", "ObjectKey", "OnChange"]

log = logging.getLogger(__name__)

OnChange = Callable[[ObjectKey, KubeObject | None], None]

_FIRST_RETRY, _LAST_RETRY = 0.2, 5.0  # seconds, of a server that fails: models wait for it
_FIRST_CALL, _LAST_CALL = 0.5, 60.0  # seconds, of a callback that raises
_EARLY = 1.0  # seconds before the time that was asked for: a watch that ends sooner was broken off


class Informer:
    """`objects` is the mirror; `synced` is set once the first list is in it. `kept` is what stays here of an object."""

    def __init__(
        self,
        kube: KubeClient,
        path: str,
        on_change: OnChange,
        label_selector: str = "",
        field_selector: str = "",
        kept: Callable[[KubeObject], KubeObject] = lambda item: item,
    ) -> None:
        self._kube = kube
        self._path = path
        self._on_change = on_change
        self._selectors = label_selector, field_selector
        self._kept = kept
        self._failures: dict[ObjectKey, int] = {}
        self._calls: dict[ObjectKey, asyncio.TimerHandle] = {}
        self.objects: dict[ObjectKey, KubeObject] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """List, watch, and begin again, until cancelled."""
        try:
            await self._follow()
        finally:
            for call in self._calls.values():
                call.cancel()
            self._calls.clear()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        version = ""
        while True:
            with contained("watch", path=self._path):
                try:
                    if not version:
                        listed = await self._kube.list_objects(self._path, *self._selectors)
                        self._replace(listed.items)
                        version = listed.resource_version
                        self.synced.set()
                    # A random length keeps many watches from ending together.
                    seconds = random.randint(240, 360)
                    began = loop.time()
                    changes = self._kube.watch_objects(self._path, version, *self._selectors, seconds)
                    async for kind, item in changes:
                        version = version_of(item) or version
                        failures = 0
                        if kind != "BOOKMARK":
                            self._set(item, gone=kind == "DELETED")
                    if loop.time() - began >= seconds - _EARLY:
                        failures = 0
                        continue
                except Expired:
                    log.info("watch expired, listing anew", extra=fields(path=self._path))
                except KubeError as error:
                    log.warning("API server not reached", extra=fields(path=self._path, reason=str(error)))
            version = ""
            failures += 1
            await asyncio.sleep(backoff(failures, _FIRST_RETRY, _LAST_RETRY))  # of a failing server

    def _replace(self, items: list[KubeObject]) -> None:
        fresh: dict[ObjectKey, KubeObject] = {}
        for item in items:
            with contained("object", path=self._path):
                fresh[key_of(item)] = self._kept(item)
        for key in [key for key in self.objects if key not in fresh]:
            del self.objects[key]
            self._tell(key)
        for key, item in fresh.items():
            if self.objects.get(key) != item:  # not by its version, which another object may have had
                self.objects[key] = item
                self._tell(key)

    def _set(self, item: KubeObject, *, gone: bool) -> None:
        with contained("object", path=self._path):
            key = key_of(item)
            if gone:
                self.objects.pop(key, None)
            else:
                self.objects[key] = self._kept(item)
            self._tell(key)

    def _tell(self, key: ObjectKey) -> None:
        """Call back with what is now. Where that raises, it is done again later, for this object alone."""
        if (call := self._calls.pop(key, None)) is not None:
            call.cancel()
        with contained("object", path=self._path, object=str(key)) as told:
            self._on_change(key, self.objects.get(key))
        if told.failed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = backoff(failures, _FIRST_CALL, _LAST_CALL)
            self._calls[key] = asyncio.get_running_loop().call_later(delay, self._tell, key)
        else:
            self._failures.pop(key, None)
