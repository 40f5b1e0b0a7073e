"""From kubectl apply to the first answer, on nodes whose pods run."""

import asyncio
import os

import pytest

from benchmarks.figures import Figure, percentiles, write
from tests.builders import ROOT, SEED
from tests.cluster.deployed import Deployed
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.e2e.steps import Steps
from tests.cluster.kubectl import NAME, NAMESPACE

COLD_STARTS = int(os.environ.get("COLD_STARTS") or 20)
"""COLD_STARTS=50 makes a better measurement of it, in four minutes."""
AT_A_TIME = 10


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
    """The figure of the whole way: a client's first byte → spec.replicas 1, each start answered before the next.

    A few LLMServices at a time: KEDA's own client is limited to 20 requests a second, which it spends on looking at all
    that there are; how many those are is not what is measured.
    """
    samples = []
    for first in range(0, COLD_STARTS, AT_A_TIME):
        names = [f"cold-{number}" for number in range(first, first + AT_A_TIME)]
        samples += await cold_starts(hearth, names)
    figures: list[Figure] = percentiles("activation", samples, "p99 ≤ 25")
    write(figures, ROOT / "build" / "e2e.json")
    slowest = ", ".join(f"{1000 * sample:.0f}" for sample in sorted(samples)[-5:])
    print(*(f"{figure.name} = {figure.value:.1f}" for figure in figures), f"(slowest of {len(samples)}: {slowest})")


async def cold_starts(hearth: Deployed, names: list[str]) -> list[float]:
    """Seconds from the first byte of a request to spec.replicas 1, for one cold start of each."""
    cluster, samples = hearth.cluster, []
    for name in names:
        cluster.apply("spec.scaling.scaleDownStabilization=5s", name=name)
    for name in names:
        cluster.until(lambda name=name: cluster.asleep(name), f"{name} is asleep")  # type: ignore[misc]
    async with Steps(cluster) as steps, new_client() as client:
        for name in names:
            talk = Conversation(name, tokens=2)
            asking = asyncio.create_task(talk.run(client))
            await steps.until(name, 1)
            samples.append(steps.at[name] - talk.began)
            await asking
            assert talk.whole, talk
    hearth.plane.kubectl("delete", "llmservice", "-n", NAMESPACE, *names)
    cluster.until(
        lambda: not cluster.items("scaledobjects,hpa,deployments,pods"), "KEDA has nothing more to do for them"
    )
    return samples
