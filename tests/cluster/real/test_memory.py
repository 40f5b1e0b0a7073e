"""An engine that takes more memory than its limit, killed by its control group."""

import asyncio

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import Deployed

NAME = "hungry"


def limited(memory: str) -> str:
    return f"spec.template.spec.containers=[{{name: engine, resources: {{requests: {{memory: 8Mi}}, limits: {{memory: {memory}}}}}}}]"


async def test_an_engine_over_its_limit_is_said_and_more_memory_answers_who_waits(hearth: Deployed) -> None:
    cluster = hearth.cluster
    # A Python alone is larger; the process that runc starts first is smaller.
    cluster.apply(limited("20Mi"), "spec.endpoint.coldStart.heartbeatInterval=200ms", name=NAME)
    cluster.until(lambda: cluster.asleep(NAME), "asleep")
    async with new_client() as client:
        talk = Conversation(NAME)
        asking = asyncio.create_task(talk.run(client))
        told = await asyncio.to_thread(
            cluster.until,
            lambda: (c := cluster.condition("Ready", NAME)) and c["reason"] == "OOMKilled" and c,
            "the condition of an engine that was killed for its memory",
        )
        assert "its limit is 20Mi" in told["message"]
        await asyncio.to_thread(cluster.apply, limited("512Mi"), name=NAME)
        await asking
        assert talk.whole, talk
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)
