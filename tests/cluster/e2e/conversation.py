"""A streaming client of the tests: asks, and notes what it hears and when."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.cluster.deployed import ACTIVATOR
from tests.cluster.kubectl import NAME


@dataclass
class Conversation:
    """One streaming chat completion; `asks` is what else the request says. Times are of time.perf_counter()."""

    model: str = NAME
    url: str = ACTIVATOR
    tokens: int = 8
    asks: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    first: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    status: int = 0
    beats: list[dict[str, Any]] = field(default_factory=list)
    words: int = 0
    done: bool = False
    error: str = ""
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, client: httpx.AsyncClient) -> "Conversation":
        """Returns when the stream is over, however it ended."""
        body = {
            "model": self.model,
            "stream": True,
            "max_tokens": self.tokens,
            "messages": [{"role": "user", "content": "Hello"}],
            **self.asks,
        }
        self.began = time.perf_counter()
        try:
            async with client.stream("POST", f"{self.url}/v1/chat/completions", json=body) as answer:
                self.status = answer.status_code
                async for line in answer.aiter_lines():
                    self._hear(line)
        except httpx.HTTPError as error:
            self.error = f"{type(error).__name__}: {error}"
        self.ended = time.perf_counter()
        self._heard.set()
        return self

    def _hear(self, line: str) -> None:
        if line == "data: [DONE]":
            self.done = True
        elif line.startswith("data: "):
            event = json.loads(line[6:])
            if "hearth" in event:
                self.beats.append(event["hearth"])
            elif "error" in event:
                self.error = json.dumps(event["error"])
            elif event["choices"] and (said := event["choices"][0]["delta"].get("content")):
                self.first = self.first or time.perf_counter()
                self.text += said
                self.words += 1
        elif line.startswith("{"):
            self.error = line
        self._heard.set()

    async def until(self, heard: Callable[["Conversation"], bool], seconds: float = 60.0) -> None:
        """Wait until something was heard. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not heard(self):
                assert not self.ended, f"over before that: {self}"
                self._heard.clear()
                await self._heard.wait()

    @property
    def whole(self) -> bool:
        """Answered to the last word, and nothing went wrong."""
        return self.status == 200 and self.done and self.words == self.tokens and not self.error


def new_client() -> httpx.AsyncClient:
    """A client that opens as many connections as it is asked to."""
    return httpx.AsyncClient(trust_env=False, timeout=300, limits=httpx.Limits(max_connections=None))
