"""release: from the engine's first 200 to the probe until the held request reaches that engine.

The whole local loop runs; the engine itself holds the stopwatch and answers with what it shows. Between the two lie
the second probe (readiness, after startup), the EndpointSlice, the activator's watch and the hold.
"""

import tempfile
from pathlib import Path

import httpx

from benchmarks.figures import Figure, percentiles
from benchmarks.services import llmservices, stopwatch_runtime
from hearth.local.engines import EngineOptions
from hearth.local.up import UpConfig, local_hearth

COLD_STARTS = 50


async def measure() -> list[Figure]:
    """release_p50_ms and release_p99_ms of `COLD_STARTS` cold starts, one after the other."""
    services = llmservices(COLD_STARTS)
    samples: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        config = UpConfig(services, [stopwatch_runtime()], Path(folder), "127.0.0.1", 0, EngineOptions("command"))
        async with local_hearth(config) as hearth, httpx.AsyncClient(trust_env=False, timeout=60) as client:
            for service in services:
                body = {"model": service.metadata.name, "messages": [{"role": "user", "content": "x"}]}
                answer = await client.post(f"{hearth.url}/v1/chat/completions", json=body)
                samples.append(float(answer.raise_for_status().json()))
    return percentiles("release", samples, "p99 ≤ 10")
