"""What the controller knows before its first look: a choice of runtime lasts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from hearth.controller import server
from hearth.controller.server import Controller, ControllerConfig
from hearth.kube.client import KubeClient, Listed
from hearth.kube.errors import Unavailable
from hearth.kube.kinds import DEVICE_CLASS, RESOURCE_SLICE
from hearth.kube.objects import KubeObject

CONFIG = ControllerConfig(None, "scaler:1", "activator", "127.0.0.1:0")


class Kube(KubeClient):
    """An empty cluster whose API server fails `failures` times to say what it knows, and tells of devices when it is
    let."""

    def __init__(self, *, failures: int = 0, devices: bool = True) -> None:
        self.failures = failures
        self.devices = devices
        self.let = asyncio.Event()
        self.listed: list[str] = []

    async def get_object(self, path: str, label_selector: str = "") -> KubeObject | None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("503: starting", 503)
        return {"kind": "APIResourceList"} if self.devices else None

    async def list_objects(self, path: str, label_selector: str = "", field_selector: str = "") -> Listed:
        if path in (DEVICE_CLASS.everywhere, RESOURCE_SLICE.everywhere):
            await self.let.wait()
        self.listed.append(path)
        return Listed([], "1")

    async def watch_objects(
        self,
        path: str,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 0,
    ) -> AsyncIterator[tuple[str, KubeObject]]:
        await asyncio.Event().wait()
        yield "", {}


@contextlib.asynccontextmanager
async def running(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Event]:
    """The controller; the event is set when it begins to look at LLMServices."""
    works = asyncio.Event()

    async def work(self: Controller) -> None:
        works.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Controller, "_work", work)
    task = asyncio.create_task(Controller(kube, CONFIG, CollectorRegistry()).run())
    try:
        yield works
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_nothing_is_chosen_before_devices_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = Kube(failures=1)
    async with running(kube, monkeypatch) as works:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await works.wait()
        kube.let.set()
        async with asyncio.timeout(5):
            await works.wait()
    assert {DEVICE_CLASS.everywhere, RESOURCE_SLICE.everywhere} <= set(kube.listed)


async def test_an_api_server_without_devices_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(Kube(devices=False), monkeypatch) as works, asyncio.timeout(5):
        await works.wait()


async def test_what_may_not_be_seen_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "DEVICES_SECONDS", 0.1)
    async with running(Kube(), monkeypatch) as works, asyncio.timeout(5):
        await works.wait()
