"""many: what a hundred, a thousand and five thousand LLMServices cost each role, and whether it still answers at once.

`make bench-many`; the roles are real, the cluster is the local one. What the controller takes on a real API server is
measured by tests/cluster/test_writes.py, whose last figures (build/many.json) go into the same section.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import httpx
from rich.console import Console

from benchmarks.figures import Figure, percentiles
from benchmarks.footprint import rss_mib
from benchmarks.publish import publish
from benchmarks.push import cold_start, idle, reference, request_to
from benchmarks.report import with_section
from benchmarks.services import llmservices
from hearth.local.up import LocalHearth, UpConfig, local_roles
from hearth.logs import configure
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub

FILE, OF_CLUSTER = Path("build/bench-many.json"), Path("build/many.json")
COUNTS = (100, 1_000, 5_000)
ASKED = 1_000
"""LLMServices that there are while the rest is measured."""
CHANGES = 500
"""Changes of demand a second: requests that come and go, each two of them."""
LISTS, QUESTIONS, COLD_STARTS = 200, 1_000, 100
_WAITS = 50  # requests that are held at a time, by whose coming and going demand changes


async def measure(console: Console) -> list[Figure]:
    """Memory of the roles for each of `COUNTS`; answers of both roles where there are `ASKED`."""
    figures = []
    for count in COUNTS:
        console.print(f"[dim]measuring {count:,} LLMServices …[/]", highlight=False)
        with tempfile.TemporaryDirectory() as folder:
            async with (
                local_roles(UpConfig(llmservices(count), (), Path(folder), port=0)) as hearth,
                httpx.AsyncClient(base_url=hearth.url, trust_env=False, timeout=60) as client,
            ):
                await _known(hearth, client, count)
                figures += [
                    Figure(f"many_{role}_rss_{count}_mib", rss_mib(hearth.roles[role].pid), "MiB")
                    for role in ("activator", "scaler")
                ]
                if count == ASKED:
                    figures += await _answers(hearth, client)
    return figures


async def _known(hearth: LocalHearth, client: httpx.AsyncClient, count: int) -> None:
    while len((await client.get("/v1/models")).json()["data"]) < count:
        await asyncio.sleep(0.2)  # what a door knows has no event
    async with grpc.aio.insecure_channel(hearth.scaler_address) as channel:
        scaler = ExternalScalerStub(channel)
        while not await idle(scaler, reference(f"bench-{count - 1}")):
            await asyncio.sleep(0.2)


async def _answers(hearth: LocalHearth, client: httpx.AsyncClient) -> list[Figure]:
    async with grpc.aio.insecure_channel(hearth.scaler_address) as channel:
        scaler = ExternalScalerStub(channel)

        async def models() -> None:
            (await client.get("/v1/models")).raise_for_status()

        async def metrics() -> None:
            asked = reference(f"bench-{next(numbers) % ASKED}")
            await scaler.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=asked, metricName="queueDepth"))

        numbers = iter(range(QUESTIONS))
        figures = percentiles("many_models", await _timed(models, LISTS), "≤ 5")
        figures += percentiles("many_get_metrics", await _timed(metrics, QUESTIONS), "p99 ≤ 5")
        changes = asyncio.create_task(_changes(hearth))
        try:
            names = [f"bench-{ASKED - 1 - number}" for number in range(COLD_STARTS)]
            pushed = [await cold_start(hearth, channel, name) for name in names]
        finally:
            changes.cancel()
            await asyncio.wait([changes])
        figures += percentiles("many_push", pushed, "p99 ≤ 10")
    return figures


async def _timed(ask: Callable[[], Awaitable[None]], times: int) -> list[float]:
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        samples.append(time.perf_counter() - began)
    return samples


async def _changes(hearth: LocalHearth) -> None:
    """`CHANGES` of demand a second, of LLMServices that nobody else asks: a cold request comes, and leaves later."""
    clock = asyncio.get_running_loop().time
    waiting: list[asyncio.StreamWriter] = []
    due = clock()
    try:
        for number in range(10**9):
            due += 2 / CHANGES
            await asyncio.sleep(max(0.0, due - clock()))
            _, writer = await asyncio.open_connection("127.0.0.1", hearth.port)
            writer.write(request_to(f"bench-{number % (ASKED // 2)}"))
            waiting.append(writer)
            if len(waiting) > _WAITS:
                waiting.pop(0).close()
    finally:
        for writer in waiting:
            writer.close()


def section(figures: list[Figure], date: str, machine: str) -> str:
    """The page's section, in Markdown."""
    rows = [f"| `{each.name}` | {each.value:,.1f} {each.unit} | {each.goal} |" for each in figures]
    table = "\n".join(rows)
    return f"""## Many LLMServices

Written by `make bench-many` on {date}: {machine}. Real roles, compiled as in the image; the first rows on the local
emulators of the cluster, those of the controller on a real API server with etcd, KEDA and the cluster's controllers on
the same cores (`MANY=200 make e2e TESTS=tests/cluster/test_writes.py`).

| figure | measured | goal |
|---|---|---|
{table}

- `many_ROLE_rss_N`: memory of a role that knows N LLMServices, nobody asking.
- `many_models`: GET /v1/models of {ASKED:,} LLMServices. `many_get_metrics`: KEDA's question, of one after the other.
- `many_push`: a cold request's first byte → the scaler's push, while demand changes {CHANGES} times a second.
- `many_rendered`: so many LLMServices are made at once → all ScaledObjects are there; `many_asleep`: → all are Ready.
  `many_writes_each`: the controller's writes for one, Events and statuses among them. `many_restart`: the controller's
  process starts → it has looked at every one, without one write.
"""


def main() -> None:
    configure("text", "ERROR")
    console = Console()
    figures = asyncio.run(measure(console))
    if OF_CLUSTER.exists():
        figures += [Figure(**each) for each in json.loads(OF_CLUSTER.read_text())]
    publish(figures, FILE, console, lambda text, *made: with_section(text, section(figures, *made)))


if __name__ == "__main__":
    main()
