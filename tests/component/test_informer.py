"""The informer and its client against the local API server, over HTTP."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn

from hearth.emulators.apiserver import Watches, create_api
from hearth.emulators.store import ObjectStore
from hearth.kube import client as client_module
from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.errors import Expired, KubeError
from hearth.kube.informer import Informer, ObjectKey
from hearth.local.cluster import kubeconfig
from hearth.operations import EmbeddedServer, bind

PATH = "/apis/serving.hearth.dev/v1alpha1/llmservices"
PATIENCE = 10.0


def service(name: str, value: int = 0, **labels: str) -> KubeObject:
    return {"metadata": {"name": name, "namespace": "ai", "labels": labels}, "spec": {"value": value}}


@dataclass
class Api:
    """A local API server that can be stopped and started again at its address."""

    folder: Path
    store: ObjectStore = field(default_factory=ObjectStore)
    port: int = 0

    async def start(self) -> None:
        self._listening = bind(f"127.0.0.1:{self.port}")
        self.port = self._listening.getsockname()[1]
        self._watches = Watches()
        self._server = EmbeddedServer(uvicorn.Config(create_api(self.store, self._watches), log_level="warning"))
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listening]))

    async def stop(self) -> None:
        self._watches.close()
        self._server.should_exit = True
        await self._serving
        self._listening.close()

    async def client(self) -> KubeClient:
        file = self.folder / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{self.port}")))
        return await KubeClient.connect(file)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    api = Api(tmp_path)
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
async def kube(api: Api) -> AsyncIterator[KubeClient]:
    client = await api.client()
    yield client
    await client.close()


class Mirror:
    """What the informer's callback was told: the last of each object, and a bell."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int | None]] = []
        self._told = asyncio.Event()

    def __call__(self, key: ObjectKey, item: KubeObject | None) -> None:
        self.seen.append((key[1], None if item is None else item["spec"]["value"]))
        self._told.set()

    async def until(self, *expected: tuple[str, int | None]) -> None:
        """Wait until exactly these were told."""
        async with asyncio.timeout(PATIENCE):
            while self.seen != list(expected):
                self._told.clear()
                await self._told.wait()


@contextlib.asynccontextmanager
async def informing(kube: KubeClient, selector: str = "") -> AsyncIterator[tuple[Informer, Mirror]]:
    mirror = Mirror()
    informer = Informer(kube, PATH, mirror, selector)
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await informer.synced.wait()
        yield informer, mirror
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_is_there_and_what_comes_changes_and_goes(api: Api, kube: KubeClient) -> None:
    api.store.put("llmservices", service("a", 1))
    async with informing(kube) as (informer, mirror):
        await mirror.until(("a", 1))
        api.store.put("llmservices", service("b", 2))
        api.store.put("llmservices", service("a", 3))
        api.store.delete("llmservices", "ai", "b")
        await mirror.until(("a", 1), ("b", 2), ("a", 3), ("b", None))
        assert set(informer.objects) == {("ai", "a")}


async def test_an_object_that_is_longer_than_a_line_of_the_http_client(api: Api, kube: KubeClient) -> None:
    """aiohttp's default is 128 KiB, the Kubernetes client's 4 MiB; the API server takes objects of 1.5 MiB."""
    async with informing(kube) as (_, mirror):
        for name, size in (("a", 200), ("b", 1400)):
            item = service(name, 1)
            item["metadata"]["annotations"] = {"note": "x" * size * 1024}
            api.store.put("llmservices", item)
        api.store.put("llmservices", service("c", 2))
        await mirror.until(("a", 1), ("b", 1), ("c", 2))


async def test_one_that_is_nested_deep_comes_with_the_others(api: Api, kube: KubeClient) -> None:
    deep: KubeObject = {}
    for _ in range(150):  # what the store here can copy; deeper ones are tried on the decoder itself
        deep = {"a": deep}
    async with informing(kube) as (_, mirror):
        api.store.put("llmservices", {**service("a", 1), "status": deep})
        api.store.put("llmservices", service("b", 2))
        await mirror.until(("a", 1), ("b", 2))


