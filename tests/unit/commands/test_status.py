from typing import Any

import pytest

from hearth.commands.status import Found, explain, find
from hearth.kube.kinds import DEPLOYMENT, LLMSERVICE, SCALED_OBJECT
from tests.unit.controller.cluster import FakeApi

READY = {"type": "Ready", "status": "True", "reason": "ReplicasReady", "message": "1 of 1 replicas are ready"}


def service(phase: str = "Ready", *conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ai", "name": "qwen"},
        "status": {"phase": phase, "conditions": list(conditions or (READY,)), **status},
    }


def scaled(ready: str = "True", **changes: Any) -> dict[str, Any]:
    conditions = [
        {"type": "Ready", "status": ready, "reason": "ScaledObjectCheckFailed", "message": "no such host"},
        {"type": "Active", "status": "True"},
    ]
    return {"metadata": {"name": "qwen", **changes}, "status": {"conditions": conditions}}


def deployment(replicas: int = 1, ready: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": "qwen"}, "spec": {"replicas": replicas}, "status": {"readyReplicas": ready}}


def pod(name: str = "qwen-1", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"nodeName": "gpu-1"}, "status": status}


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"state": state, "ready": False, "restartCount": 3}]}


HPA = {
    "metadata": {"name": "keda-hpa-qwen"},
    "spec": {"minReplicas": 1, "maxReplicas": 5},
    "status": {
        "desiredReplicas": 2,
        "currentMetrics": [
            {"type": "External", "external": {"metric": {"name": "s0-queueDepth"}, "current": {"averageValue": "4"}}}
        ],
        "conditions": [{"type": "ScalingActive", "status": "True"}],
    },
}


def test_the_chain_in_its_order() -> None:
    found = explain(Found(service(), scaled(), HPA, deployment(), [pod("b"), pod("a")]))
    assert found.well
    assert [(link.kind, link.name) for link in found.links] == [
        ("LLMService", "qwen"),
        ("ScaledObject", "qwen"),
        ("HorizontalPodAutoscaler", "keda-hpa-qwen"),
        ("Deployment", "qwen"),
        ("Pod", "a"),
        ("Pod", "b"),
    ]
    assert found.links[2].says == "wants 2 of 1 to 5 replicas, s0-queueDepth 4 for each"


def test_a_cold_start_is_said_with_what_is_still_to_come() -> None:
    start = {"phase": "loading", "message": "pod qwen-1 is loading", "eta": 30, "percent": 40}
    condition = {"type": "Ready", "status": "False", "reason": "ColdStart", "message": "starting"}
    found = explain(Found(service("Loading", condition, coldStart=start), scaled(), None, deployment(1, 0), []))
    assert found.well, "a model that starts is well"
    assert found.links[0].says == "Loading: loading: pod qwen-1 is loading, about 30 s to go (40 %)"
    assert found.links[2].says == "0 of 1 replicas are ready"


def test_without_a_controller() -> None:
    found = explain(Found({"metadata": {"namespace": "ai", "name": "qwen"}}, None, None, None, []))
    assert not found.well
    assert "hearth doctor" in found.why
    assert [link.well for link in found.links] == [False, False, False]


def test_a_condition_that_is_false_is_the_reason() -> None:
    resolved = {
        "type": "RuntimeResolved",
        "status": "False",
        "reason": "NoRuntimeForVendor",
        "message": "none for biren",
    }
    found = explain(Found(service("Pending", READY, resolved), None, None, None, []))
    assert (found.well, found.why) == (False, "NoRuntimeForVendor: none for biren")


def test_keda_in_its_own_words() -> None:
    found = explain(Found(service(), scaled("False"), None, deployment(), []))
    assert not found.links[1].well
    assert "ScaledObjectCheckFailed: no such host" in found.links[1].says
    paused = scaled(annotations={"autoscaling.keda.sh/paused": "true"})
    assert "paused" in explain(Found(service(), paused, None, deployment(), [])).links[1].says
    going = scaled(annotations={"autoscaling.keda.sh/paused": "false"})
    assert explain(Found(service(), going, None, deployment(), [])).links[1].well
    away = {"type": "ScaledObjectReady", "status": "False", "reason": "KedaNotRunning", "message": "since 60 s"}
    link = explain(Found(service("Ready", READY, away), scaled(), None, deployment(), [])).links[1]
    assert (link.well, link.says.endswith("(KedaNotRunning: since 60 s)")) == (False, True)


