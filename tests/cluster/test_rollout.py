"""A changed template with fewer devices than replicas: the real Deployment controller and scheduler, the real KEDA.

There is no kubelet: the test says what one would say of the pods that the scheduler bound.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.builders import runtime_manifest
from tests.cluster.controlplane import CommandFailed
from tests.cluster.installed import Installed
from tests.cluster.kubectl import Cluster

NAME, NODE, DEVICE = "wide", "few", "few.example/gpu"
VERSION = "serving.hearth.dev/version"


class Rollout(Cluster):
    """A node with two devices, of which each replica needs one, and what its kubelet would do."""

    def kubelet(self) -> list[dict[str, Any]]:
        """Every bound pod runs and is ready, every terminating one ends; the pods that there are."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        room = {DEVICE: "2", "cpu": "64", "memory": "256Gi", "pods": "100", "ephemeral-storage": "1Ti"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": now}
        status = {"allocatable": room, "capacity": room, "conditions": [{**ready, "lastTransitionTime": now}]}
        self._patch("node", NODE, {"status": status})
        pods = self.items("pods", f"serving.hearth.dev/llmservice={NAME}")
        for pod in pods:
            name, spec = pod["metadata"]["name"], pod["spec"]
            if pod["metadata"].get("deletionTimestamp"):
                self.plane.kubectl("delete", "pod", name, "-n", self.namespace, "--grace-period=0", "--force")
            elif "nodeName" in spec and not self.is_ready(pod):
                conditions = [
                    {"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")
                ]
                self._patch(
                    "pod", name, {"status": {"phase": "Running", "conditions": conditions}}, "-n", self.namespace
                )
        return pods

    def _patch(self, kind: str, name: str, patch: dict[str, Any], *more: str) -> None:
        try:
            self.plane.kubectl("patch", kind, name, *more, "--subresource=status", "-p", json.dumps(patch))
        except CommandFailed as error:
            if "NotFound" not in str(error):  # gone meanwhile
                raise

    @staticmethod
    def is_ready(pod: dict[str, Any]) -> bool:
        conditions = pod["status"].get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def ready(self, image: str) -> int:
        """Replicas that are ready with this image, having let the kubelet do its part."""
        return sum(self.is_ready(pod) and pod["spec"]["containers"][0]["image"] == image for pod in self.kubelet())

    def runtime(self, image: str, **accelerator: Any) -> None:
        """Apply the runtime."""
        device = {"resourceName": DEVICE, "tolerations": [{"operator": "Exists"}], **accelerator}
        manifest = runtime_manifest(
            f"spec.container.image={image}", f"spec.accelerator={json.dumps(device)}", name=NAME
        )
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def unavailable(self) -> int:
        strategy = self.get("deployment", NAME)["spec"]["strategy"]
        return int(strategy["rollingUpdate"]["maxUnavailable"])


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Rollout]:
    with installed.looked_after():
        made = Rollout(installed.plane)
        made.plane.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        )
        made.runtime("engine:1")
        made.kubelet()
        made.apply(
            f"spec.runtime={{name: {NAME}}}", "spec.scaling={min: 3, max: 3}", "spec.cache.strategy='None'", name=NAME
        )
        made.until(lambda: made.get("deployment", NAME), "a Deployment")
        # KEDA starts none here: no activator is heard, so that the scaler tells it nothing.
        made.plane.kubectl("scale", "deployment", NAME, "-n", made.namespace, "--replicas=3")
        yield made
        made.plane.kubectl("delete", "llmservice", NAME, "-n", made.namespace)
        made.until(lambda: made.kubelet() == [], "no pods")
        made.plane.kubectl("delete", "infr", NAME)
        made.plane.kubectl("delete", "node", NODE)


def test_a_changed_template_proceeds_and_is_told(cluster: Rollout) -> None:
    cluster.until(lambda: cluster.ready("engine:1") == 2 and len(cluster.kubelet()) == 3, "two of three ready")
    cluster.until(lambda: cluster.unavailable() == 2, "one that finds no device, and one to be replaced")
    cluster.runtime("engine:2")
    lowest = 2

    def rolled() -> bool:
        nonlocal lowest
        new, old = cluster.ready("engine:2"), cluster.ready("engine:1")
        lowest = min(lowest, new + old)
        return new == 2 and old == 0

    cluster.until(
        lambda: (told := cluster.condition("UpToDate", NAME)) and told["reason"] == "RollingOut" and cluster.kubelet(),
        "told",
    )
    cluster.until(rolled, "two ready of the new version, none of the old one", 90)
    assert lowest >= 1, "one at a time: another one answers meanwhile"
    told = cluster.until(
        lambda: (found := cluster.condition("UpToDate", NAME)) and found["status"] == "True" and found, "up to date"
    )
    assert "image engine:2" in told["message"]
    versions = {pod["metadata"]["annotations"][VERSION] for pod in cluster.kubelet()}
    assert len(versions) == 1


def test_a_template_that_no_node_can_take_does_not_end_the_last_replica(cluster: Rollout) -> None:
    cluster.until(lambda: cluster.ready("engine:2") == 2 and cluster.unavailable() == 2, "two of three ready")
    cluster.runtime("engine:3", nodeSelector={"nowhere": "true"})
    cluster.until(lambda: cluster.ready("engine:2") == 1, "one was taken away")
    for _ in range(20):  # rounds of the kubelet: whatever else would be taken away would be gone by then
        assert cluster.ready("engine:2") == 1
    cluster.runtime("engine:4")
    cluster.until(lambda: cluster.ready("engine:4") == 2 and cluster.ready("engine:2") == 0, "a good template", 90)
