"""Several LLMServices side by side, two of one name, one that no node can run: each is its own."""

import asyncio

from tests.cluster.deployed import Deployed
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE, Cluster


async def test_each_is_reached_counted_scaled_and_reported_as_its_own(hearth: Deployed) -> None:
    plane, here = hearth.plane, hearth.cluster
    plane.kubectl("create", "namespace", "research")
    there = Cluster(plane, "research")
    slow = ["--start-seconds=0.2", "--load-seconds=0.5", "--tokens-per-second=10"]
    hearth.engines(twin=slow)
    here.apply("spec.scaling.min=1", "spec.scaling.max=2", name="twin")
    there.apply("spec.scaling.max=2", name="twin")
    there.apply("spec.resources.accelerators=64", name="huge")
    here.until(lambda: here.status("twin").get("phase") == "Ready", "the one with min 1 is ready unasked")
    there.until(lambda: there.asleep("twin") and there.asleep("huge"), "the others are asleep")
    async with new_client() as client:
        # By model alone the older twin is meant; by namespace, path and Host each is.
        assert (await Conversation("twin", tokens=2).run(client)).whole
        assert there.replicas("twin") == 0
        warm = Conversation(f"{NAMESPACE}/twin", tokens=60)
        asking = asyncio.create_task(warm.run(client))
        await warm.until(lambda talk: talk.words > 0)
        assert here.replicas("twin") == 1
        assert there.replicas("twin") == 0, "what one is asked is not counted for the other"
        cold = await Conversation("twin", url="http://twin.research.svc", tokens=5).run(client)
        assert cold.whole, cold
        assert cold.beats
        assert (await asking).whole
        by_path = await Conversation(
            "twin", url="http://hearth-activator.hearth-system.svc/research/twin", tokens=5
        ).run(client)
        assert by_path.whole
        listed = (await client.get("http://hearth-activator.hearth-system.svc/v1/models")).json()["data"]
        assert {model["id"] for model in listed} >= {"twin", "research/twin", "huge"}

        stuck = Conversation("huge")
        held = asyncio.create_task(stuck.run(client))
        found = await asyncio.to_thread(
            there.until,
            lambda: (c := there.condition("Ready", "huge")) and c["reason"] == "Unschedulable" and c,
            "the condition of one that no node can run",
        )
        assert "Insufficient nvidia.com/gpu" in found["message"]
        await stuck.until(lambda talk: any(beat["phase"] == "scheduling" for beat in talk.beats))
        await asyncio.to_thread(
            here.until, lambda: there.status("huge").get("queueDepth") == 1, "its queue depth, as KEDA hears it"
        )
        assert here.status("twin")["phase"] == there.status("twin")["phase"] == "Ready"
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
    here.plane.kubectl("scale", "llmservice/twin", "--replicas=0", "-n", NAMESPACE)
    assert here.get("llmservice", "twin")["spec"]["scaling"]["min"] == 0
    plane.kubectl("delete", "llmservice", "twin", "-n", NAMESPACE)
    plane.kubectl("delete", "namespace", "research")
