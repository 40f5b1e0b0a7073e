"""From kubectl apply to the first answer, on nodes whose pods run."""

import asyncio
import os

import pytest

from benchmarks.figures import Figure, percentiles, write
from tests.builders import ROOT, SEED
from tests.cluster.deployed import Deployed
from tests.cluster.e2e.activations import activations
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAME, NAMESPACE

COLD_STARTS = int(os.environ.get("COLD_STARTS") or 20)
"""COLD_STARTS=50 makes a better measurement of it, in four minutes."""


async def test_the_seed_is_applied_asked_and_answered(hearth: Deployed) -> None:
    cluster = hearth.cluster
    hearth.plane.kubectl("apply", "-f", str(SEED))
    cluster.until(cluster.asleep, "ScaledToZero, and KEDA content with the ScaledObject")
    _, line = hearth.plane.kubectl("get", "llmservice", "-n", NAMESPACE).splitlines()
    assert line.split()[:6] == [NAME, "ScaledToZero", "True", "ScaledToZero", "0", "nvidia-vllm"]
    async with new_client() as client:
        cold = await Conversation().run(client)
        assert cold.whole, cold
        assert cold.beats, "no heartbeat while the engine came up"
        assert cluster.replicas() == 1
        # The activator that had it asked the engine itself; another one goes by what the cluster says.
        await asyncio.to_thread(cluster.until, lambda: cluster.status()["phase"] == "Ready", "phase Ready")
        warm = await Conversation(url=f"http://{NAME}.{NAMESPACE}.svc").run(client)
        assert warm.whole, warm
        assert not warm.beats
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)


@pytest.mark.timeout(900)
async def test_a_cold_request_sets_the_replicas_soon(hearth: Deployed) -> None:
    """The figure of the whole way: a client's first byte → spec.replicas 1."""
    samples = await activations(hearth.cluster, COLD_STARTS)
    figures: list[Figure] = percentiles("activation", samples, "p99 ≤ 25")
    write(figures, ROOT / "build" / "e2e.json")
    slowest = ", ".join(f"{1000 * sample:.0f}" for sample in sorted(samples)[-5:])
    print(*(f"{figure.name} = {figure.value:.1f}" for figure in figures), f"(slowest of {len(samples)}: {slowest})")
