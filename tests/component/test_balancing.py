"""endpoint.balancing, measured by the simulated engine's own prefix cache."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn

from hearth.emulators.engine import Engine
from hearth.emulators.engine_core import EngineConfig
from hearth.operations import EmbeddedServer, bind
from tests.component.harness import ActivatorHarness

REPLICAS, CONVERSATIONS, TURNS = 3, 13, 4  # 13 is no multiple of 3: taking turns is no affinity by accident


@contextlib.asynccontextmanager
async def engine() -> AsyncIterator[tuple[Engine, str]]:
    """A simulated engine that has loaded, and its address."""
    made = Engine(EngineConfig("qwen", "127.0.0.1", 0, 0, 0, tokens_per_second=10_000, slots=64))
    await made.load()
    listening = bind("127.0.0.1:0")
    server = EmbeddedServer(uvicorn.Config(made.app(), log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield made, f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def hit_rate(activator: ActivatorHarness, balancing: str) -> float:
    """The share of prompt tokens that the engines find in their caches, over conversations that take turns."""
    activator.service(f"spec.endpoint.balancing={balancing}")
    async with contextlib.AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(engine()) for _ in range(REPLICAS)]
        activator.ready(*(address for _, address in engines))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=activator.url, trust_env=False))
        talks = [
            [{"role": "system", "content": "Be brief. " * 20}, {"role": "user", "content": f"question {number}"}]
            for number in range(CONVERSATIONS)
        ]
        for _ in range(TURNS):
            for talk in talks:
                body = {"model": "qwen", "messages": talk, "max_tokens": 1}
                answer = await client.post("/v1/chat/completions", json=body)
                talk.append(answer.raise_for_status().json()["choices"][0]["message"])
        activator.ready()
        return total(engines, "hits") / total(engines, "queries")


def total(engines: list[tuple[Engine, str]], what: str) -> float:
    name = f"vllm:prefix_cache_{what}_total"
    return sum(made.registry.get_sample_value(name, {"model_name": "qwen", "engine": "0"}) or 0 for made, _ in engines)


@pytest.mark.parametrize("balancing", ["leastOutstanding", "prefix"])
async def test_prefix_balancing_lets_every_turn_but_the_first_find_its_cache(
    activator: ActivatorHarness, balancing: str
) -> None:
    rate = await hit_rate(activator, balancing)
    all_but_the_first = (TURNS - 1) / TURNS
    if balancing == "prefix":
        assert rate > 0.9 * all_but_the_first
    else:
        # What the other is for: taking turns, replicas rarely see a conversation again.
        assert rate < 0.6 * all_but_the_first
