"""How long it takes from a client's first byte to spec.replicas 1, by one cold start after the other."""

import asyncio

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.e2e.steps import Steps
from tests.cluster.kubectl import Cluster

AT_A_TIME = 10
"""So many LLMServices: KEDA's own client is limited to 20 requests a second, which it spends on looking at all that there
are; how many those are is not what is measured."""


async def activations(cluster: Cluster, count: int) -> list[float]:
    """Seconds of each of `count` cold starts, each answered before the next. Nothing of them is left."""
    samples: list[float] = []
    for first in range(0, count, AT_A_TIME):
        samples += await _some(cluster, [f"cold-{number}" for number in range(first, min(first + AT_A_TIME, count))])
    return samples


async def _some(cluster: Cluster, names: list[str]) -> list[float]:
    samples = []
    cluster.apply_all(dict.fromkeys(names, ("spec.scaling.scaleDownStabilization=5s",)))
    cluster.until(lambda: cluster.all_asleep(names), "all of them are asleep")
    async with Steps(cluster) as steps, new_client() as client:
        for name in names:
            talk = Conversation(name, tokens=2)
            asking = asyncio.create_task(talk.run(client))
            await steps.until(name, 1)
            samples.append(steps.at[name] - talk.began)
            await asking
            assert talk.whole, talk
    cluster.plane.kubectl("delete", "llmservice", "-n", cluster.namespace, *names)
    cluster.until(
        lambda: not cluster.items("scaledobjects,hpa,deployments,pods"), "KEDA has nothing more to do for them"
    )
    return samples
