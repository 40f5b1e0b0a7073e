"""From kubectl apply to the first answer, on nodes whose pods run."""

import asyncio

from tests.builders import SEED
from tests.cluster.deployed import Deployed
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAME, NAMESPACE


async def test_the_seed_is_applied_asked_and_answered(hearth: Deployed) -> None:
    cluster = hearth.cluster
    hearth.plane.kubectl("apply", "-f", str(SEED))
    cluster.until(cluster.asleep, "ScaledToZero, and KEDA content with the ScaledObject")
    _, line = hearth.plane.kubectl("get", "llmservice", "-n", NAMESPACE).splitlines()
    assert line.split()[:4] == [NAME, "ScaledToZero", "nvidia-vllm", "0"]
    async with new_client() as client:
        cold = await Conversation().run(client)
        assert cold.whole, cold
        assert cold.beats, "no heartbeat while the engine came up"
        assert cluster.replicas() == 1
        warm = await Conversation(url=f"http://{NAME}.{NAMESPACE}.svc").run(client)
        assert warm.whole, warm
        assert not warm.beats
    await asyncio.to_thread(cluster.until, lambda: cluster.status()["phase"] == "Ready", "phase Ready")
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)
