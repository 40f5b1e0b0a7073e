"""The steps of a Deployment's spec.replicas, as a watch tells them."""

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self

from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.informer import Informer, ObjectKey


class Steps:
    """`seen` is every number that spec.replicas had, in order; `at` when the last one came (time.perf_counter())."""

    def __init__(self, kube: KubeClient, namespace: str, name: str) -> None:
        self.seen: list[int] = []
        self.at = 0.0
        self._name = name
        self._informer = Informer(kube, f"/apis/apps/v1/namespaces/{namespace}/deployments", self._changed)
        self._event = asyncio.Event()

    async def until(self, replicas: int, seconds: float = 60.0) -> None:
        """Wait until it is so many. Raises AssertionError with what was seen."""
        try:
            async with asyncio.timeout(seconds):
                while self.seen[-1:] != [replicas]:
                    self._event.clear()
                    await self._event.wait()
        except TimeoutError:
            raise AssertionError(f"{self._name}: replicas {self.seen}, never {replicas}") from None

    def _changed(self, key: ObjectKey, item: KubeObject | None) -> None:
        if key[1] != self._name or item is None:
            return
        if self.seen[-1:] != [item["spec"]["replicas"]]:
            self.seen.append(item["spec"]["replicas"])
            self.at = time.perf_counter()
        self._event.set()

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._informer.run())
        await self._informer.synced.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
