"""Many at once: 1 → 5 in one step, and down again without cutting a stream."""

import asyncio

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
    async with Steps(cluster) as steps, new_client() as client, asyncio.TaskGroup() as group:
        # 23 at target 5. They outlast the HPA's next sync, which is 15 s away at most.
        burst = [Conversation(NAME, tokens=350) for _ in range(23)]
        answers = [group.create_task(talk.run(client)) for talk in burst]
        await steps.until(NAME, 5)
        assert steps.seen[NAME][-3:] == [0, 1, 5]
        await asyncio.to_thread(cluster.until, lambda: cluster.status(NAME).get("readyReplicas") == 5, "five are ready")
        # Then five long ones, one to each replica: demand for one replica only, and streams on all.
        long = [Conversation(NAME, tokens=900) for _ in range(5)]
        answers += [group.create_task(talk.run(client)) for talk in long]
        await steps.until(NAME, 4, seconds=120)
        assert not any(talk.ended for talk in long), "the first replica is told to go while it streams"
        await asyncio.gather(*answers)
        for talk in (*burst, *long):
            assert talk.whole, talk
        await steps.until(NAME, 0, seconds=240)
        seen = steps.seen[NAME]
        assert seen[seen.index(5) :] == [5, 4, 3, 2, 1, 0], "one at a time"
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", cluster.namespace)
