"""Everything that keeps a replica away is told, in `kubectl get`, conditions, Events, `hearth status` and doctor alike, on
the real control plane and KEDA. There is no kubelet: what one would write into a pod's status is written by hand."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import llmservice_manifest
from tests.cluster.controlplane import CommandFailed, ControlPlane, run
from tests.cluster.installed import Installed
from tests.cluster.kubectl import NAMESPACE, Cluster

WARM = ("spec.scaling.min=1", "spec.cache.strategy='None'", "spec.runtime={selector: {vendor: [ascend]}}")
ENGINE_NODE = {
    "capacity": {"cpu": "64", "memory": "256Gi", "pods": "100", "huawei.com/Ascend910": "8"},
    "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "by hand"}],
}


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Cluster]:
    """What the scaler can't tell, KEDA does not scale: it hears an activator here."""
    with installed.served():
        yield Cluster(installed.plane)


def hearth(plane: ControlPlane, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hearth", *arguments, "--kubeconfig", str(plane.kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def agree(cluster: Cluster, name: str, reason: str, words: str) -> None:
    """Every place where a person looks says this reason, and `words` of it."""
    plane, where = cluster.plane, ("-n", cluster.namespace)
    ready = cluster.until(
        lambda: (each := cluster.condition("Ready", name)) and each["reason"] == reason and each, f"Ready: {reason}"
    )
    assert (ready["status"], words in ready["message"]) == ("False", True), ready
    line = plane.kubectl("get", "llmservice", name, *where, "--no-headers").split()
    assert line[2:4] == ["False", reason]
    described = cluster.until(
        lambda: reason in (text := plane.kubectl("describe", "llmservice", name, *where)) and text, "an Event"
    )
    assert "Warning" in described
    status = hearth(plane, "status", f"{cluster.namespace}/{name}")
    assert (status.returncode, f"{reason}: " in status.stdout, words in status.stdout) == (1, True, True), status.stdout
    assert f"{cluster.namespace}/{name}" in (doctor := hearth(plane, "doctor").stdout)
    assert f"{reason}: " in doctor


def policy(namespace: str) -> list[dict[str, Any]]:
    """An admission policy of somebody else's."""
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    spec = {
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "false", "message": "no pods on fridays"}],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    bound = {
        "policyName": "fridays",
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    api = "admissionregistration.k8s.io/v1"
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "fridays"}, "spec": spec},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "fridays"}, "spec": bound},
    ]


def limits(namespace: str, kind: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"apiVersion": "v1", "kind": kind, "metadata": {"name": "limits", "namespace": namespace}, "spec": spec}]


