"""What a person changes: vendor, hub, a secret that comes late, deletion."""

import asyncio
import json
from functools import partial

from tests.builders import SEED
from tests.cluster.deployed import Deployed
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAME, NAMESPACE, Cluster


def ready_on(cluster: Cluster, node: str) -> bool:
    """Whether every engine that is not on its way out is ready and on this kind of node."""
    pods = [
        pod
        for pod in cluster.items("pods", f"serving.hearth.dev/llmservice={NAME}")
        if not pod["metadata"].get("deletionTimestamp")
    ]
    return bool(pods) and all(
        pod["spec"].get("nodeName", "").startswith(node)
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        for pod in pods
    )


async def test_another_vendor_and_another_hub_are_one_line(hearth: Deployed) -> None:
    plane, cluster = hearth.plane, hearth.cluster
    warm = SEED.read_text().replace("min: 0", "min: 1")
    async with new_client() as client:
        for line, node, hub in (
            (warm, "gpu", "True"),
            (warm.replace("[nvidia, ascend]", "[ascend]"), "npu", "True"),
            (warm.replace("[nvidia, ascend]", "[ascend]").replace("modelscope://", "hf://"), "npu", None),
            # Where the list has the vendor that serves, it goes on serving: a choice lasts.
            (warm.replace("modelscope://", "hf://"), "npu", None),
            (warm.replace("[nvidia, ascend]", "[nvidia]").replace("modelscope://", "hf://"), "gpu", None),
        ):
            plane.kubectl("apply", "-f", "-", stdin=line)
            await asyncio.to_thread(cluster.until, partial(moved, cluster, node, hub), f"served on {node}, hub {hub}")
            talk = await Conversation().run(client)
            assert talk.whole, talk
    # Claims with weights go with their service, never because another vendor was chosen.
    assert sorted(claims(cluster)) == [f"{NAME}-cache-ascend", f"{NAME}-cache-nvidia"]
    plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)


def claims(cluster: Cluster) -> list[str]:
    return [claim["metadata"]["name"] for claim in cluster.items("pvc", f"serving.hearth.dev/llmservice={NAME}")]


def moved(cluster: Cluster, node: str, hub: str | None) -> bool:
    deployment = cluster.get("deployment")
    if (
        deployment is None
        or cluster.status().get("observedGeneration") != cluster.get("llmservice")["metadata"]["generation"]
    ):
        return False
    env = deployment["spec"]["template"]["spec"]["containers"][0].get("env", [])  # none in its first moment
    modelscope = {variable["name"]: variable.get("value") for variable in env}.get("VLLM_USE_MODELSCOPE")
    done = deployment["status"].get("observedGeneration") == deployment["metadata"]["generation"]
    return modelscope == hub and done and ready_on(cluster, node)


def test_a_missing_secret_is_said_and_its_coming_is_enough(hearth: Deployed) -> None:
    plane, cluster = hearth.plane, hearth.cluster
    cluster.apply("spec.model.source.secretRef.name=hub", "spec.scaling.min=1", name="secretive")
    # KEDA reads the engine's environment before it scales: its condition is the one that says it.
    found = cluster.until(
        lambda: (c := cluster.condition("ScaledObjectReady", "secretive")) and c["reason"] == "SecretNotFound" and c,
        "the condition of a missing Secret",
    )
    assert "kubectl create secret generic hub -n ai-prod --from-literal=token=" in found["message"]
    assert cluster.status("secretive")["phase"] == "Degraded"
    plane.kubectl("create", "secret", "generic", "hub", "--from-literal=token=hf_x", "-n", NAMESPACE)
    cluster.until(lambda: cluster.status("secretive").get("phase") == "Ready", "ready, now that it is there")
    events = plane.kubectl("describe", "llmservice", "secretive", "-n", NAMESPACE)
    assert "SecretNotFound" in events
    plane.kubectl("delete", "llmservice", "secretive", "-n", NAMESPACE)
    plane.kubectl("delete", "secret", "hub", "-n", NAMESPACE)


def test_an_image_that_is_not_there_is_said(hearth: Deployed) -> None:
    plane, cluster = hearth.plane, hearth.cluster
    runtime = json.loads(plane.kubectl("get", "infr", "nvidia-vllm", "-o", "json"))
    runtime["metadata"] = {"name": "wrong-image"}
    runtime["spec"]["container"]["image"] = "nowhere.example/engine:1"
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(runtime))
    cluster.apply("spec.runtime={name: wrong-image}", "spec.scaling.min=1", name="imageless")
    found = cluster.until(
        lambda: (c := cluster.condition("Ready", "imageless")) and c["reason"] == "ImageNotPulled" and c,
        "the condition of an image that is not there",
    )
    assert "nowhere.example/engine:1" in found["message"]
    plane.kubectl("delete", "llmservice", "imageless", "-n", NAMESPACE)
    plane.kubectl("delete", "infr", "wrong-image")


async def test_a_deleted_service_leaves_nothing_and_tells_who_waits(hearth: Deployed) -> None:
    plane, cluster = hearth.plane, hearth.cluster
    hearth.engines(leaving=["--start-seconds=0.2", "--load-seconds=600"])
    cluster.apply("spec.endpoint.coldStart.heartbeatInterval=200ms", name="leaving")
    cluster.until(lambda: cluster.asleep("leaving"), "asleep")
    async with new_client() as client:
        held = Conversation("leaving")
        waiting = asyncio.create_task(held.run(client))
        await held.until(lambda talk: any(beat["phase"] == "loading" for beat in talk.beats))
        await asyncio.to_thread(plane.kubectl, "delete", "llmservice", "leaving", "-n", NAMESPACE)
        async with asyncio.timeout(10):
            await waiting
        assert "leaving" in held.error
        assert not held.done
        gone = await Conversation("leaving").run(client)
        assert gone.status == 404
    kinds = "deployments,replicasets,pods,services,endpointslices,scaledobjects,hpa,pvc,jobs"
    cluster.until(
        lambda: not [item for item in cluster.items(kinds) if item["metadata"]["name"].startswith("leaving")],
        "nothing of it is left",
    )
    cluster.until(lambda: "leaving" not in plane.kubectl("get", "pv", "-o", "wide"), "no volume of it is left")
