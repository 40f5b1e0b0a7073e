"""Where a prewarm lands, by the real scheduler, and what is told of it, by the real Job controller.

There is no kubelet: the test says what one would say of the Job's pods.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import runtime_manifest
from tests.cluster.controlplane import HOST
from tests.cluster.installed import Installed
from tests.cluster.kubectl import Cluster

NAME, DEVICE, CLASS = "warmed", "far.example/gpu", "local-wait"
TAINT = {"key": DEVICE, "value": "present", "effect": "NoSchedule"}
ROOM = {"cpu": "64", "memory": "256Gi", "pods": "100", "ephemeral-storage": "1Ti"}


class Prewarm(Cluster):
    """A node with devices and a taint, and a larger one with neither; a volume on each that a claim could be bound to."""

    def prepare(self) -> None:
        for node, devices, taints in (("plain", {}, []), ("far", {DEVICE: "1"}, [TAINT])):
            about = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}},
            }
            self.make({**about, "spec": {"taints": taints}})
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
            status = {"allocatable": {**ROOM, **devices}, "capacity": {**ROOM, **devices}, "conditions": [ready]}
            self.patch("node", node, {"status": status})
            at = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]
            spec = {
                "capacity": {"storage": "100Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": CLASS,
                "local": {"path": "/models"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": at}},
            }
            self.make({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": node}, "spec": spec})
        # As the taints of nodes that nobody heard of would be: there is no kubelet.
        tolerations = [
            {"key": DEVICE, "operator": "Exists"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists"},
        ]
        accelerator = json.dumps({"resourceName": DEVICE, "tolerations": tolerations})
        self.make(runtime_manifest(f"spec.accelerator={accelerator}", name=NAME))
        by_node = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
        self.make({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": CLASS}, **by_node})

    def clear(self) -> None:
        self.plane.kubectl("delete", "pv", "plain", "far", "--wait=false")
        self.plane.kubectl("delete", "storageclass", CLASS)
        self.plane.kubectl("delete", "infr", NAME)
        self.plane.kubectl("delete", "node", "plain", "far")

    def make(self, manifest: dict[str, Any]) -> None:
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def patch(self, kind: str, name: str, patch: dict[str, Any], *more: str) -> None:
        self.plane.kubectl("patch", kind, name, *more, "--subresource=status", "-p", json.dumps(patch))

    def download(self) -> Any:
        """The Job's pod that is bound and not over."""
        pods = self.items("pods", f"app.kubernetes.io/component=prewarm,serving.hearth.dev/llmservice={NAME}")
        alive = [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]
        return next((pod for pod in alive if "nodeName" in pod["spec"]), None)

    def ends(self, pod: dict[str, Any], phase: str, code: int, message: str = "") -> None:
        """What a kubelet tells of a pod that is over."""
        ended = {"terminated": {"exitCode": code, "message": message, "reason": "Completed" if code == 0 else "Error"}}
        container = {"name": "download", "state": ended, "ready": False, "restartCount": 0, "image": "i", "imageID": ""}
        patch = {"status": {"phase": phase, "containerStatuses": [container]}}
        self.patch("pod", pod["metadata"]["name"], patch, "-n", self.namespace)

    def told(self, reason: str) -> Any:
        found = self.condition("ModelCached", NAME)
        return found if found and found["reason"] == reason else None


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Prewarm]:
    address = f"{HOST}:9090"
    with installed.role("controller", "--scaler-address", address):
        made = Prewarm(installed.plane)
        made.prepare()
        cache = f"{{prewarm: true, storageClassName: {CLASS}}}"
        made.apply(f"spec.runtime={{name: {NAME}}}", f"spec.cache={cache}", name=NAME)
        yield made
        made.plane.kubectl("delete", "llmservice", NAME, "-n", made.namespace)
        made.clear()


def test_it_lands_where_the_engine_can_run_and_its_claim_is_bound_there(cluster: Prewarm) -> None:
    pod = cluster.until(cluster.download, "a pod of the Job on a node")
    assert pod["spec"]["nodeName"] == "far"
    claim = cluster.get("pvc", f"{NAME}-cache-nvidia")
    assert claim["spec"]["volumeName"] == "far"
    cluster.until(lambda: cluster.told("Downloading"), "told")


def test_its_failure_is_told_in_its_own_words_and_its_success_too(cluster: Prewarm) -> None:
    pod = cluster.until(cluster.download, "a pod of the Job on a node")
    cluster.ends(pod, "Failed", 1, "401 Client Error: Unauthorized for url")
    told = cluster.until(lambda: cluster.told("PrewarmFailed"), "told")
    assert "401 Client Error" in told["message"]
    again = cluster.until(cluster.download, "another try")
    assert again["metadata"]["uid"] != pod["metadata"]["uid"]
    cluster.ends(again, "Succeeded", 0)
    assert cluster.until(lambda: cluster.told("Cached"), "told")["status"] == "True"


def test_a_claim_that_is_deleted_goes_and_the_next_one_is_filled_anew(cluster: Prewarm) -> None:
    claim, (job,) = cluster.get("pvc", f"{NAME}-cache-nvidia"), cluster.items("jobs")
    cluster.plane.kubectl("delete", "pvc", f"{NAME}-cache-nvidia", "-n", cluster.namespace, "--wait=false")

    def anew() -> bool:
        claims, jobs = cluster.items("pvc"), cluster.items("jobs")
        uids = {each["metadata"]["uid"] for each in (*claims, *jobs)}
        return len(claims) == len(jobs) == 1 and uids.isdisjoint((claim["metadata"]["uid"], job["metadata"]["uid"]))

    cluster.until(anew, "another claim and another Job")
    cluster.until(lambda: (cluster.condition("ModelCached", NAME) or {}).get("status") == "False", "told")
