"""Many at once: 1 → 5 in one step, and down again without cutting a stream."""

import asyncio

from hearth.kube.client import KubeClient
from tests.cluster.deployed import Deployed
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.e2e.steps import Steps

NAME = "burst"
SPEC = (
    *("spec.scaling.max=5", "spec.scaling.target=5"),
    *("spec.scaling.scaleDownStabilization=5s", "spec.scaling.drainTimeout=90s"),
)


async def test_a_burst_is_one_step_and_the_way_down_cuts_nobody(hearth: Deployed) -> None:
    cluster = hearth.cluster
    hearth.engines(burst=["--start-seconds=0.2", "--load-seconds=0.5", "--tokens-per-second=10", "--slots=64"])
    cluster.apply(*SPEC, name=NAME)
    cluster.until(lambda: cluster.asleep(NAME), "asleep")
    kube = await KubeClient.connect(hearth.plane.kubeconfig)
    try:
        async with Steps(kube, cluster.namespace, NAME) as steps, new_client() as client, asyncio.TaskGroup() as group:
            # 23 at target 5. They outlast the HPA's next sync, which is 15 s away at most.
            burst = [Conversation(NAME, tokens=350) for _ in range(23)]
            answers = [group.create_task(talk.run(client)) for talk in burst]
            await steps.until(5)
            assert steps.seen[-3:] == [0, 1, 5]
            await asyncio.to_thread(
                cluster.until, lambda: cluster.status(NAME).get("readyReplicas") == 5, "five are ready"
            )
            # Then five long ones, one to each replica: demand for one replica only, and streams on all.
            long = [Conversation(NAME, tokens=900) for _ in range(5)]
            answers += [group.create_task(talk.run(client)) for talk in long]
            await steps.until(4, seconds=120)
            assert not any(talk.ended for talk in long), "the first replica is told to go while it streams"
            await asyncio.gather(*answers)
            for talk in (*burst, *long):
                assert talk.whole, talk
            await steps.until(0, seconds=240)
            down = steps.seen[steps.seen.index(5) :]
            assert down == sorted(down, reverse=True), steps.seen
    finally:
        await kube.close()
        hearth.plane.kubectl("delete", "llmservice", NAME, "-n", cluster.namespace)