async def test_only_what_the_labels_select(api: Api, kube: KubeClient) -> None:
    api.store.put("llmservices", service("a", 1, tier="x"))
    api.store.put("llmservices", service("b", 2))
    async with informing(kube, "tier=x") as (_, mirror):
        api.store.put("llmservices", service("c", 3))
        api.store.put("llmservices", service("d", 4, tier="x"))
        await mirror.until(("a", 1), ("d", 4))


async def test_it_keeps_what_it_knows_and_catches_up_after_an_outage(api: Api, kube: KubeClient) -> None:
    api.store.put("llmservices", service("a", 1))
    api.store.put("llmservices", service("b", 2))
    async with informing(kube) as (informer, mirror):
        await mirror.until(("a", 1), ("b", 2))
        await api.stop()
        assert set(informer.objects) == {("ai", "a"), ("ai", "b")}
        api.store.put("llmservices", service("a", 9))
        api.store.delete("llmservices", "ai", "b")
        await api.start()
        await mirror.until(("a", 1), ("b", 2), ("b", None), ("a", 9))


async def test_an_etcd_that_was_restored_is_taken_as_it_is(api: Api, kube: KubeClient) -> None:
    """Its versions are lower than those that were seen; a watch from one that it has not reached says nothing."""
    for value in range(50):
        api.store.put("llmservices", service("a", value))
    async with informing(kube) as (informer, mirror):
        await mirror.until(("a", 49))
        await api.stop()
        api.store = ObjectStore()
        api.store.put("llmservices", service("a", 7))
        assert api.store.version < 50
        await api.start()
        await mirror.until(("a", 49), ("a", 7))
        api.store.put("llmservices", service("b", 8))
        await mirror.until(("a", 49), ("a", 7), ("b", 8))
        assert set(informer.objects) == {("ai", "a"), ("ai", "b")}


class HalfOpen:
    """A way to an API server: it carries bytes until it `dies`, and then none, with no word to either side. New
    connections are carried."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._dead: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "HalfOpen":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for pair in self._pairs:
            for writer in pair:
                writer.close()

    def dies(self) -> None:
        for pair in self._pairs:
            self._dead.update(pair)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._pairs.append((writer, back))
        self._tasks += [asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if writer not in self._dead:
                writer.write(data)
        if writer not in self._dead:
            writer.close()


async def test_a_watch_that_died_without_a_word_is_begun_again(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 0.3)
    api.store.put("llmservices", service("a", 1))
    async with HalfOpen(api.port) as way:
        file = tmp_path / "by-the-way"
        file.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{way.port}")))
        client = await KubeClient.connect(file)
        async with informing(client) as (_, mirror):
            await mirror.until(("a", 1))
            way.dies()
            api.store.put("llmservices", service("a", 2))
            await mirror.until(("a", 1), ("a", 2))
        await client.close()


async def test_a_version_too_old_is_listed_anew(api: Api, kube: KubeClient) -> None:
    api.store.put("llmservices", service("a", 1))
    api.store.put("llmservices", service("b", 1))
    async with informing(kube) as (_, mirror):
        await mirror.until(("a", 1), ("b", 1))
        await api.stop()
        for value in range(5000):  # more than the server remembers
            api.store.put("llmservices", service("a", value))
        api.store.delete("llmservices", "ai", "b")
        await api.start()
        await mirror.until(("a", 1), ("b", 1), ("b", None), ("a", 4999))


async def test_the_client_says_what_the_server_said(api: Api, kube: KubeClient) -> None:
    with pytest.raises(KubeError, match="page not found") as raised:
        await kube.list_objects("/apis/serving.hearth.dev/v1alpha1/nothings")
    assert raised.value.status == 404
    for value in range(5000):
        api.store.put("llmservices", service("a", value))
    with pytest.raises(Expired):
        await anext(kube.watch_objects(PATH, "1"))
    await api.stop()
    with pytest.raises(KubeError) as unreachable:
        await kube.list_objects(PATH)
    assert unreachable.value.status is None
    await api.start()


async def test_without_a_kubeconfig_and_outside_of_a_cluster_there_is_no_way(tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="no way to the API server"):
        await KubeClient.connect(tmp_path / "none")
    with pytest.raises(KubeError, match="no way to the API server"):
        await KubeClient.connect(None)