OBSTACLES: dict[str, tuple[str, Callable[[str], list[dict[str, Any]]]]] = {
    "quota": ("exceeded quota: limits", lambda space: limits(space, "ResourceQuota", {"hard": {"pods": "0"}})),
    "limit-range": (
        "maximum cpu usage per Pod is 1m",
        lambda space: limits(space, "LimitRange", {"limits": [{"type": "Pod", "max": {"cpu": "1m"}}]}),
    ),
    "pod-security": ("violates PodSecurity", lambda space: []),
    "admission": ("no pods on fridays", policy),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_pod_that_the_api_server_refuses(cluster: Cluster, obstacle: str) -> None:
    plane, space = cluster.plane, f"told-{obstacle}"
    words, made = OBSTACLES[obstacle]
    plane.kubectl("create", "namespace", space)
    if obstacle == "pod-security":
        plane.kubectl("label", "namespace", space, "pod-security.kubernetes.io/enforce=baseline")
    objects = made(space)
    try:
        for item in objects:
            plane.kubectl("apply", "-f", "-", stdin=json.dumps(item))
        if obstacle == "admission":  # the API server takes a moment to act on one
            probe = ("run", "probe", "-n", space, "--image=x", "--dry-run=server")
            cluster.until(lambda: refused(plane, *probe), "the policy in force")
        there = Cluster(plane, space)
        there.apply(*WARM, name="warm")
        agree(there, "warm", "PodNotCreated", words)
        assert there.status("warm")["phase"] == "Degraded"
        assert "eta" not in there.status("warm").get("coldStart", {})
    finally:
        for item in objects:
            plane.kubectl("delete", item["kind"], item["metadata"]["name"], "-n", space)
        plane.kubectl("delete", "namespace", space)


def refused(plane: ControlPlane, *arguments: str) -> bool:
    try:
        plane.kubectl(*arguments)
    except CommandFailed:
        return True
    return False


def test_a_service_at_rest_is_ready_and_one_that_should_have_a_replica_is_not(cluster: Cluster) -> None:
    plane = cluster.plane
    cluster.apply(name="resting")
    wait = ("wait", "--for=condition=Ready", "-n", NAMESPACE)
    plane.kubectl(*wait, "llmservice/resting", "--timeout=60s")
    ready = cluster.condition("Ready", "resting")
    assert (ready["status"], ready["reason"]) == ("True", "ScaledToZero")
    assert ready["observedGeneration"] == cluster.get("llmservice", "resting")["metadata"]["generation"]
    assert cluster.condition("PodsHealthy", "resting")["status"] == "True"
    assert hearth(plane, "status", "resting", "-n", NAMESPACE).returncode == 0
    cluster.apply("spec.scaling.min=1", "spec.cache.strategy='None'", name="resting")
    agree(cluster, "resting", "Unschedulable", "nodes are available")
    assert cluster.status("resting")["phase"] == "Loading"
    with pytest.raises(CommandFailed, match="timed out"):
        plane.kubectl(*wait, "llmservice/resting", "--timeout=1s")
    plane.kubectl("delete", "llmservice", "resting", "-n", NAMESPACE)


def test_a_keda_that_is_paused_or_does_not_run(cluster: Cluster) -> None:
    plane = cluster.plane
    cluster.apply(name="held")
    cluster.until(lambda: cluster.asleep("held"), "asleep")
    annotate = ("annotate", "scaledobject", "held", "-n", NAMESPACE, "--overwrite")
    for annotation in ("paused=true", "paused-replicas=0", "paused-scale-out=true"):
        plane.kubectl(*annotate, f"autoscaling.keda.sh/{annotation}")
        name = annotation.partition("=")[0]
        agree(cluster, "held", "ScalingPaused", f"autoscaling.keda.sh/{name}-")
        plane.kubectl(*annotate, f"autoscaling.keda.sh/{name}-")
        cluster.until(lambda: cluster.condition("Ready", "held")["reason"] == "ScaledToZero", "at rest again")
    plane.kubectl(*annotate, "autoscaling.keda.sh/paused=false")
    plane.kill("keda-operator")
    plane.kill("keda-adapter")
    try:
        cluster.until(lambda: cluster.condition("Ready", "held")["reason"] == "KedaNotRunning", "KEDA away", 90)
        agree(cluster, "held", "KedaNotRunning", "Lease keda/operator.keda.sh")
        assert cluster.status("held")["phase"] == "Degraded"
    finally:
        plane.start_keda()
    cluster.until(lambda: cluster.condition("Ready", "held")["reason"] == "ScaledToZero", "KEDA back")
    plane.kubectl("delete", "llmservice", "held", "-n", NAMESPACE)


@pytest.fixture
def engine_node(cluster: Cluster) -> Iterator[None]:
    """A node that takes engines, and runs none of them."""
    plane = cluster.plane
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "by-hand"}}
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(node))
    status = {**ENGINE_NODE, "allocatable": ENGINE_NODE["capacity"]}
    where = ("node", "by-hand", "--subresource=status", "--type=merge")
    plane.kubectl("patch", *where, "-p", json.dumps({"status": status}))
    yield
    plane.kubectl("delete", "node", "by-hand")


