"""What a limit of CPU on the activators does to those who ask: measured, and not judged. Figures go to build/cpu-limit.json."""

import asyncio
import json
import time

import httpx

from benchmarks.figures import Figure, percentiles, write
from tests.builders import ROOT
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import ACTIVATOR, Deployed

NAME = "limited"
LIMITS = (None, "500m", "50m")
CLIENTS, REQUESTS = 32, 2_000


async def asked(client: httpx.AsyncClient) -> list[float]:
    """Seconds of each of `REQUESTS` short answers, of so many clients at a time."""
    took: list[float] = []

    async def one() -> None:
        while len(took) < REQUESTS:
            began = time.perf_counter()
            body = {"model": NAME, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
            (await client.post(f"{ACTIVATOR}/v1/chat/completions", json=body)).raise_for_status()
            took.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(one())
    return took


def limited(hearth: Deployed, cpu: str | None) -> None:
    limits = {"cpu": cpu, "memory": "2Gi"}
    container = {"name": "activator", "resources": {"requests": {"cpu": "10m"}, "limits": limits}}
    patch = json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}})
    hearth.plane.kubectl("patch", "deployment", "hearth-activator", "-n", SYSTEM, "-p", patch)
    hearth.rolled_out("activator")


def throttled(hearth: Deployed) -> float:
    """Seconds for which the activators had to wait for their limit, all of them together."""
    return sum(
        hearth.nodes[pod["spec"]["nodeName"]].throttled(pod["status"]["containerStatuses"][0]["containerID"])
        for pod in hearth.pods("activator")
    )


async def test_what_a_limit_costs(hearth: Deployed) -> None:
    hearth.engines(**{NAME: ["--load-seconds=0.2", "--tokens-per-second=1000", "--slots=64"]})
    await asyncio.to_thread(hearth.cluster.apply, "spec.scaling.min=1", name=NAME)
    figures: list[Figure] = []
    waits = {}
    for cpu in LIMITS:
        await asyncio.to_thread(limited, hearth, cpu)
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await asked(client)
            before = throttled(hearth)
            figures += percentiles(f"limit_{cpu or 'none'}", await asked(client), "")
            waits[cpu] = throttled(hearth) - before
            figures.append(Figure(f"limit_{cpu or 'none'}_throttled_s", waits[cpu], "s"))
    write(figures, ROOT / "build" / "cpu-limit.json")
    print(*(f"{figure.name} = {figure.value:.1f} {figure.unit}" for figure in figures), sep="\n")
    assert waits[None] == 0
    assert waits["50m"] > 0, "the smallest limit is in force"
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)
    await asyncio.to_thread(
        hearth.plane.kubectl, "apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "deploy")
    )
    await asyncio.to_thread(hearth.rolled_out, "activator")
