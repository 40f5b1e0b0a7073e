"""A node's own programs end and start again below pods that answer: a kubelet, a containerd, a device plugin."""

import asyncio
from typing import Any

import pytest

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import Deployed

SLOW = ["--start-seconds=0.2", "--load-seconds=0.5", "--tokens-per-second=10"]


def engine(hearth: Deployed, name: str) -> Any:
    (pod,) = hearth.cluster.items("pods", f"serving.hearth.dev/llmservice={name}")
    return pod


@pytest.mark.parametrize("program", ["kubelet", "containerd"])
async def test_streams_go_on_while_a_nodes_program_is_away(hearth: Deployed, program: str) -> None:
    cluster, name = hearth.cluster, f"below-{program}"
    hearth.engines(**{name.replace("-", "_"): SLOW})
    cluster.apply("spec.scaling.min=1", name=name)
    cluster.until(lambda: cluster.status(name).get("phase") == "Ready", "ready")
    before = engine(hearth, name)
    node = hearth.nodes[before["spec"]["nodeName"]]
    async with new_client() as client:
        talk = Conversation(name, tokens=150)
        asking = asyncio.create_task(talk.run(client))
        await talk.until(lambda heard: heard.words > 0)
        await asyncio.to_thread(node.stop, program)
        assert (await Conversation(name).run(client)).whole, "one who asks while it is away"
        await asyncio.to_thread(node.start_again, program)
        await asking
        assert talk.whole, talk
        assert (await Conversation(name).run(client)).whole
    after = engine(hearth, name)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    hearth.plane.kubectl("delete", "llmservice", name, "-n", NAMESPACE)


async def test_devices_that_are_lost_are_told_and_back_they_are_used(hearth: Deployed) -> None:
    cluster, name = hearth.cluster, "without-devices"
    nodes = [hearth.nodes["gpu-1"], hearth.nodes["gpu-2"]]
    cluster.apply("spec.endpoint.coldStart.heartbeatInterval=200ms", name=name)
    cluster.until(lambda: cluster.asleep(name), "asleep")
    nodes[0].devices.have(8, unhealthy=8)
    nodes[1].devices.have(0)
    for node in nodes:
        cluster.until(lambda node=node: allocatable(hearth, node.spec.name) == "0", f"{node.spec.name} has none")  # type: ignore[misc]
    async with new_client() as client:
        talk = Conversation(name)
        asking = asyncio.create_task(talk.run(client))
        told = await asyncio.to_thread(
            cluster.until,
            lambda: (c := cluster.condition("Ready", name)) and c["reason"] == "Unschedulable" and c,
            "the condition of an engine without a device",
        )
        assert "Insufficient nvidia.com/gpu" in told["message"]
        for node in nodes:
            node.devices.have(8)
        await asking
        assert talk.whole, talk
    hearth.plane.kubectl("delete", "llmservice", name, "-n", NAMESPACE)


def allocatable(hearth: Deployed, node: str) -> str:
    return hearth.plane.kubectl("get", "node", node, "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}")
