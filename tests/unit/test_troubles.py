"""What keeps an engine's pods away, in the words of the objects that say it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hearth.api.reasons import REASONS
from hearth.troubles import deployment_troubles, paused, pod_troubles, pods_troubles

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(*containers: dict[str, Any], inits: Any = (), conditions: Any = (), **status: Any) -> dict[str, Any]:
    spec = {
        "nodeName": "gpu-1",
        "containers": [{"name": "engine", "resources": {"limits": {"memory": "8Gi"}}}, {"name": "proxy"}],
        "initContainers": [{"name": "fetch"}, {"name": "logs", "restartPolicy": "Always"}],
        "volumes": [
            {"name": "cache", "persistentVolumeClaim": {"claimName": "qwen-cache-nvidia"}},
            {"name": "source", "persistentVolumeClaim": {"claimName": "theirs"}},
        ],
    }
    found = {
        "containerStatuses": list(containers),
        "initContainerStatuses": list(inits),
        "conditions": list(conditions),
    }
    return {"metadata": {"name": "p", "namespace": "ai", "uid": "u"}, "spec": spec, "status": {**found, **status}}


def waiting(reason: str, message: str = "", name: str = "engine", **status: Any) -> dict[str, Any]:
    return {"name": name, "state": {"waiting": {"reason": reason, "message": message}}, **status}


def ended(code: int, reason: str = "Error", name: str = "engine", **status: Any) -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason}}, **status}


def running(restarts: int, ready: bool, reason: str = "Error", at: str = "2026-01-01T11:59:00Z") -> dict[str, Any]:
    last = {"terminated": {"exitCode": 1, "reason": reason, "finishedAt": at}}
    return {"name": "engine", "state": {"running": {}}, "ready": ready, "restartCount": restarts, "lastState": last}


OOM = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
LOG = "kubectl logs p -n ai -c"


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (pod(), []),
        (pod(waiting("ContainerCreating")), []),
        (pod(waiting("PodInitializing"), inits=[ended(0, "Completed", "fetch")]), []),
        (pod(running(1, ready=False)), []),
        (pod(running(9, ready=True, at="2026-01-01T11:00:00Z")), []),
        (pod(running(2, ready=True)), []),
        (pod(running(2, ready=False)), [("EngineCrashing", f"pod p, container engine exited 2 times, last with 1 (Error); {LOG} engine --previous")]),
        (pod(running(3, ready=True)), [("EngineCrashing", f"pod p, container engine exited 3 times, last with 1 (Error); {LOG} engine --previous")]),
        (pod(ended(0, "Completed", restartCount=1)), [("EngineCrashing", f"pod p, container engine exited 2 times, last with 0 (Completed); {LOG} engine --previous")]),
        (pod(ended(127)), [("EngineCrashing", f"pod p, container engine exited once, last with 127 (Error); {LOG} engine --previous")]),
        (pod(waiting("CrashLoopBackOff", restartCount=4, lastState=OOM)), [("OOMKilled", "pod p, container engine was killed for its memory (OOMKilled) 4 times; its limit is 8Gi")]),
        (pod(running(1, ready=False, reason="OOMKilled")), [("OOMKilled", "pod p, container engine was killed for its memory (OOMKilled) once; its limit is 8Gi")]),
        (pod(waiting("CrashLoopBackOff", name="proxy", restartCount=4, lastState=OOM)), [("OOMKilled", "pod p, container proxy was killed for its memory (OOMKilled) 4 times; it has no limit: its node ran out of memory")]),
        (pod(inits=[waiting("CrashLoopBackOff", name="fetch", restartCount=2, lastState={"terminated": {"exitCode": 6, "message": "no host\n"}})]), [("ContainerCrashing", f"pod p, init container fetch exited 2 times, last with 6 (Error): no host; {LOG} fetch --previous")]),
        (pod(inits=[waiting("ErrImagePull", "denied", "logs")]), [("ImageNotPulled", "pod p, sidecar logs: denied")]),
        (pod(waiting("CreateContainerConfigError", 'secret "hub" not found')), [("ContainerNotCreated", 'pod p, container engine: secret "hub" not found; once it can be made, Kubernetes makes it by itself')]),
        (pod(waiting("ErrImageNeverPull"), waiting("InvalidImageName", "bad", "proxy")), [("ImageNotPulled", "pod p, container engine: ErrImageNeverPull"), ("ImageNotPulled", "pod p, container proxy: bad")]),
        (pod(reason="NodeLost", message="gone"), [("NodeLost", "pod p: node gpu-1 is not heard of: gone")]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pod(seen: dict[str, Any], told: list[tuple[str, str]]) -> None:
    found = pod_troubles(seen, now=NOW)
    assert [(trouble.reason, trouble.message) for trouble in found] == told
    assert all(REASONS[trouble.reason].act for trouble in found)


def scheduled(message: str = "") -> dict[str, Any]:
    return pod(conditions=[{"type": "PodScheduled", "status": "False", "message": message}])


@pytest.mark.parametrize(
    "words", ["1 node(s) didn't match PersistentVolume's node affinity", "2 node(s) had volume node affinity conflict"]
)
def test_a_cache_that_is_pinned_to_another_node_is_freed_by_a_command_and_others_are_not_named(words: str) -> None:
    (found,) = pod_troubles(scheduled(words))
    assert "kubectl delete pvc qwen-cache-nvidia -n ai frees it" in found.message
    assert "theirs" not in found.message
    (other,) = pod_troubles(scheduled("3 Insufficient nvidia.com/gpu"))
    assert "kubectl" not in other.message


def test_a_pod_that_a_gate_holds_back_names_it() -> None:
    gated = scheduled()
    gated["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    assert [trouble.message for trouble in pod_troubles(gated)] == ["pod p: held back by kueue.x-k8s.io/admission"]


def event(reason: str, uid: str = "u", component: str = "kubelet") -> dict[str, Any]:
    about = {"involvedObject": {"uid": uid}, "source": {"component": component}}
    return {"reason": reason, "message": f"{reason}: words", **about}


@pytest.mark.parametrize(
    ("events", "reasons"),
    [
        ([event("FailedMount")], ["VolumeNotMounted"]),
        ([event("FailedAttachVolume"), event("FailedScheduling", component="default-scheduler")], ["VolumeNotMounted"]),
        ([event("FailedCreatePodSandBox")], ["SandboxNotCreated"]),
        ([event("FailedMount"), event("Pulling")], []),
        ([event("FailedMount", uid="another's")], []),
    ],
)
def test_the_kubelets_last_event_counts(events: list[dict[str, Any]], reasons: list[str]) -> None:
    assert [trouble.reason for trouble in pod_troubles(pod(waiting("ContainerCreating")), events)] == reasons


def test_a_node_that_is_being_added_is_no_trouble() -> None:
    assert pod_troubles(scheduled("0/3 nodes"), [event("TriggeredScaleUp")]) == []
    assert len(pod_troubles(scheduled("0/3 nodes"), [event("TriggeredScaleUp"), event("NotTriggerScaleUp")])) == 1


def test_of_pods_that_ended_the_latest_is_named() -> None:
    old = {"metadata": {"name": "a", "creationTimestamp": "1"}, "status": {"phase": "Failed", "reason": "Evicted"}}
    new = {
        "metadata": {"name": "b", "creationTimestamp": "2"},
        "status": {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no devices"},
    }
    (found,) = pods_troubles([old, new, pod()], (), NOW)
    assert (found.reason, found.message) == (
        "PodFailed",
        "pod b has ended: UnexpectedAdmissionError: no devices; so did 1 before it",
    )


def test_a_deployment_that_can_make_no_pod_has_the_api_servers_words() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": 'pods "p" is forbidden'}
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    found = deployment_troubles({"status": {"conditions": [failure, late]}})
    assert [(t.reason, t.message) for t in found] == [
        ("PodNotCreated", 'pods "p" is forbidden'),
        ("ProgressDeadlineExceeded", "timed out"),
    ]
    assert deployment_troubles({"status": {"conditions": [{**failure, "status": "False"}]}}) == []
    assert deployment_troubles(None) == []


@pytest.mark.parametrize(
    ("annotations", "is_paused"),
    [
        ({}, False),
        ({"autoscaling.keda.sh/paused": "true"}, True),
        ({"autoscaling.keda.sh/paused": "please"}, True),
        ({"autoscaling.keda.sh/paused": "false"}, False),
        ({"autoscaling.keda.sh/paused-replicas": "0"}, True),
        ({"autoscaling.keda.sh/paused-scale-out": "true"}, True),
        ({"autoscaling.keda.sh/paused-scale-in": "true"}, False),
    ],
)
def test_which_annotations_pause_keda(annotations: dict[str, str], is_paused: bool) -> None:
    found = paused({"metadata": {"name": "qwen", "namespace": "ai", "annotations": annotations}})
    assert (found is not None) is is_paused
    if found is not None:
        (name,) = annotations
        assert f"kubectl annotate scaledobject qwen -n ai {name}-" in found.message


@pytest.mark.parametrize(
    ("spec", "conditions", "age", "found"),
    [
        ({"schedulerName": "hami-scheduler"}, [], 31, True),
        ({"schedulerName": "hami-scheduler"}, [], 29, False),
        ({"schedulerName": "hami-scheduler", "nodeName": "n"}, [], 99, False),
        ({"schedulerName": "default-scheduler"}, [], 99, False),
        ({}, [], 99, False),
        ({"schedulerName": "volcano"}, [{"type": "PodScheduled", "status": "True"}], 99, False),
    ],
)
def test_a_scheduler_that_is_not_there_says_nothing_and_is_told(
    spec: dict[str, Any], conditions: list[dict[str, Any]], age: int, found: bool
) -> None:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    item = {
        "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
        "status": {"phase": "Pending", "conditions": conditions},
    }
    told = pod_troubles(item, (), made + timedelta(seconds=age))
    assert [(each.reason, "no scheduler" in each.message) for each in told] == [("Unschedulable", True)] * found
