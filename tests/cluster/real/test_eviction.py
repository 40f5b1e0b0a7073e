"""An engine that writes more to its own disk than it may, evicted by its kubelet."""

import asyncio

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import Deployed

NAME = "writes"
SPEC = (
    "spec.scaling.min=1",
    "spec.template.spec.containers=[{name: engine, resources: {limits: {ephemeral-storage: 20Mi}}}]",
)


async def test_an_evicted_engine_has_a_successor_that_answers(hearth: Deployed) -> None:
    cluster = hearth.cluster

    def named() -> set[str]:
        pods = cluster.items("pods", f"serving.hearth.dev/llmservice={NAME}")
        return {pod["metadata"]["name"] for pod in pods if pod["status"].get("reason") != "Evicted"}

    def evicted() -> bool:
        return bool(cluster.get("pod", first)["status"].get("reason") == "Evicted")

    await asyncio.to_thread(cluster.apply, *SPEC, name=NAME)
    async with new_client() as client:
        assert (await Conversation(NAME).run(client)).whole
        (first,) = named()
        write = ("sh", "-c", "head -c 40000000 /dev/zero >/var/tmp/written && sync")
        await asyncio.to_thread(hearth.plane.kubectl, "exec", "-n", NAMESPACE, first, "--", *write)
        await asyncio.to_thread(cluster.until, evicted, "the pod evicted for what it wrote", 120.0)
        assert (await Conversation(NAME).run(client)).whole
    assert first not in named()
    # The evicted pod stays, as the kubelet leaves it for people to read; it is no replica.
    await asyncio.to_thread(
        cluster.until,
        lambda: cluster.status(NAME).get("phase") == "Ready",
        "well",
    )
    hearth.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)
