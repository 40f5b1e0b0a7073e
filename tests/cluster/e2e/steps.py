"""The steps of every Deployment's spec.replicas in a namespace, as a watch tells them."""

import asyncio
import contextlib
import time
from collections import defaultdict
from types import TracebackType
from typing import Self

from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.informer import Informer, ObjectKey
from tests.cluster.kubectl import Cluster


class Steps:
    """`seen[name]` is every number that spec.replicas had, in order; `at[name]` when the last one came
    (time.perf_counter())."""

    def __init__(self, cluster: Cluster) -> None:
        self.seen: dict[str, list[int]] = defaultdict(list)
        self.at: dict[str, float] = {}
        self._cluster = cluster
        self._event = asyncio.Event()

    async def until(self, name: str, replicas: int, seconds: float = 60.0) -> None:
        """Wait until it is so many. Raises AssertionError with what was seen."""
        try:
            async with asyncio.timeout(seconds):
                while self.seen[name][-1:] != [replicas]:
                    self._event.clear()
                    await self._event.wait()
        except TimeoutError:
            raise AssertionError(f"{name}: replicas {self.seen[name]}, never {replicas}") from None

    def _changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        name = key[1]
        if item is not None and self.seen[name][-1:] != [item["spec"]["replicas"]]:
            self.seen[name].append(item["spec"]["replicas"])
            self.at[name] = time.perf_counter()
        self._event.set()

    async def __aenter__(self) -> Self:
        self._kube = await KubeClient.connect(self._cluster.plane.kubeconfig)
        path = f"/apis/apps/v1/namespaces/{self._cluster.namespace}/deployments"
        informer = Informer(self._kube, path, self._changed)
        self._watching = asyncio.create_task(informer.run())
        try:
            await informer.synced.wait()
        except BaseException:  # who does not come in is not asked to leave
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        await self._kube.close()
