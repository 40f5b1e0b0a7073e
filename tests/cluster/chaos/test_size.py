"""Each role is rolled out anew while 200 requests stream, 100 are held, and the cluster has many LLMServices (MANY=1000)."""

import asyncio
import os
import time
from collections.abc import Iterator

import pytest

from tests.cluster.chaos import report
from tests.cluster.chaos.world import World
from tests.cluster.deployed import ROLES, Deployed
from tests.cluster.e2e.conversation import Conversation
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import Cluster
from tests.cluster.many import make

MANY = int(os.environ.get("MANY") or 50)
SLEEPING = "chaos-size"
"""The namespace of those that nobody asks."""
STREAMING, HELD = "chaos-size-streams", "chaos-size-held"
STREAMS, WAITING = 200, 100
AT_A_TIME = 8


@pytest.fixture(scope="module")
def many(hearth: Deployed) -> Iterator[Cluster]:
    """So many LLMServices, each asleep."""
    hearth.plane.kubectl("create", "namespace", SLEEPING)
    asyncio.run(make(hearth.plane.kubeconfig, SLEEPING, MANY, AT_A_TIME))
    cluster = Cluster(hearth.plane, SLEEPING)
    names = [item["metadata"]["name"] for item in cluster.items("llmservice")]
    cluster.until(lambda: cluster.all_asleep(names), f"{MANY} LLMServices asleep", 3 * MANY)
    yield cluster
    hearth.plane.kubectl("delete", "namespace", SLEEPING, "--wait=false")


@pytest.mark.timeout(6 * MANY + 600)
@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("role", ROLES)
async def test_a_rollout_of_a_role_loses_nothing(world: World, role: str) -> None:
    cluster, plane = world.cluster, world.hearth.plane
    world.hearth.engines(
        **{
            STREAMING: ["--load-seconds=0.5", "--slots=256", "--tokens-per-second=10"],
            HELD: ["--load-seconds=40", "--slots=128"],
        }
    )
    spec = ("spec.scaling.target=200", "spec.endpoint.concurrency=256", "spec.endpoint.coldStart.heartbeatInterval=1s")
    await asyncio.to_thread(cluster.apply_all, {STREAMING: (*spec, "spec.scaling.min=1"), HELD: spec})
    await asyncio.to_thread(cluster.until, lambda: cluster.asleep(HELD), "asleep", 120.0)
    first = await Conversation(STREAMING, tokens=1).run(world.client)
    assert first.whole, first
    streams = [Conversation(STREAMING, tokens=600) for _ in range(STREAMS)]
    waiting = [Conversation(HELD, tokens=5) for _ in range(WAITING)]
    async with asyncio.TaskGroup() as group:
        for talk in (*streams, *waiting):
            group.create_task(talk.run(world.client))
        await asyncio.gather(*(talk.until(lambda heard: heard.words > 0) for talk in streams))
        await asyncio.gather(*(talk.until(lambda heard: bool(heard.beats)) for talk in waiting))
        began = time.monotonic()
        await asyncio.to_thread(plane.kubectl, "rollout", "restart", f"deployment/hearth-{role}", "-n", SYSTEM)
        await asyncio.to_thread(world.hearth.rolled_out, role)
        took = time.monotonic() - began
    broken = [f"{talk}" for talk in (*streams, *waiting) if not talk.whole]
    report.keep_rollout(role, MANY, took, STREAMS + WAITING, broken)
    assert not broken, "\n".join(broken[:5])
    await asyncio.to_thread(plane.kubectl, "delete", "llmservice", STREAMING, HELD, "-n", cluster.namespace)
