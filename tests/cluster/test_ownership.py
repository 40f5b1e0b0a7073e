"""The controller among other people's objects, on a real API server: what has our name and is not ours stays as it is."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.controlplane import CommandFailed
from tests.cluster.installed import Installed
from tests.cluster.kubectl import NAMESPACE, Cluster


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Cluster]:
    with installed.looked_after():
        yield Cluster(installed.plane)


def make(cluster: Cluster, item: dict[str, Any]) -> dict[str, Any]:
    cluster.plane.kubectl("create", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(item))
    made: dict[str, Any] = cluster.get(item["kind"].lower(), item["metadata"]["name"])
    return made


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": "shop"}, "ports": [{"port": 5432}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def claim(name: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": "shop"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "shop", "image": "shop:1"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def scaled_object(name: str) -> dict[str, Any]:
    cron = {"timezone": "UTC", "start": "0 3 1 1 *", "end": "1 3 1 1 *", "desiredReplicas": "1"}
    spec = {"scaleTargetRef": {"name": "shop"}, "triggers": [{"type": "cron", "metadata": cron}]}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": name}, "spec": spec}


THEIRS = {
    "alias": service("shop"),
    "engine": service("shop-engine"),
    "claim": claim("shop-cache-nvidia"),
    "deployment": deployment("shop"),
    "scaledobject": scaled_object("shop"),
}
OURS = ("deployment/shop", "service/shop", "service/shop-engine", "scaledobject/shop", "pvc/shop-cache-nvidia")


def hearth(cluster: Cluster, *arguments: str) -> str:
    """What the command says, whatever it thinks of it."""
    command = (sys.executable, "-m", "hearth", *arguments, "--kubeconfig", str(cluster.plane.kubeconfig))
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def taken(cluster: Cluster, name: str = "shop") -> bool:
    return (cluster.condition("Ready", name) or {}).get("reason") == "NameTaken"


@pytest.mark.parametrize("what", THEIRS)
def test_what_somebody_has_is_not_touched_and_the_service_heals_when_it_goes(cluster: Cluster, what: str) -> None:
    kind, name = THEIRS[what]["kind"].lower(), THEIRS[what]["metadata"]["name"]
    before = make(cluster, THEIRS[what])
    cluster.apply(name="shop")
    cluster.until(lambda: taken(cluster), "NameTaken")
    assert f"{THEIRS[what]['kind']} {NAMESPACE}/{name}" in cluster.condition("Ready", "shop")["message"]
    after = cluster.get(kind, name)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "ownerReferences" not in after["metadata"]
    managers = [entry["manager"] for entry in after["metadata"]["managedFields"]]
    assert [manager for manager in managers if manager.startswith("hearth")] == []
    others = [one for one in OURS if one.partition("/")[2] != name or not kind.startswith(one.partition("/")[0])]
    present = cluster.plane.kubectl("get", *others, "-n", NAMESPACE, "-o", "name", "--ignore-not-found").split()
    same = {f"{kind}/{name}", f"{kind}.apps/{name}", f"{kind}.keda.sh/{name}"}
    assert [one for one in present if one not in same] == [], "nothing of the service is made"
    cluster.plane.kubectl("delete", kind, name, "-n", NAMESPACE)
    cluster.until(lambda: cluster.status("shop").get("phase") == "ScaledToZero", "it heals by itself")
    cluster.plane.kubectl("delete", "llmservice", "shop", "-n", NAMESPACE, "--cascade=foreground")


def test_deleting_an_llmservice_leaves_what_was_never_its_own(cluster: Cluster) -> None:
    uid = make(cluster, service("shop"))["metadata"]["uid"]
    cluster.apply(name="shop")
    cluster.until(lambda: taken(cluster), "NameTaken")
    cluster.plane.kubectl("delete", "llmservice", "shop", "-n", NAMESPACE, "--cascade=foreground")
    assert cluster.get("service", "shop")["metadata"]["uid"] == uid
    cluster.plane.kubectl("delete", "service", "shop", "-n", NAMESPACE)


def test_two_llmservices_whose_services_would_meet(cluster: Cluster) -> None:
    cluster.apply(name="qwen")
    cluster.until(lambda: cluster.status("qwen").get("phase") == "ScaledToZero", "the first one")
    with pytest.raises(CommandFailed, match="expected a name that does not end in -engine"):
        cluster.apply(name="qwen-engine")
    cluster.plane.kubectl("delete", "llmservice", "qwen", "-n", NAMESPACE, "--cascade=foreground")


def test_two_llmservices_whose_claims_meet(cluster: Cluster) -> None:
    """A vendor may be called like a part of a name: then nothing is written, and the message says whose it is."""
    runtime = json.loads(cluster.plane.kubectl("get", "infr", "nvidia-vllm", "-o", "json"))
    runtime["metadata"] = {"name": "odd"}
    runtime["spec"]["vendor"] = "cache"
    cluster.plane.kubectl("apply", "-f", "-", stdin=json.dumps(runtime))
    cluster.apply("spec.runtime={name: odd}", name="two")
    cluster.until(lambda: cluster.get("pvc", "two-cache-cache"), "the first one's claim")
    cluster.apply("spec.cache.strategy=SharedPVC", name="two-cache")
    cluster.until(lambda: taken(cluster, "two-cache"), "NameTaken")
    assert "two-cache-cache (of LLMService two)" in cluster.condition("Ready", "two-cache")["message"]
    cluster.plane.kubectl("delete", "llmservice", "two", "two-cache", "-n", NAMESPACE, "--cascade=foreground")
    cluster.plane.kubectl("delete", "infr", "odd")


def test_a_copy_with_our_labels_is_not_an_orphan(cluster: Cluster) -> None:
    labels = {"serving.hearth.dev/llmservice": "copy", "app.kubernetes.io/managed-by": "hearth"}
    item = deployment("copy")
    item["metadata"]["labels"] = labels
    before = make(cluster, item)
    cluster.apply(name="copy")
    cluster.until(lambda: taken(cluster, "copy"), "NameTaken")
    assert cluster.get("deployment", "copy")["spec"] == before["spec"]
    assert cluster.status("copy")["phase"] == "Pending", "and is told of as nobody's"
    said = hearth(cluster, "status", "copy", "-n", NAMESPACE)
    assert "there is none: the conditions of the LLMService say why" in said
    cluster.plane.kubectl("delete", "deployment", "copy", "-n", NAMESPACE)
    cluster.until(lambda: cluster.status("copy").get("phase") == "ScaledToZero", "it heals by itself")
    cluster.plane.kubectl("delete", "llmservice", "copy", "-n", NAMESPACE, "--cascade=foreground")


def test_what_the_operator_of_v03_made_is_not_converted(cluster: Cluster) -> None:
    item = service("old")

    def operator() -> None:
        arguments = ("--server-side", "--field-manager=hearth-operator", "-n", NAMESPACE, "-f", "-")
        cluster.plane.kubectl("apply", *arguments, stdin=json.dumps(item))

    operator()
    cluster.apply(name="old")
    cluster.until(lambda: taken(cluster, "old"), "NameTaken")
    uid = cluster.get("llmservice", "old")["metadata"]["uid"]
    owner = {"apiVersion": "serving.hearth.dev/v1alpha1", "kind": "LLMService", "name": "old", "uid": uid}
    item["metadata"]["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
    operator()
    cluster.until(lambda: "docs/migrate-from-go.md" in cluster.condition("Ready", "old")["message"], "where to read")
    assert cluster.get("service", "old")["spec"]["selector"] == {"app": "shop"}
    assert cluster.get("deployment", "old") is None
    cluster.plane.kubectl("delete", "service", "old", "-n", NAMESPACE)
    cluster.until(lambda: cluster.status("old").get("phase") == "ScaledToZero", "handed over")
    cluster.plane.kubectl("delete", "llmservice", "old", "-n", NAMESPACE, "--cascade=foreground")


def test_a_second_scaler_is_told_while_it_is_there(cluster: Cluster) -> None:
    cluster.apply(name="fight")
    cluster.until(lambda: cluster.status("fight").get("phase") == "ScaledToZero", "made")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "fight"}
    used = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 9}}
    metrics = [{"type": "Resource", "resource": used}]
    hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "another"}}
    make(cluster, {**hpa, "spec": {"scaleTargetRef": target, "maxReplicas": 2, "metrics": metrics}})
    cluster.until(lambda: cluster.condition("ScaledObjectReady", "fight")["reason"] == "ScaledByOthers", "told")
    words = cluster.condition("ScaledObjectReady", "fight")["message"]
    assert f"HorizontalPodAutoscaler {NAMESPACE}/another" in words
    assert "ScaledByOthers" in hearth(cluster, "status", "fight", "-n", NAMESPACE)
    cluster.plane.kubectl("delete", "hpa", "another", "-n", NAMESPACE)
    cluster.until(lambda: cluster.condition("ScaledObjectReady", "fight")["reason"] != "ScaledByOthers", "over")
    cluster.plane.kubectl("delete", "llmservice", "fight", "-n", NAMESPACE, "--cascade=foreground")


def test_a_name_may_begin_with_a_digit(cluster: Cluster) -> None:
    cluster.apply(name="7b-chat")
    cluster.until(lambda: cluster.status("7b-chat").get("phase") == "ScaledToZero", "made")
    assert cluster.get("service", "7b-chat-engine")["spec"]["clusterIP"] == "None"
    cluster.plane.kubectl("delete", "llmservice", "7b-chat", "-n", NAMESPACE, "--cascade=foreground")


def test_orphans_are_taken_by_the_service_that_is_made_again(cluster: Cluster) -> None:
    cluster.apply(name="again")
    cluster.until(lambda: cluster.status("again").get("phase") == "ScaledToZero", "made")
    before = {kind: cluster.get(kind, "again")["metadata"]["uid"] for kind in ("deployment", "service", "scaledobject")}
    cluster.plane.kubectl("delete", "llmservice", "again", "-n", NAMESPACE, "--cascade=orphan")
    cluster.apply("spec.scaling.max=3", name="again")
    uid = cluster.get("llmservice", "again")["metadata"]["uid"]

    def owned() -> bool:
        owners = [cluster.get(kind, "again")["metadata"].get("ownerReferences") or [{}] for kind in before]
        return all(owner[0].get("uid") == uid for owner in owners)

    cluster.until(owned, "taken again")
    cluster.until(lambda: cluster.get("scaledobject", "again")["spec"]["maxReplicaCount"] == 3, "and applied")
    assert {kind: cluster.get(kind, "again")["metadata"]["uid"] for kind in before} == before
    cluster.plane.kubectl("delete", "llmservice", "again", "-n", NAMESPACE, "--cascade=foreground")


def test_one_that_is_deleted_and_applied_at_once_comes_back(cluster: Cluster) -> None:
    cluster.apply(name="soon")
    cluster.until(lambda: cluster.status("soon").get("phase") == "ScaledToZero", "made")
    before = cluster.get("deployment", "soon")["metadata"]["uid"]
    cluster.plane.kubectl("delete", "llmservice", "soon", "-n", NAMESPACE, "--cascade=background")
    cluster.apply(name="soon")
    cluster.until(lambda: cluster.status("soon").get("phase") == "ScaledToZero", "made again")
    assert cluster.get("deployment", "soon")["metadata"]["uid"] != before
    cluster.plane.kubectl("delete", "llmservice", "soon", "-n", NAMESPACE, "--cascade=foreground")


def test_a_field_that_is_rendered_no_more_goes(cluster: Cluster) -> None:
    """Who creates an object owns the fields of that request for ever: none of these is among them."""
    cluster.apply("spec.model.source.secretRef={name: hub}", "spec.resources={memory: 1Gi}", name="lean")
    found = cluster.until(lambda: cluster.get("deployment", "lean"), "a Deployment")
    cluster.until(lambda: cluster.condition("RuntimeResolved", "lean"), "a status")
    (container,) = cluster.get("deployment", "lean")["spec"]["template"]["spec"]["containers"]
    assert "HF_TOKEN" in [variable["name"] for variable in container["env"]]
    cluster.apply(name="lean")

    def env() -> list[str]:
        (container,) = cluster.get("deployment", "lean")["spec"]["template"]["spec"]["containers"]
        return [variable["name"] for variable in container.get("env", [])]

    cluster.until(lambda: "HF_TOKEN" not in env(), "the variable gone")
    assert cluster.get("deployment", "lean")["metadata"]["uid"] == found["metadata"]["uid"]
    runtime = json.loads(cluster.plane.kubectl("get", "infr", "nvidia-vllm", "-o", "json"))
    port = json.dumps({"spec": {"container": {"port": {"containerPort": 8123}}}})
    cluster.plane.kubectl("patch", "infr", "nvidia-vllm", "--type=merge", "-p", port)
    cluster.until(
        lambda: [one["port"] for one in cluster.get("service", "lean-engine")["spec"]["ports"]] == [8123],
        "the new port alone",
    )
    back = json.dumps({"spec": {"container": {"port": runtime["spec"]["container"]["port"]}}})
    cluster.plane.kubectl("patch", "infr", "nvidia-vllm", "--type=merge", "-p", back)
    cluster.plane.kubectl("delete", "llmservice", "lean", "-n", NAMESPACE, "--cascade=foreground")
