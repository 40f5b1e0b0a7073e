"""A choice of runtime lasts, on a real API server: what passes moves no engine, and what stays away is told."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cluster.installed import NODES, Installed
from tests.cluster.kubectl import NAMESPACE, Cluster

EITHER = "spec.runtime.selector.vendor=[nvidia, ascend]"


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Cluster]:
    with installed.looked_after():
        yield Cluster(installed.plane)


def written(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def devices(cluster: Cluster, **counts: int) -> None:
    """What the nodes `gpu` and `npu` can allocate, as kubelets that are heard tell it now."""
    now = written(datetime.now(UTC))
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": now}
    for node, count in counts.items():
        allocatable = {NODES[node]: str(count)}
        status = {"conditions": [{**ready, "lastTransitionTime": now}], "allocatable": allocatable}
        patch = json.dumps({"status": status})
        cluster.plane.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", patch)


def next_of(cluster: Cluster, name: str) -> Any:
    return cluster.status(name).get("choice", {}).get("next") or {}


def an_hour_ago(cluster: Cluster, name: str) -> None:
    """Say that what would be chosen now has been so for an hour: the controller reads it where it wrote it."""
    since = written(datetime.now(UTC) - timedelta(hours=1))
    patch = json.dumps({"status": {"choice": {"next": {"since": since}}}})
    cluster.plane.kubectl(
        *("patch", "llmservice", name, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)
    )


def replicas(cluster: Cluster, name: str, count: int) -> None:
    """As KEDA does, which notes when it was: where it has not, it takes replicas back at its next look."""
    active = json.dumps({"status": {"lastActiveTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}})
    where = ("-n", NAMESPACE, "--subresource=status", "--type=merge")
    cluster.plane.kubectl("patch", "scaledobject", name, *where, "-p", active)
    cluster.plane.kubectl("scale", "deployment", name, "-n", NAMESPACE, f"--replicas={count}")


def pods(cluster: Cluster, name: str) -> list[str]:
    """The uids of its engines."""
    return [pod["metadata"]["uid"] for pod in cluster.items("pods", f"serving.hearth.dev/llmservice={name}")]


def one_pod(cluster: Cluster, name: str) -> list[str]:
    """Wait until one engine is there."""
    found: list[str] = cluster.until(lambda: len(known := pods(cluster, name)) == 1 and known, "an engine")
    return found


def delete(cluster: Cluster, *names: str) -> None:
    cluster.plane.kubectl("delete", "llmservice", *names, "-n", NAMESPACE, "--cascade=foreground")


def test_a_device_plugin_that_restarts_moves_nothing_and_one_that_stays_away_does_at_zero(cluster: Cluster) -> None:
    devices(cluster, gpu=8, npu=8)
    cluster.apply(EITHER, name="twelve")
    cluster.until(lambda: cluster.status("twelve").get("resolvedRuntime") == "nvidia-vllm", "the first vendor")
    cluster.until(lambda: cluster.status("twelve").get("phase") == "ScaledToZero", "made")
    before = cluster.get("deployment", "twelve")
    claim = cluster.get("pvc", "twelve-cache-nvidia")["metadata"]["uid"]
    replicas(cluster, "twelve", 1)
    one_pod(cluster, "twelve")

    devices(cluster, gpu=0, npu=8)
    cluster.until(lambda: next_of(cluster, "twelve").get("runtime") == "ascend-vllm", "what would be chosen now")
    devices(cluster, gpu=8, npu=8)
    cluster.until(lambda: not next_of(cluster, "twelve"), "forgotten")

    devices(cluster, gpu=0, npu=8)
    cluster.until(lambda: next_of(cluster, "twelve"), "again")
    an_hour_ago(cluster, "twelve")
    time.sleep(6)  # longer than the controller's looks at one that has replicas
    assert cluster.get("deployment", "twelve")["spec"]["template"] == before["spec"]["template"], "a warm one stays"
    assert cluster.status("twelve")["resolvedRuntime"] == "nvidia-vllm"
    assert cluster.get("pvc", "twelve-cache-ascend") is None

    replicas(cluster, "twelve", 0)
    cluster.until(lambda: cluster.status("twelve")["resolvedRuntime"] == "ascend-vllm", "at zero it moves")
    cluster.until(lambda: cluster.get("pvc", "twelve-cache-ascend"), "with a claim of its own")
    assert cluster.get("pvc", "twelve-cache-nvidia")["metadata"]["uid"] == claim
    delete(cluster, "twelve")


@pytest.mark.parametrize("choice", [EITHER, "spec.runtime={name: nvidia-vllm}"])
def test_a_runtime_that_is_replaced_by_force_ends_no_engine(cluster: Cluster, choice: str) -> None:
    devices(cluster, gpu=8, npu=8)
    cluster.apply(choice, name="force")
    cluster.until(lambda: cluster.status("force").get("phase") == "ScaledToZero", "made")
    replicas(cluster, "force", 1)
    engine = one_pod(cluster, "force")
    before = cluster.get("deployment", "force")
    runtime = cluster.plane.kubectl("get", "infr", "nvidia-vllm", "-o", "json")
    cluster.plane.kubectl("delete", "infr", "nvidia-vllm")
    cluster.until(lambda: cluster.condition("RuntimeResolved", "force")["reason"] == "RuntimeNotFound", "told")
    assert cluster.status("force")["resolvedRuntime"] == "nvidia-vllm"
    cluster.apply(choice, "spec.scaling={min: 0, max: 4}", name="force")
    cluster.until(lambda: cluster.get("scaledobject", "force")["spec"]["maxReplicaCount"] == 4, "scaling goes on")
    made = json.loads(runtime)
    made["metadata"] = {"name": "nvidia-vllm"}
    cluster.plane.kubectl("create", "-f", "-", stdin=json.dumps(made))
    cluster.until(lambda: cluster.condition("RuntimeResolved", "force")["status"] == "True", "back")
    after = cluster.get("deployment", "force")
    assert after["spec"]["template"] == before["spec"]["template"]
    assert pods(cluster, "force") == engine
    delete(cluster, "force")


def test_a_typo_in_a_runtime_ends_no_engine_and_is_told_on_both(cluster: Cluster) -> None:
    devices(cluster, gpu=8, npu=8)
    cluster.apply(EITHER, name="typo")
    cluster.until(lambda: cluster.status("typo").get("phase") == "ScaledToZero", "made")
    replicas(cluster, "typo", 1)
    engine = one_pod(cluster, "typo")
    before = cluster.get("deployment", "typo")

    def volumes(*value: dict[str, Any]) -> None:
        patch = json.dumps({"spec": {"volumes": value}})
        cluster.plane.kubectl("patch", "infr", "nvidia-vllm", "--type=merge", "-p", patch)

    deep: dict[str, Any] = {}
    for _ in range(20):  # which a schema can't bound
        deep = {"a": deep}
    volumes({"name": "deep", "csi": deep})
    cluster.until(lambda: cluster.condition("RuntimeResolved", "typo")["reason"] == "RuntimeInvalid", "told on the one")
    words = "expected it nested at most 16 deep"
    assert words in cluster.condition("RuntimeResolved", "typo")["message"]
    accepted = "jsonpath={.status.conditions[?(@.type=='Accepted')].message}"
    cluster.until(lambda: words in cluster.plane.kubectl("get", "infr", "nvidia-vllm", "-o", accepted), "and the other")
    assert cluster.get("deployment", "typo")["spec"]["template"] == before["spec"]["template"]
    assert cluster.status("typo")["resolvedRuntime"] == "nvidia-vllm"
    volumes()
    cluster.until(lambda: cluster.condition("RuntimeResolved", "typo")["status"] == "True", "mended")
    cluster.plane.kubectl("wait", "--for=condition=Accepted", "infr", "nvidia-vllm", "--timeout=30s")
    assert cluster.get("deployment", "typo")["spec"]["template"] == before["spec"]["template"]
    assert pods(cluster, "typo") == engine
    delete(cluster, "typo")


def acme(cluster: Cluster, name: str, **accelerator: Any) -> None:
    runtime = json.loads(cluster.plane.kubectl("get", "infr", "nvidia-vllm", "-o", "json"))
    runtime["metadata"] = {"name": name}
    runtime["spec"] |= {"vendor": name, "accelerator": accelerator}
    cluster.plane.kubectl("apply", "-f", "-", stdin=json.dumps(runtime))


def test_devices_that_drivers_tell_of_are_found(cluster: Cluster) -> None:
    acme(cluster, "acme", resourceNames=["acme.com/npu-old", "acme.com/npu"])
    devices(cluster, gpu=8, npu=8)
    both = "spec.runtime.selector.vendor=[acme, nvidia]"
    cluster.apply(both, name="before")
    cluster.until(lambda: cluster.status("before").get("resolvedRuntime") == "nvidia-vllm", "no such device")
    api = {"apiVersion": "resource.k8s.io/v1"}
    selectors = [{"cel": {"expression": "device.driver == 'npu.acme.com'"}}]
    spec = {"extendedResourceName": "acme.com/npu", "selectors": selectors}
    pool = {"name": "pool", "generation": 1, "resourceSliceCount": 1}
    offered = {"driver": "npu.acme.com", "pool": pool, "nodeName": "gpu", "devices": [{"name": "d0"}]}
    items = [
        {**api, "kind": "DeviceClass", "metadata": {"name": "npu.acme.com"}, "spec": spec},
        {**api, "kind": "ResourceSlice", "metadata": {"name": "acme-0"}, "spec": offered},
    ]
    for item in items:
        cluster.plane.kubectl("create", "-f", "-", stdin=json.dumps(item))
    cluster.until(lambda: next_of(cluster, "before").get("resourceName") == "acme.com/npu", "seen")
    cluster.apply(both, name="after")
    cluster.until(lambda: cluster.status("after").get("resolvedRuntime") == "acme", "found")
    found = cluster.until(lambda: cluster.get("deployment", "after"), "a Deployment")
    cluster.until(
        lambda: (
            cluster.get("deployment", "after")["spec"]["template"]["spec"]["containers"][0]["resources"]
            .get("limits", {})
            .get("acme.com/npu")
            == "1"
        ),
        f"asked for by the name that there is: {found}",
    )
    cluster.plane.kubectl("delete", "deviceclass", "npu.acme.com")
    cluster.plane.kubectl("delete", "resourceslice", "acme-0")
    delete(cluster, "before", "after")
    cluster.plane.kubectl("delete", "infr", "acme")


def test_a_count_that_a_vendor_has_not_is_refused_by_name(cluster: Cluster) -> None:
    acme(cluster, "pairs", resourceName="pairs.com/npu", allowedCounts=[1, 2, 4, 8])
    cluster.apply("spec.runtime={name: pairs}", "spec.resources.accelerators=3", name="three")
    found = cluster.until(lambda: cluster.condition("RuntimeResolved", "three"), "a condition")
    assert (found["reason"], "found 3; InferenceRuntime pairs has 1, 2, 4, 8" in found["message"]) == (
        "CountNotAllowed",
        True,
    )
    cluster.apply("spec.runtime={name: pairs}", "spec.resources.accelerators=4", name="three")
    cluster.until(lambda: cluster.get("deployment", "three"), "a Deployment")
    delete(cluster, "three")
    cluster.plane.kubectl("delete", "infr", "pairs")


def test_claims_of_devices_come_from_the_runtime(cluster: Cluster) -> None:
    claims = [{"name": "npu", "resourceClaimTemplateName": "two-npus"}]
    acme(cluster, "claiming", resourceClaims=claims)
    cluster.apply("spec.runtime={name: claiming}", name="claims")
    cluster.until(lambda: cluster.status("claims").get("phase") == "ScaledToZero", "applied")
    pod = cluster.get("deployment", "claims")["spec"]["template"]["spec"]
    assert pod["resourceClaims"] == claims
    assert pod["containers"][0]["resources"]["claims"] == [{"name": "npu"}]
    delete(cluster, "claims")
    cluster.plane.kubectl("delete", "infr", "claiming")