def test_an_hpa_that_cannot_ask_is_not_well_and_one_at_zero_is() -> None:
    def hpa(reason: str) -> dict[str, Any]:
        conditions = [{"type": "ScalingActive", "status": "False", "reason": reason, "message": "m"}]
        return {**HPA, "status": {"conditions": conditions}}

    def link(reason: str) -> bool:
        return explain(Found(service(), scaled(), hpa(reason), deployment(), [])).links[2].well

    assert link("ScalingDisabled")
    assert not link("FailedGetExternalMetric")


@pytest.mark.parametrize(
    ("state", "says", "well"),
    [
        (container(waiting={"reason": "CrashLoopBackOff", "message": "back-off"}), "on gpu-1: EngineCrashing: container engine exited 3 times; kubectl logs qwen-1 -n  -c engine --previous", False),
        (container(waiting={"reason": "ContainerCreating"}), "ContainerCreating on gpu-1, 3 restarts", True),
        (container(terminated={"exitCode": 137, "reason": "OOMKilled"}), "on gpu-1: OOMKilled: container engine was killed for its memory (OOMKilled) 4 times; it has no limit: its node ran out of memory", False),
        (container(running={}), "loading on gpu-1, 3 restarts", True),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}, "on gpu-1: Unschedulable: 0/3 nodes", False),
        ({"phase": "Pending"}, "Pending on gpu-1", True),
        ({"initContainerStatuses": [{"name": "fetch", "state": {"waiting": {"reason": "ErrImagePull"}}}]}, "on gpu-1: ImageNotPulled: init container fetch: ErrImagePull", False),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "has ended on gpu-1: Evicted: low on memory", True),
    ],
)  # fmt: skip
def test_pods(state: dict[str, Any], says: str, well: bool) -> None:
    link = explain(Found(service(), scaled(), None, deployment(), [pod(**state)])).links[-1]
    assert (link.says, link.well) == (says, well)


def test_a_pod_on_its_way_out() -> None:
    leaving = pod()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert explain(Found(service(), scaled(), None, deployment(), [leaving])).links[-1].says == "ending on gpu-1"


def test_a_metric_that_was_not_heard_of_is_not_told() -> None:
    external = {"metric": {"name": "s0-queueDepth"}, "current": {"averageValue": "-9223372036854775808m"}}
    status = {"desiredReplicas": 2, "currentMetrics": [{"type": "External", "external": external}]}
    found = explain(Found(service(), scaled(), {**HPA, "status": status}, deployment(), []))
    assert found.links[2].says == "wants 2 of 1 to 5 replicas"


async def test_no_name_is_no_llmservice() -> None:
    api = FakeApi()
    api.objects[LLMSERVICE.path("ai", "")] = {"kind": "LLMServiceList", "metadata": {"resourceVersion": "1"}}
    assert await find(api, "ai", "") is None


async def test_what_is_somebody_elses_is_no_link_of_the_chain() -> None:
    api = FakeApi()
    api.objects[LLMSERVICE.path("ai", "qwen")] = {
        **service(),
        "metadata": {"name": "qwen", "namespace": "ai", "uid": "u"},
    }
    owned = {"ownerReferences": [{"kind": "LLMService", "name": "qwen", "uid": "u"}]}
    for metadata, there in ((owned, True), ({"labels": {"serving.hearth.dev/llmservice": "qwen"}}, False)):
        for kind in (DEPLOYMENT, SCALED_OBJECT):
            api.objects[kind.path("ai", "qwen")] = {"kind": kind.name, "metadata": metadata}
        found = await find(api, "ai", "qwen")
        assert found is not None
        assert (found.deployment is not None, found.scaled_object is not None) == (there, there)


def test_pods_that_cannot_be_made_and_an_hpa_that_is_away_are_told() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}
    made = deployment(1, 0)
    made["status"]["conditions"] = [failure]
    object_ = scaled()
    object_["status"]["hpaName"] = "keda-hpa-qwen"
    found = explain(Found(service(), object_, None, made, []))
    assert [(link.kind, link.well) for link in found.links[2:]] == [
        ("HorizontalPodAutoscaler", False),
        ("Deployment", False),
    ]
    assert found.links[3].says == "0 of 1 replicas are ready; PodNotCreated: exceeded quota: q"
    asleep = explain(Found(service(), object_, None, deployment(0, 0), []))
    assert [link.kind for link in asleep.links] == ["LLMService", "ScaledObject", "Deployment"]
