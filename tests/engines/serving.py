"""`hearth up` in this process, with a real engine: the roles are processes of their own, and so are the engines."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.key import ServiceKey
from hearth.api.llmservice import LLMService
from hearth.emulators.kinds import KubeObject
from hearth.emulators.mounts import Volumes
from hearth.local.engines import EngineOptions
from hearth.local.up import LocalHearth, UpConfig, local_hearth
from tests.cluster.e2e.conversation import Conversation, new_client

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Mounted:
    """What stands for paths of the engine's image, and for claims."""

    image: dict[str, str]
    claims: dict[str, str]


class Served:
    """One LLMService, asked through the activator, and its engines, asked past it."""

    def __init__(self, hearth: LocalHearth, service: LLMService, client: httpx.AsyncClient) -> None:
        self.hearth = hearth
        self.client = client
        self.key = ServiceKey(service.metadata.namespace, service.metadata.name)

    @property
    def name(self) -> str:
        return self.key.name

    async def post(self, path: str, **body: Any) -> httpx.Response:
        """Ask the activator."""
        return await self.client.post(f"{self.hearth.url}{path}", json={"model": self.name, **body})

    async def past(self, path: str, **body: Any) -> httpx.Response:
        """Ask the one engine itself."""
        return await self.client.post(f"{self.engine}{path}", json={"model": self.name, **body})

    async def said(self, says: str, tokens: int = 16) -> str:
        """What the engine itself says to it: a model this small knows little, and says the same each time."""
        asks: dict[str, Any] = {"messages": [{"role": "user", "content": says}], "temperature": 0, "max_tokens": tokens}
        answer = (await self.past("/v1/chat/completions", **asks)).raise_for_status().json()
        text: str = answer["choices"][0]["message"]["content"]
        assert text, answer
        return text

    def conversation(self, says: str = "Hello", tokens: int = 16, **more: Any) -> Conversation:
        """A streaming chat that `run` begins."""
        asks = {"messages": [{"role": "user", "content": says}], "temperature": 0, **more}
        return Conversation(self.name, self.hearth.url, tokens, asks=asks)

    def begin(self, conversation: Conversation) -> "asyncio.Task[Conversation]":
        return asyncio.create_task(conversation.run(self.client))

    def pods(self) -> list[KubeObject]:
        return self.hearth.pods(self.key)

    async def until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        await self.hearth.until(condition, seconds)

    async def scale(self, replicas: int) -> None:
        """What `kubectl scale` does."""
        config = json.loads(self.hearth.kubeconfig.read_text())
        server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
        deployment = f"{server}/apis/apps/v1/namespaces/{self.key.namespace}/deployments/{self.name}"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/merge-patch+json"}
        body = json.dumps({"spec": {"replicas": replicas}})
        (await self.client.patch(f"{deployment}/scale", content=body, headers=headers)).raise_for_status()

    async def replicas(self, count: int) -> None:
        """Wait until so many engines are ready, and no other pod is left."""
        await self.until(lambda: [ready(pod) for pod in self.pods()] == [True] * count)

    @property
    def service(self) -> KubeObject:
        found = self.hearth.store.get("llmservices", *self.key)
        assert found is not None
        return found

    @property
    def engine(self) -> str:
        """Where the one engine is: http://address:port."""
        (pod,) = self.pods()
        return f"http://{pod['status']['podIP']}:{pod['spec']['containers'][0]['ports'][0]['containerPort']}"

    async def figure(self, name: str) -> float:
        """One of the engine's metrics, summed over its labels."""
        text = (await self.client.get(f"{self.engine}/metrics")).raise_for_status().text
        values = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name)]
        assert values, f"{name} is not in:\n{text}"
        return sum(float(value) for _, value in values)

    async def figure_is(self, name: str, expected: Callable[[float], bool]) -> float:
        """Wait until one of the engine's metrics is as expected."""
        async with asyncio.timeout(PATIENCE):
            while not expected(value := await self.figure(name)):
                await asyncio.sleep(0.05)  # a metric has no event
        return value

    def engine_process(self) -> int:
        """The process of the one engine: the one that was told the pod's address."""
        (pod,) = self.pods()
        address = pod["status"]["podIP"].encode()
        (found,) = [pid for pid, words in _commands() if address in words]
        return found

    def kill(self) -> None:
        """End the one engine as a kernel does that has no memory left."""
        os.kill(self.engine_process(), signal.SIGKILL)

    def log(self) -> str:
        """What the one engine wrote."""
        (pod,) = self.pods()
        metadata = pod["metadata"]
        return (self.hearth.config.folder / f"{metadata['namespace']}_{metadata['name']}.log").read_text()


@contextlib.asynccontextmanager
async def serving(
    folder: Path, service: LLMService, runtimes: Sequence[InferenceRuntime], mounted: Mounted
) -> AsyncIterator[Served]:
    """Hearth with this LLMService at zero, until the context is left."""
    volumes = Volumes(folder / "kept", folder / "passing", mounted.claims, mounted.image)
    engines = EngineOptions("command", volumes=volumes)
    config = UpConfig([service], runtimes, folder, "127.0.0.1", 0, engines, hpa_sync_seconds=1.0)
    async with local_hearth(config) as hearth, new_client() as client:
        yield Served(hearth, service, client)


def ready(pod: KubeObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _commands() -> "list[tuple[int, list[bytes]]]":
    """(process, its command) of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append((int(path.parent.name), path.read_bytes().split(b"\0")))
    return found
