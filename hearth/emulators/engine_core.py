"""The simulated engine's core: slots, a prefix cache, speech at a given rate, and the end of all of it at once.

What vLLM's AsyncLLM is to its API server: a request is generated choice by choice, counted while it waits and while it
runs, and aborted as a whole when nobody reads it any more. It knows no HTTP.
"""

import asyncio
import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hearth.emulators.engine_metrics import EngineMetrics
from hearth.emulators.engine_speech import Finish, Speech

MODEL_LEN = 131072  # tokens of prompt and answer, where nothing else is said

Family = Literal["vllm", "llamacpp"]


class EngineDead(Exception):
    """The core was stopped while the request ran; the words are vLLM's."""

    def __init__(self) -> None:
        super().__init__("EngineCore encountered an issue. See stack trace (above) for the root cause.")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """`model` is the name it is served under; rates are per choice."""

    model: str
    host: str
    port: int
    start_seconds: float
    load_seconds: float
    tokens_per_second: float
    slots: int
    faults: frozenset[str] = frozenset()
    fault_file: Path | None = None
    cached_prompts: int = 64
    prefill_seconds: float = 0.0
    shutdown_seconds: float = 0.0
    max_model_len: int = MODEL_LEN
    aliases: tuple[str, ...] = ()
    family: Family = "vllm"
    has_metrics: bool = True

    @property
    def names(self) -> tuple[str, ...] | None:
        """Every name that a request may give; None: whatever it likes."""
        return (self.model, *self.aliases) if self.family == "vllm" else None

    def active_faults(self) -> frozenset[str]:
        """The faults of now: those given at the start and those in the file."""
        if self.fault_file is None or not self.fault_file.exists():
            return self.faults
        return self.faults | frozenset(self.fault_file.read_text().split())


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is generated for: how many tokens it has, and its beginning, which the prefix cache knows it by."""

    beginning: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """A token of a choice, or its end: then `finish` says why, and the text may be empty."""

    choice: int
    text: str
    finish: Finish | None = None
    stopped_by: str | None = None


class EngineCore:
    """`loaded` is set when the model is there, `dead` for good by `die`."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.metrics = EngineMetrics(config.model)
        self.loaded = asyncio.Event()
        self.dead = asyncio.Event()
        self._slots = asyncio.Semaphore(config.slots)
        self.running = self.waiting = 0
        self._open = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._prompts: OrderedDict[str, int] = OrderedDict()

    def die(self) -> None:
        """End every request that runs or waits, and every one that comes."""
        self.dead.set()

    async def drain(self, seconds: float) -> None:
        """Wait until nothing runs or waits any more, at most so long; then die."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        self.die()

    async def generate(
        self, prompt: Prompt, choices: Sequence[Speech], faults: frozenset[str] = frozenset()
    ) -> AsyncGenerator[Spoken, None]:
        """What the choices say, in the order in which it is said. Closing it aborts the request. Raises EngineDead."""
        said: asyncio.Queue[Spoken | None] = asyncio.Queue()
        self._open += 1
        self._quiet.clear()
        speaking = [
            asyncio.create_task(self._speak(number, prompt, choice, faults, said))
            for number, choice in enumerate(choices)
        ]
        killer = asyncio.create_task(self._end_with(said))
        unfinished = len(speaking)
        try:
            while unfinished:
                spoken = await said.get()
                if spoken is None or self.dead.is_set():
                    raise EngineDead
                unfinished -= spoken.finish is not None
                yield spoken
        finally:
            for task in (*speaking, killer):
                task.cancel()
            try:
                await asyncio.gather(*speaking, killer, return_exceptions=True)
            finally:  # Starlette cancels at each await of an answer that nobody wants: it is over all the same
                self._open -= 1
                if not self._open:
                    self._quiet.set()

    async def _end_with(self, said: "asyncio.Queue[Spoken | None]") -> None:
        await self.dead.wait()
        said.put_nowait(None)

    async def _speak(
        self,
        number: int,
        prompt: Prompt,
        speech: Speech,
        faults: frozenset[str],
        said: "asyncio.Queue[Spoken | None]",
    ) -> None:
        """One choice, in a slot of its own."""
        asked, metrics = time.monotonic(), self.metrics
        finished: Finish = "abort"
        try:
            async with self._slot():
                metrics.queued.observe(time.monotonic() - asked)
                await self._prefill(prompt)
                for index, token in enumerate(speech.tokens):
                    await asyncio.sleep(1 / self.config.tokens_per_second)  # the generation that is simulated
                    if index == 0:
                        metrics.ttft.observe(time.monotonic() - asked)
                    if index == len(speech.tokens) // 2 and "crash-mid-stream" in faults:
                        print("crash in the middle of an answer, as told", flush=True)
                        os._exit(1)
                    metrics.tokens.inc()
                    if index == len(speech.tokens) - 1 and speech.finish == "length":
                        said.put_nowait(Spoken(number, token, "length"))
                    else:
                        said.put_nowait(Spoken(number, token))
                finished = speech.finish
                if finished != "length" or not speech.tokens:
                    said.put_nowait(Spoken(number, "", finished, speech.stopped_by))
        finally:
            metrics.finished[finished].inc()
            if finished != "abort":
                metrics.e2e.observe(time.monotonic() - asked)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Waiting, then running; who is cancelled is neither."""
        self._queue(1)
        try:
            await self._slots.acquire()
        finally:
            self._queue(-1)
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)
            self._slots.release()

    def _queue(self, change: int) -> None:
        self.waiting += change
        self.metrics.waiting.set(self.waiting)

    def _count(self, change: int) -> None:
        self.running += change
        self.metrics.running.set(self.running)
        self.metrics.kv_cache.set(self.running / self.config.slots)

    async def _prefill(self, prompt: Prompt) -> None:
        """What the prefix cache knows of the prompt costs nothing; it knows the latest ones, by their beginning."""
        hits = min(self._prompts.pop(prompt.beginning, 0), prompt.tokens)
        self._prompts[prompt.beginning] = prompt.tokens
        if len(self._prompts) > self.config.cached_prompts:
            self._prompts.popitem(last=False)
        self.metrics.prompt_tokens.inc(prompt.tokens)
        self.metrics.prefix_queries.inc(prompt.tokens)
        self.metrics.prefix_hits.inc(hits)
        unknown = (prompt.tokens - hits) / prompt.tokens if prompt.tokens else 0
        await asyncio.sleep(self.config.prefill_seconds * unknown)  # the prefill that is simulated
