"""The controller, as a process, on a real API server beside a real KEDA. There is no kubelet: pods stay pending."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.builders import ROOT, SEED
from tests.cluster.controlplane import CommandFailed
from tests.cluster.installed import Installed
from tests.cluster.kubectl import NAME, NAMESPACE, Cluster


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Cluster]:
    with installed.looked_after():
        yield Cluster(installed.plane)


def test_the_seed_becomes_objects_with_an_owner_and_no_replica(cluster: Cluster) -> None:
    cluster.plane.kubectl("apply", "-f", str(SEED))
    deployment = cluster.until(lambda: cluster.get("deployment"), "a Deployment")
    cluster.until(lambda: cluster.get("scaledobject"), "a ScaledObject")
    service = cluster.get("llmservice")
    for kind, name in (("deployment", NAME), ("scaledobject", NAME), ("service", NAME), ("service", f"{NAME}-engine")):
        found = cluster.until(lambda kind=kind, name=name: cluster.get(kind, name), f"{kind} {name}")  # type: ignore[misc]
        (owner,) = found["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("LLMService", service["metadata"]["uid"], True)
    assert deployment["spec"]["replicas"] == 0, "no accelerator is taken before anybody asks"
    cluster.until(lambda: (each := cluster.condition("Ready")) and each["status"] == "True", "at rest, and Ready")
    _, line = cluster.plane.kubectl("get", "llmservice", "-n", NAMESPACE).splitlines()
    assert line.split()[:6] == [NAME, "ScaledToZero", "True", "ScaledToZero", "0", "nvidia-vllm"]
    assert cluster.condition("RuntimeResolved")["status"] == "True"
    assert cluster.condition("Ready")["reason"] == "ScaledToZero"
    pods = cluster.plane.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name")
    assert pods == ""


def test_what_somebody_edits_is_put_back_and_the_replicas_are_not(cluster: Cluster) -> None:
    patch = {"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "engine", "image": "mine:1"}]}}}}
    container = cluster.get("deployment")["spec"]["template"]["spec"]["containers"][0]["name"]
    patch["spec"]["template"]["spec"]["containers"][0]["name"] = container  # type: ignore[index]
    wanted = cluster.image()
    # KEDA would take an unasked-for replica away: it is told to leave this one alone while we look.
    pause = ("scaledobject", NAME, "-n", NAMESPACE)
    cluster.plane.kubectl("annotate", *pause, "autoscaling.keda.sh/paused=true")
    cluster.plane.kubectl("patch", "deployment", NAME, "-n", NAMESPACE, "-p", json.dumps(patch))
    cluster.until(lambda: cluster.image() == wanted, "the image put back")
    assert cluster.get("deployment")["spec"]["replicas"] == 2
    loading = cluster.until(lambda: cluster.get("llmservice")["status"].get("coldStart") or {}, "a cold start")
    assert loading["phase"] == "scheduling"
    assert cluster.condition("Ready")["reason"] == "Unschedulable"
    cluster.plane.kubectl("annotate", *pause, "autoscaling.keda.sh/paused-")
    cluster.plane.kubectl("scale", "deployment", NAME, "-n", NAMESPACE, "--replicas=0")
    cluster.until(lambda: cluster.get("llmservice")["status"]["phase"] == "ScaledToZero", "ScaledToZero again")
    assert "coldStart" not in cluster.get("llmservice")["status"]


def test_a_rollout_that_somebody_pauses_goes_on(cluster: Cluster) -> None:
    cluster.plane.kubectl("rollout", "pause", "deployment", NAME, "-n", NAMESPACE)
    cluster.until(lambda: not cluster.get("deployment")["spec"].get("paused"), "it goes on")
    before = cluster.get("deployment")["metadata"]["resourceVersion"]
    cluster.apply("spec.scaling.max=2", name="settled")
    cluster.until(lambda: (cluster.condition("Ready", "settled") or {}).get("status") == "True", "another one")
    assert cluster.get("deployment")["metadata"]["resourceVersion"] == before, "and it is not written again"
    cluster.plane.kubectl("delete", "llmservice", "settled", "-n", NAMESPACE, "--cascade=foreground")


def test_an_admission_webhook_that_is_down_is_told_and_stops_no_other_object(cluster: Cluster) -> None:
    cluster.apply("spec.scaling.min=1", name="hooked")
    cluster.until(lambda: _least(cluster.get("scaledobject", "hooked")) == 1, "it is there")
    hook = {
        "name": "down.acme.test",
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "rules": [
            {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]},
        ],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    about = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    made = {**about, "metadata": {"name": "down"}, "webhooks": [hook]}
    cluster.plane.kubectl("create", "-f", "-", stdin=json.dumps(made))
    try:
        # The API server takes a second to hear of a webhook.
        edit = ("annotate", "deployment", "hooked", "-n", NAMESPACE, "x=y", "--dry-run=server")
        cluster.until(lambda: _fails(lambda: cluster.plane.kubectl(*edit)), "the webhook refuses")
        cluster.apply("spec.scaling.min=0", "spec.runtime.argsOverride=[--seed=1]", name="hooked")
        cluster.until(lambda: (cluster.condition("Ready", "hooked") or {}).get("reason") == "Refused", "it is told")
        assert "failed calling webhook" in cluster.condition("Ready", "hooked")["message"]
        cluster.until(lambda: _least(cluster.get("scaledobject", "hooked")) == 0, "the ScaledObject is written")
    finally:
        cluster.plane.kubectl("delete", "validatingwebhookconfiguration", "down")
    cluster.until(lambda: (cluster.condition("Ready", "hooked") or {}).get("reason") != "Refused", "it recovers")
    cluster.plane.kubectl("delete", "llmservice", "hooked", "-n", NAMESPACE, "--cascade=foreground")


def _least(scaled_object: Any) -> object:
    return (scaled_object or {}).get("spec", {}).get("minReplicaCount")


def _fails(call: Callable[[], object]) -> bool:
    try:
        call()
    except CommandFailed:
        return True
    return False


def test_what_others_write_into_a_status_does_not_freeze_it(cluster: Cluster) -> None:
    start = {"phase": "loading", "since": "2026-01-01T00:00:00Z", "message": "by hand"}
    about = {"status": "True", "reason": "Theirs", "message": "theirs", "lastTransitionTime": start["since"]}
    theirs = [{"type": f"Theirs{number}", **about} for number in range(63)]
    patch = json.dumps({"status": {"coldStart": start, "conditions": theirs}})
    where = ("llmservice", NAME, "-n", NAMESPACE, "--subresource=status", "--type=merge")
    cluster.plane.kubectl("patch", *where, "-p", patch)
    found = cluster.until(
        lambda: "coldStart" not in (status := cluster.get("llmservice")["status"]) and status, "theirs gone"
    )
    assert "coldStartHistory" not in found
    cluster.until(lambda: cluster.condition("Ready"), "our conditions")


def test_a_deleted_child_comes_back(cluster: Cluster) -> None:
    before = cluster.get("deployment")["metadata"]["uid"]
    cluster.plane.kubectl("delete", "deployment", NAME, "-n", NAMESPACE)
    made = cluster.until(
        lambda: (found := cluster.get("deployment")) and found["metadata"]["uid"] != before and found,
        "a new Deployment",
    )
    assert made["spec"]["replicas"] == 0


def test_another_vendor_and_another_hub_are_one_line(cluster: Cluster) -> None:
    seed = SEED.read_text()
    cluster.plane.kubectl("apply", "-f", "-", stdin=seed.replace("[nvidia, ascend]", "[ascend]"))
    cluster.until(lambda: "ascend" in cluster.image(), "Ascend's image")
    cluster.until(lambda: cluster.get("llmservice")["status"]["resolvedRuntime"] == "ascend-vllm", "its runtime")
    # Another list with the vendor that serves would change nothing: a choice lasts.
    nvidia = seed.replace("[nvidia, ascend]", "[nvidia]").replace("modelscope://", "hf://")
    cluster.plane.kubectl("apply", "-f", "-", stdin=nvidia)
    cluster.until(lambda: "vllm-openai" in cluster.image(), "NVIDIA's image")
    env = cluster.get("deployment")["spec"]["template"]["spec"]["containers"][0].get("env", [])
    assert "VLLM_USE_MODELSCOPE" not in [variable["name"] for variable in env]


def test_a_runtime_that_changes_changes_its_services(cluster: Cluster) -> None:
    patch = json.dumps({"spec": {"container": {"image": "vllm/vllm-openai:another"}}})
    cluster.plane.kubectl("patch", "infr", "nvidia-vllm", "--type=merge", "-p", patch)
    cluster.until(lambda: cluster.image() == "vllm/vllm-openai:another", "the new image")
    cluster.plane.kubectl("apply", "-f", str(ROOT / "runtimes"))
    cluster.until(lambda: cluster.image() != "vllm/vllm-openai:another", "the old one")


def test_a_vendor_that_nobody_serves_is_a_condition_until_somebody_does(cluster: Cluster) -> None:
    cluster.apply("spec.runtime.selector.vendor=[acme]", name="acme")
    found = cluster.until(lambda: cluster.condition("RuntimeResolved", "acme"), "a condition")
    assert (found["status"], found["reason"]) == ("False", "NoRuntimeForVendor")
    assert "acme" in found["message"]
    assert cluster.get("deployment", "acme") is None
    runtime = json.loads(cluster.plane.kubectl("get", "infr", "cpu-llamacpp", "-o", "json"))
    runtime["metadata"] = {"name": "acme-engine"}
    runtime["spec"]["vendor"] = "acme"
    cluster.plane.kubectl("apply", "-f", "-", stdin=json.dumps(runtime))
    cluster.until(lambda: cluster.get("deployment", "acme"), "a Deployment, now that there is a runtime")
    cluster.until(lambda: cluster.condition("RuntimeResolved", "acme")["status"] == "True", "resolved")
    cluster.plane.kubectl("delete", "infr", "acme-engine")
    cluster.plane.kubectl("delete", "llmservice", "acme", "-n", NAMESPACE)


def test_two_runtimes_of_equal_priority_are_a_condition_until_one_is_named(cluster: Cluster) -> None:
    for name in ("twin-a", "twin-b"):
        runtime = json.loads(cluster.plane.kubectl("get", "infr", "cpu-llamacpp", "-o", "json"))
        runtime["metadata"] = {"name": name}
        runtime["spec"]["vendor"] = "twin"
        cluster.plane.kubectl("apply", "-f", "-", stdin=json.dumps(runtime))
    cluster.apply("spec.runtime.selector.vendor=[twin]", name="twin")
    found = cluster.until(lambda: cluster.condition("RuntimeResolved", "twin"), "a condition")
    assert (found["status"], found["reason"]) == ("False", "AmbiguousPriority")
    assert "twin-a and twin-b" in found["message"]
    assert cluster.get("deployment", "twin") is None, "nothing is rendered"
    cluster.plane.kubectl("delete", "infr", "twin-b")
    cluster.until(lambda: cluster.get("deployment", "twin"), "a Deployment, now that there is one choice")
    cluster.plane.kubectl("delete", "infr", "twin-a")
    cluster.plane.kubectl("delete", "llmservice", "twin", "-n", NAMESPACE)


def test_kubectl_describe_tells_the_transitions(cluster: Cluster) -> None:
    events = json.loads(cluster.plane.kubectl("get", "events.events.k8s.io", "-n", NAMESPACE, "-o", "json"))["items"]
    told = {
        (event["regarding"]["name"], event["type"], event["reason"])
        for event in events
        if event["regarding"]["kind"] == "LLMService"
    }
    assert {(NAME, "Normal", "ScaledToZero"), (NAME, "Warning", "Unschedulable"), (NAME, "Normal", "Resolved")} <= told
    assert {("acme", "Warning", "NoRuntimeForVendor"), ("twin", "Warning", "AmbiguousPriority")} <= told
    assert "Unschedulable" in cluster.plane.kubectl("describe", "llmservice", NAME, "-n", NAMESPACE)


def test_the_status_selects_the_engines_pods(cluster: Cluster) -> None:
    scale = json.loads(
        cluster.plane.kubectl("get", "llmservice", NAME, "-n", NAMESPACE, "--subresource=scale", "-o", "json")
    )
    (deployment_selector,) = [cluster.get("deployment")["spec"]["selector"]["matchLabels"]]
    wanted = sorted(f"{name}={value}" for name, value in deployment_selector.items())
    assert sorted(scale["status"]["selector"].split(",")) == wanted


def test_deleting_the_service_leaves_nothing_behind(cluster: Cluster) -> None:
    cluster.plane.kubectl("delete", "llmservice", NAME, "-n", NAMESPACE)

    def left() -> str:
        return cluster.plane.kubectl(
            "get", "deployment,service,scaledobject,hpa,pvc,job,pod", "-n", NAMESPACE, "-o", "name"
        )

    cluster.until(lambda: left() == "", "nothing left")
    with pytest.raises(CommandFailed, match="NotFound"):
        cluster.plane.kubectl("get", "llmservice", NAME, "-n", NAMESPACE)