def as_kubelet(cluster: Cluster, pod: str, status: dict[str, Any]) -> None:
    where = ("pod", pod, "-n", NAMESPACE, "--subresource=status", "--type=merge")
    cluster.plane.kubectl("patch", *where, "-p", json.dumps({"status": status}))


def container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {"name": "engine", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Pending", "containerStatuses": [{**about, **more, "state": state}]}


STATES = {
    "OOMKilled": (
        container(
            {"waiting": {"reason": "CrashLoopBackOff"}},
            restartCount=4,
            lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        ),
        "killed for its memory (OOMKilled) 4 times",
    ),
    "EngineCrashing": (
        container(
            {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            restartCount=2,
            lastState={"terminated": {"exitCode": 1, "reason": "Error"}},
        ),
        "exited 2 times, last with 1 (Error)",
    ),
    "ImageNotPulled": (container({"waiting": {"reason": "ErrImagePull", "message": "no such tag"}}), "no such tag"),
    "ContainerNotCreated": (
        container({"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}),
        'secret "x" not found',
    ),
}


@pytest.mark.usefixtures("engine_node")
def test_what_a_kubelet_says_of_a_pod_and_what_of_one_that_ended(cluster: Cluster) -> None:
    plane = cluster.plane
    cluster.apply(*WARM, name="wrong")
    selector = "serving.hearth.dev/llmservice=wrong"

    def pods() -> list[str]:
        found = cluster.items("pods", selector)
        return [pod["metadata"]["name"] for pod in found if pod["spec"].get("nodeName")]

    (name,) = cluster.until(pods, "a pod on a node")
    for reason, (status, words) in STATES.items():
        as_kubelet(cluster, name, status)
        agree(cluster, "wrong", reason, words)
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    as_kubelet(cluster, name, {**evicted, "containerStatuses": None})
    found = cluster.until(
        lambda: (each := cluster.condition("PodsHealthy", "wrong")) and each["reason"] == "PodFailed" and each,
        "evicted",
    )
    assert f"pod {name} has ended: Evicted: The node was low on resource: memory." in found["message"]
    cluster.until(lambda: cluster.condition("Ready", "wrong")["reason"] == "ColdStart", "its successor counts")
    assert cluster.condition("Ready", "wrong")["status"] == "False", "scaling.min is 1"
    plane.kubectl("delete", "llmservice", "wrong", "-n", NAMESPACE)
    plane.kubectl("delete", "pods", "-n", NAMESPACE, "-l", selector, "--force", "--grace-period=0")


def test_helm_waits_for_what_is_ready_and_gives_up_where_time_mends_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """kstatus, which Flux uses too."""
    binary = os.environ.get("HEARTH_HELM")
    assert binary, "HEARTH_HELM names no helm; run `make e2e`, which builds it"
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: model\nversion: 1.0.0\n")
    folders = {f"HELM_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "CONFIG", "DATA")}
    env = {**os.environ, **folders, "KUBECONFIG": str(cluster.plane.kubeconfig)}

    def install(name: str) -> str:
        manifest = json.dumps(llmservice_manifest(name, NAMESPACE))
        (chart / "templates" / "model.yaml").write_text(manifest)
        return run(binary, "install", name, str(chart), "-n", NAMESPACE, "--wait", "--timeout=60s", env=env)

    install("charted")
    assert cluster.condition("Ready", "charted")["reason"] == "ScaledToZero"
    cluster.plane.kubectl("create", "service", "clusterip", "taken", "--tcp=80", "-n", NAMESPACE)
    began = time.monotonic()
    with pytest.raises(CommandFailed):
        install("taken")
    assert time.monotonic() - began < 45, "it does not wait for its time-out"
    assert cluster.condition("Stalled", "taken")["reason"] == "NameTaken"
    for name in ("charted", "taken"):
        run(binary, "uninstall", name, "-n", NAMESPACE, env=env)
    cluster.plane.kubectl("delete", "service", "taken", "-n", NAMESPACE)
