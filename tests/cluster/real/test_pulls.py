"""Images that come late: a pull that takes its time, and one that fails, while a request is held."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import Deployed

HOLD = "spec.endpoint.coldStart.heartbeatInterval=200ms"


@pytest.fixture
def fresh(hearth: Deployed, request: pytest.FixtureRequest) -> Iterator[str]:
    """A runtime whose image no node has pulled: the bundled one's, by another registry's host."""
    name = request.function.__name__.replace("_", "-")[:40].rstrip("-")
    runtime = json.loads(hearth.plane.kubectl("get", "infr", "nvidia-vllm", "-o", "json"))
    image = runtime["spec"]["container"]["image"].removeprefix("docker.io/")
    runtime["metadata"] = {"name": name}
    runtime["spec"]["container"]["image"] = f"{name}.example/{image}"
    hearth.plane.kubectl("apply", "-f", "-", stdin=json.dumps(runtime))
    hearth.cluster.apply(f"spec.runtime={{name: {name}}}", HOLD, name=name)
    hearth.cluster.until(lambda: hearth.cluster.asleep(name), "asleep")
    yield name
    hearth.plane.kubectl("delete", "llmservice", name, "-n", NAMESPACE)
    hearth.plane.kubectl("delete", "infr", name)


async def test_a_pull_is_told_while_it_goes_on(hearth: Deployed, fresh: str) -> None:
    with hearth.nodes.registry.paused():
        async with new_client() as client:
            talk = Conversation(fresh)
            asking = asyncio.create_task(talk.run(client))
            await talk.until(lambda heard: heard.beats[-1:] != [] and heard.beats[-1]["phase"] == "pulling-image")
            told = await asyncio.to_thread(
                hearth.cluster.until,
                lambda: "Pulling image" in (hearth.cluster.status(fresh).get("coldStart") or {}).get("message", ""),
                "the kubelet's word in the status",
            )
            assert told
            hearth.nodes.registry.go_on()
            await asking
            assert talk.whole, talk


async def test_a_pull_that_failed_is_told_and_healed_while_a_request_is_held(hearth: Deployed, fresh: str) -> None:
    cluster = hearth.cluster
    hearth.nodes.registry.stop()
    try:
        async with new_client() as client:
            talk = Conversation(fresh)
            asking = asyncio.create_task(talk.run(client))
            condition = await asyncio.to_thread(
                cluster.until,
                lambda: (c := cluster.condition("Ready", fresh)) and c["reason"] == "ImageNotPulled" and c,
                "the condition of an image that can't be pulled",
            )
            assert f"{fresh}.example/" in condition["message"]
            await talk.until(lambda heard: heard.beats[-1]["phase"] == "pulling-image")
            hearth.nodes.registry.start()
            await asking  # the kubelet tries again after 10 s, then after 20 s
            assert talk.whole, talk
    finally:
        hearth.nodes.registry.start()
    assert await asyncio.to_thread(
        cluster.until, lambda: (cluster.condition("Ready", fresh) or {}).get("status") == "True", "told as Ready"
    )
