"""Pods that go while they answer: deleted, evicted, drained off their node; and one that does not end in its time."""

import asyncio
import time
from typing import Any

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import Deployed

SLOW = ["--start-seconds=0.2", "--load-seconds=0.5", "--tokens-per-second=10", "--slots=64"]


def engines(hearth: Deployed, name: str) -> list[Any]:
    return hearth.cluster.items("pods", f"serving.hearth.dev/llmservice={name}")


async def started(hearth: Deployed, name: str, *spec: str) -> None:
    hearth.engines(**{name.replace("-", "_"): SLOW})
    await asyncio.to_thread(hearth.cluster.apply, *spec, name=name)
    await asyncio.to_thread(
        hearth.cluster.until, lambda: hearth.cluster.status(name).get("phase") == "Ready", f"{name} is ready"
    )


async def test_a_deleted_pod_ends_what_it_answers_and_not_later(hearth: Deployed) -> None:
    """The kubelet counts the grace from the deletion; the preStop hook's time is part of it."""
    name = "goes"
    await started(hearth, name, "spec.scaling.min=1", "spec.scaling.drainTimeout=60s")
    (pod,) = engines(hearth, name)
    async with new_client() as client:
        talk = Conversation(name, tokens=100)
        asking = asyncio.create_task(talk.run(client))
        await talk.until(lambda heard: heard.words > 0)
        deleting = asyncio.create_task(
            asyncio.to_thread(hearth.plane.kubectl, "delete", "pod", pod["metadata"]["name"], "-n", NAMESPACE)
        )
        await asking
        assert talk.whole, talk
        await deleting
        # What is left of an engine when its last answer is over is the hook's next look, and SIGTERM.
        assert time.perf_counter() - talk.ended < 30, "it went when it was done, not when its grace was over"
    hearth.plane.kubectl("delete", "llmservice", name, "-n", NAMESPACE)


async def test_a_drain_ends_at_its_time_and_its_client_is_told(hearth: Deployed) -> None:
    name = "hangs-on"
    await started(hearth, name, "spec.scaling.min=1", "spec.scaling.drainTimeout=5s")
    (pod,) = engines(hearth, name)
    async with new_client() as client:
        talk = Conversation(name, tokens=100_000)
        asking = asyncio.create_task(talk.run(client))
        await talk.until(lambda heard: heard.words > 0)
        began = time.perf_counter()
        await asyncio.to_thread(hearth.plane.kubectl, "delete", "pod", pod["metadata"]["name"], "-n", NAMESPACE)
        await asking
        assert not talk.whole
        assert talk.error, "a stream that was cut says so"
        assert talk.ended - began > 5, "not before its drain was over"
    hearth.plane.kubectl("delete", "llmservice", name, "-n", NAMESPACE)


async def test_draining_a_node_cuts_no_stream(hearth: Deployed) -> None:
    """As its admin does it, with an activator and engines on it: budgets are kept by eviction."""
    name = "moves"
    # With a claim that a node holds they could not move: their LLMService says so, and what to do.
    scaling = ("spec.scaling.min=2", "spec.scaling.max=2", "spec.scaling.drainTimeout=90s")
    await started(hearth, name, *scaling, "spec.cache={strategy: None}")
    node = hearth.pods("activator")[0]["spec"]["nodeName"]
    async with new_client() as client:
        doors = [f"http://{pod['status']['podIP']}:8080" for pod in hearth.pods("activator")]
        talks = [Conversation(name, url=url, tokens=200) for url in doors for _ in range(6)]
        asking = [asyncio.create_task(talk.run(client)) for talk in talks]
        for talk in talks:
            await talk.until(lambda heard: heard.words > 0)
        drain = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s")
        await asyncio.to_thread(hearth.plane.kubectl, *drain)
        # And who comes meanwhile, by the Service.
        assert (await Conversation(name).run(client)).whole
        await asyncio.gather(*asking)
        for talk in talks:
            assert talk.whole, talk
    hearth.plane.kubectl("uncordon", node)
    for role in ("controller", "activator", "scaler"):
        hearth.rolled_out(role)
    hearth.plane.kubectl("delete", "llmservice", name, "-n", NAMESPACE)
