"""The LLMService of these tests, asked through the activator, and its one engine, asked past it."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import httpx

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import ACTIVATOR, Deployed

NAME = "tiny"
PATIENCE = 600.0
"""Of one start, in seconds: vLLM's imports and its compiler have two cores here."""


class Served:
    def __init__(self, hearth: Deployed) -> None:
        self.hearth = hearth
        self.cluster = hearth.cluster

    def conversation(self, tokens: int = 8) -> Conversation:
        """A streaming chat of so many tokens that `run` begins. A model of random weights may end whenever it likes."""
        asks = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0, "ignore_eos": True}
        return Conversation(NAME, ACTIVATOR, tokens, asks=asks)

    async def ask(self) -> Conversation:
        """One short answer, however long its engine takes to come up."""
        async with new_client() as client:
            client.timeout = httpx.Timeout(PATIENCE)
            talk = await self.conversation().run(client)
        assert (talk.status, talk.done, talk.error) == (200, True, ""), talk
        assert talk.text
        return talk

    def pods(self) -> list[Any]:
        return self.cluster.items("pods", f"serving.hearth.dev/llmservice={NAME}")

    def pod(self) -> Any:
        """Its one engine. Raises ValueError where there is none, or another beside it."""
        (pod,) = self.pods()
        return pod

    @property
    def engine(self) -> str:
        return f"http://{self.pod()['status']['podIP']}:8000"

    def sleeps_after(self, silence: str) -> None:
        patch = json.dumps({"spec": {"scaling": {"scaleDownStabilization": silence}}})
        self.hearth.plane.kubectl("patch", "llmservice", NAME, "-n", NAMESPACE, "--type=merge", "-p", patch)

    def log(self) -> str:
        """What its engine wrote since it was started."""
        return self.hearth.plane.kubectl("logs", self.pod()["metadata"]["name"], "-c", "engine", "-n", NAMESPACE)

    async def until(self, seen: Callable[[], object], what: str) -> Any:
        return await asyncio.to_thread(self.cluster.until, seen, what, PATIENCE)

    async def figure(self, client: httpx.AsyncClient, name: str) -> float:
        """A metric of the engine's."""
        text = (await client.get(f"{self.engine}/metrics")).raise_for_status().text
        found = re.search(rf"^{re.escape(name)}\{{[^}}]*\}} (\S+)$", text, re.MULTILINE)
        assert found, f"{name} is not in:\n{text}"
        return float(found[1])

    async def figure_is(self, client: httpx.AsyncClient, name: str, expected: float) -> None:
        async with asyncio.timeout(60):
            while await self.figure(client, name) != expected:
                await asyncio.sleep(0.05)  # a metric has no event
