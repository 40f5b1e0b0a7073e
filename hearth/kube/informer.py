"""Informer: a collection mirrored by list and watch, with one callback for each object that changed.

Level-triggered: the callback gets the object as it is now, or None where it is gone; what happened in between is
nobody's business. While the API server is down, the mirror keeps what it knows.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.errors import ApiUnavailable, Expired
from hearth.logs import fields

log = logging.getLogger(__name__)

ObjectKey = tuple[str, str]
"""(namespace, name)."""

OnChange = Callable[[ObjectKey, KubeObject | None], None]

_FIRST_RETRY, _LAST_RETRY = 0.2, 30.0  # seconds
_SHORT_WATCH = 1.0  # a server that ends watches sooner than this is failing


class Informer:
    """`objects` is the mirror; `synced` is set once the first list is in it."""

    def __init__(self, kube: KubeClient, path: str, on_change: OnChange, label_selector: str = "") -> None:
        self._kube = kube
        self._path = path
        self._on_change = on_change
        self._label_selector = label_selector
        self.objects: dict[ObjectKey, KubeObject] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """List, watch, and begin again, until cancelled."""
        loop = asyncio.get_running_loop()
        delay = _FIRST_RETRY
        version: str | None = None
        while True:
            try:
                if version is None:
                    listed = await self._kube.list_objects(self._path, self._label_selector)
                    self._replace(listed.items)
                    version = listed.resource_version
                    self.synced.set()
                # A random length keeps many watches from ending together.
                seconds = random.randint(240, 360)
                began = loop.time()
                async for kind, item in self._kube.watch_objects(self._path, version, self._label_selector, seconds):
                    version = item["metadata"]["resourceVersion"]
                    delay = _FIRST_RETRY
                    if kind != "BOOKMARK":
                        self._set(item, gone=kind == "DELETED")
                if loop.time() - began >= _SHORT_WATCH:
                    delay = _FIRST_RETRY
                    continue
            except Expired:
                log.info("watch expired, listing anew", extra=fields(path=self._path))
                version = None
            except ApiUnavailable as error:
                log.warning("API server not reached", extra=fields(path=self._path, reason=str(error)))
                if error.status is not None:
                    version = None
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # jittered back-off of a failing server
            delay = min(delay * 2, _LAST_RETRY)

    def _replace(self, items: list[KubeObject]) -> None:
        fresh = {_key(item): item for item in items}
        for key in [key for key in self.objects if key not in fresh]:
            del self.objects[key]
            self._on_change(key, None)
        for key, item in fresh.items():
            old = self.objects.get(key)
            if old is None or old["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self.objects[key] = item
                self._on_change(key, item)

    def _set(self, item: KubeObject, *, gone: bool) -> None:
        key = _key(item)
        if gone:
            self.objects.pop(key, None)
            self._on_change(key, None)
        else:
            self.objects[key] = item
            self._on_change(key, item)


def _key(item: KubeObject) -> ObjectKey:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
