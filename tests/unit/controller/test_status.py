from dataclasses import replace
from typing import Any

import pytest

from hearth.api.status import ConditionType
from hearth.controller.coldstart import cold_start
from hearth.controller.status import llmservice_status, runtime_not_resolved, verdicts
from hearth.controller.verdict import Verdict
from hearth.controller.world import World, phase_of
from hearth.kube.objects import instant

RESOLVED = Verdict("RuntimeResolved", True, "Resolved", "served by InferenceRuntime r")
NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def deployment(replicas: int, ready: int = 0) -> dict[str, Any]:
    return {"spec": {"replicas": replicas}, "status": {"replicas": replicas, "readyReplicas": ready}}


def pod(container: dict[str, Any] | None = None, name: str = "qwen-1", node: str | None = "n") -> dict[str, Any]:
    made: dict[str, Any] = {"metadata": {"name": name}, "spec": {}, "status": {}}
    if node:
        made["spec"]["nodeName"] = node
    if container:
        made["status"]["containerStatuses"] = [container]
    return made


def waiting(reason: str, message: str | None = None) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def scaled(
    minimum: int = 0, status: str = "True", reason: str = "ScaledObjectReady", **metadata: Any
) -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": reason, "message": "said"}
    return {
        "metadata": {"name": "qwen", "namespace": "ai", **metadata},
        "spec": {"minReplicaCount": minimum},
        "status": {"conditions": [ready], "externalMetricNames": ["s0-queueDepth"], "hpaName": "keda-hpa-qwen"},
    }


SCALED = scaled(minimum=1)
RUNNING: dict[str, Any] = {"state": {"running": {}}}


@pytest.mark.parametrize(
    ("world", "phase"),
    [
        (World(None, None, []), "Pending"),
        (World(deployment(0), None, []), "ScaledToZero"),
        (World(deployment(1), None, []), "Loading"),
        (World(deployment(1, ready=1), None, []), "Ready"),
        (World(deployment(1), None, [pod(waiting("CrashLoopBackOff"))]), "Degraded"),
        (World(deployment(2, ready=1), None, [pod(waiting("CrashLoopBackOff"))]), "Ready"),
    ],
)
def test_the_phase(world: World, phase: str) -> None:
    assert phase_of(world) == phase


@pytest.mark.parametrize(
    ("seen", "phase", "says"),
    [
        (pod(node=None), "scheduling", "waiting for a node"),
        (pod(), "starting", "the container is being made"),
        (pod(waiting("ContainerCreating")), "pulling-image", "ContainerCreating"),
        (pod(waiting("ImagePullBackOff", "no such image")), "pulling-image", "no such image"),
        (pod({**RUNNING, "started": False}), "loading", "the engine is loading the model"),
    ],
)
def test_a_cold_start_says_what_it_waits_for(seen: dict[str, Any], phase: str, says: str) -> None:
    assert cold_start(World(deployment(1), None, [seen])) == {"phase": phase, "message": f"pod qwen-1: {says}"}


def test_the_schedulers_words_are_passed_on() -> None:
    unschedulable = pod(node=None)
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    unschedulable["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": words}]
    found = cold_start(World(deployment(1), None, [unschedulable]))
    assert found == {"phase": "scheduling", "message": f"pod qwen-1: {words}"}


def test_the_pod_that_is_furthest_counts() -> None:
    pods = [pod(name="a", node=None), pod({**RUNNING, "started": True}, "b"), pod(name="c")]
    found = cold_start(World(deployment(3), None, pods))
    assert found is not None
    assert found["message"].startswith("pod b:")


def test_no_start_is_under_way() -> None:
    assert cold_start(World(deployment(0), None, [])) is None
    assert cold_start(World(deployment(1, ready=1), None, [])) is None


def test_what_keda_says_of_its_object_is_said() -> None:
    conditions = [{"type": "Ready", "status": "False", "reason": "ScalerNotReachable", "message": "no connection"}]
    scaled = {"status": {"conditions": conditions}}
    found = {v.type: v for v in verdicts(World(deployment(0), scaled, []), RESOLVED)}
    assert found["ScaledObjectReady"] == Verdict(
        "ScaledObjectReady", False, "ScaledObjectNotReady", "ScalerNotReachable: no connection"
    )
    unseen = {v.type: v for v in verdicts(World(deployment(0), None, []), RESOLVED)}
    assert unseen["ScaledObjectReady"].reason == "NotSeen"


def test_no_keda_is_said_with_what_to_do() -> None:
    found = {v.type: v for v in verdicts(World(deployment(0), None, [], keda=False), RESOLVED)}
    assert (found["ScaledObjectReady"].status, found["ScaledObjectReady"].reason) == (False, "KedaNotInstalled")
    assert "https://keda.sh" in found["ScaledObjectReady"].message


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("CreateContainerConfigError", "ContainerNotCreated"),
        ("ImagePullBackOff", "ImageNotPulled"),
        ("CrashLoopBackOff", "EngineCrashing"),
    ],
)
def test_an_engine_that_cannot_go_on_is_said_with_its_reason(reason: str, said: str) -> None:
    world = World(deployment(1), None, [pod(waiting(reason, 'secret "hf" not found'))])
    found = {v.type: v for v in verdicts(world, RESOLVED)}
    assert (phase_of(world), found["Ready"].reason) == ("Degraded", said)
    assert "pod qwen-1" in found["Ready"].message
    assert ('secret "hf" not found' in found["Ready"].message) is (reason != "CrashLoopBackOff")


def status_of(
    world: World, found: list[Verdict], old: dict[str, Any], now: str, runtime: str | None = "r"
) -> dict[str, Any]:
    return llmservice_status(
        world, found, old, runtime=runtime, selector="a=b", url="http://x/v1", generation=3, now=now
    )


def test_times_stay_where_nothing_changed() -> None:
    loading = World(deployment(1), SCALED, [pod()])
    first = status_of(loading, verdicts(loading, RESOLVED), {}, NOW)
    again = status_of(loading, verdicts(loading, RESOLVED), first, LATER)
    assert again == first
    ready = World(deployment(1, ready=1), SCALED, [])
    then = status_of(ready, verdicts(ready, RESOLVED), again, LATER)
    times = {c["type"]: c["lastTransitionTime"] for c in then["conditions"]}
    assert (times["Ready"], times["RuntimeResolved"]) == (LATER, NOW)
    assert "coldStart" not in then
    assert then["observedGeneration"] == 3


def test_without_a_runtime_nothing_is_said_of_replicas() -> None:
    nothing = World(None, None, [])
    status = status_of(nothing, runtime_not_resolved(nothing, "NoRuntimeForVendor", "why"), {}, NOW, None)
    assert (status["phase"], status["replicas"]) == ("Pending", 0)
    assert "resolvedRuntime" not in status
    assert [c["message"] for c in status["conditions"] if c["type"] == "RuntimeResolved"] == ["why"]


def test_one_that_no_node_can_run_says_why() -> None:
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    stuck = pod(node=None)
    stuck["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": words}]
    world = World(deployment(2), None, [stuck])
    ready = {v.type: v for v in verdicts(world, RESOLVED)}["Ready"]
    assert (phase_of(world), ready.reason) == ("Loading", "Unschedulable")
    assert words in ready.message
    both = World(deployment(2), None, [stuck, pod(RUNNING, "b")])
    assert {v.type: v for v in verdicts(both, RESOLVED)}["Ready"].reason == "ColdStart", "another one may still come up"


def test_a_service_that_keda_has_given_up_is_not_asleep() -> None:
    ready = {"type": "Ready", "status": "False", "reason": "ScaledObjectCheckFailed", "message": "no such thing"}
    scaled = {"metadata": {"name": "qwen", "namespace": "ai"}, "status": {"conditions": [ready]}}
    world = World(deployment(0), scaled, [])
    found = {v.type: v for v in verdicts(world, RESOLVED)}
    assert (phase_of(world), found["Ready"].reason) == ("Degraded", "ScaledObjectCheckFailed")
    assert "no such thing" in found["Ready"].message


def test_what_a_runtime_serves_beside_is_told_to_activators() -> None:
    about: Any = {"runtime": "cpu-llamacpp", "selector": "", "url": "", "generation": 1, "now": "2026-01-01T00:00:00Z"}
    world = World(None, None, [])
    assert llmservice_status(world, [], {}, **about, paths=["/infill"])["enginePaths"] == ["/infill"]
    assert "readinessPath" not in llmservice_status(world, [], {}, **about)
    assert llmservice_status(world, [], {}, **about, readiness_path="/health")["readinessPath"] == "/health"
    assert "enginePaths" not in llmservice_status(world, [], {}, **about)


def said(world: World, kind: ConditionType = "Ready") -> tuple[bool, str]:
    found = {verdict.type: verdict for verdict in verdicts(world, RESOLVED)}[kind]
    return found.status, found.reason


GONE = "2025-12-31T00:00:00Z"
QUOTA = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}
CRASHING = pod(waiting("CrashLoopBackOff"))


@pytest.mark.parametrize(
    ("world", "phase", "ready"),
    [
        (World(deployment(0), scaled(), []), "ScaledToZero", (True, "ScaledToZero")),
        (World(deployment(0), scaled(minimum=1), []), "ScaledToZero", (False, "Pending")),
        (World(deployment(1), scaled(), [pod()]), "Loading", (True, "ColdStart")),
        (World(deployment(1), scaled(minimum=1), [pod()]), "Loading", (False, "ColdStart")),
        (World(deployment(1, ready=1), scaled(minimum=1), [pod()]), "Ready", (True, "ReplicasReady")),
        (World(deployment(2, ready=1), scaled(), [pod(), CRASHING]), "Ready", (True, "SomeReplicasReady")),
        (World(deployment(0), None, []), "ScaledToZero", (False, "NotSeen")),
        (
            World(deployment(0), scaled(status="False", reason="Odd"), []),
            "ScaledToZero",
            (False, "ScaledObjectNotReady"),
        ),
        (World(None, None, []), "Pending", (False, "Pending")),
    ],
)
def test_ready_is_true_where_the_service_does_what_its_spec_says(
    world: World, phase: str, ready: tuple[bool, str]
) -> None:
    assert (phase_of(world), said(world)) == (phase, ready)


def nothing_starts(**changes: Any) -> World:
    return replace(World(deployment(0), scaled(), [], now=instant(NOW)), **changes)


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (nothing_starts(keda=False), "KedaNotInstalled"),
        (nothing_starts(keda_away="its Lease is old"), "KedaNotRunning"),
        (nothing_starts(scaled_object=scaled(annotations={"autoscaling.keda.sh/paused": "true"})), "ScalingPaused"),
        (nothing_starts(scaled_object={"metadata": {"creationTimestamp": GONE}}), "ScaledObjectIgnored"),
        (nothing_starts(scaled_object={**scaled(), "status": {"externalMetricNames": ["s1-cron"]}}), "MetricLost"),
        (
            nothing_starts(scaled_object=scaled(status="False", reason="ScaledObjectCheckFailed")),
            "ScaledObjectCheckFailed",
        ),
    ],
)
def test_a_service_whose_first_request_would_start_nothing_is_not_asleep(world: World, reason: str) -> None:
    assert (phase_of(world), said(world), said(world, "ScaledObjectReady")) == (
        "Degraded",
        (False, reason),
        (False, reason),
    )
    assert "coldStart" not in status_of(world, verdicts(world, RESOLVED), {}, NOW)
    running = replace(world, deployment=deployment(1, ready=1))
    assert (phase_of(running), said(running)) == ("Ready", (True, "ReplicasReady")), "what runs is not in its way"
    assert said(running, "ScaledObjectReady") == (False, reason)


def test_a_new_scaled_object_gets_a_minute_to_be_seen() -> None:
    fresh = nothing_starts(scaled_object={"metadata": {"creationTimestamp": NOW}})
    assert (phase_of(fresh), said(fresh)) == ("ScaledToZero", (False, "NotSeen"))


def test_all_that_is_true_at_once_is_told_and_the_worst_is_the_reason() -> None:
    stuck = pod(name="b", node=None)
    stuck["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]
    evicted = pod(name="old")
    evicted["status"] = {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}
    made = deployment(3)
    made["status"]["conditions"] = [QUOTA]
    world = World(made, scaled(), [CRASHING, stuck, evicted])
    (pods,) = [verdict for verdict in verdicts(world, RESOLVED) if verdict.type == "PodsHealthy"]
    assert (phase_of(world), said(world), pods.reason) == ("Degraded", (False, "PodNotCreated"), "PodNotCreated")
    assert pods.message.startswith("exceeded quota: q; EngineCrashing: pod qwen-1")
    assert "; Unschedulable: pod b: 0/3 nodes; PodFailed: pod old has ended: Evicted: low on memory" in pods.message


def test_what_ended_does_not_hide_its_successor() -> None:
    evicted = pod(RUNNING, name="old")
    evicted["status"] |= {"phase": "Failed", "reason": "Evicted"}
    world = World(deployment(1), scaled(), [evicted, pod(waiting("ContainerCreating"), "new")])
    assert (phase_of(world), said(world), said(world, "PodsHealthy")) == (
        "Loading",
        (True, "ColdStart"),
        (False, "PodFailed"),
    )
    assert cold_start(world) == {"phase": "pulling-image", "message": "pod new: ContainerCreating"}
    up = replace(world, deployment=deployment(1, ready=1))
    assert said(up, "PodsHealthy") == (True, "AsWanted"), "history"
    alone = replace(world, pods=[evicted])
    assert said(alone) == (False, "PodFailed")


def hpa(kind: str, reason: str, since: str = GONE) -> dict[str, Any]:
    return {
        "status": {
            "conditions": [
                {"type": kind, "status": "False", "reason": reason, "message": "m", "lastTransitionTime": since}
            ]
        }
    }


@pytest.mark.parametrize(
    ("hpas", "reason"),
    [
        ([], "HPANotScaling"),
        ([hpa("ScalingActive", "FailedGetExternalMetric")], "HPANotScaling"),
        ([hpa("AbleToScale", "FailedGetScale")], "HPANotScaling"),
        ([hpa("ScalingActive", "FailedGetExternalMetric", NOW)], "ScaledObjectReady"),
        ([hpa("ScalingActive", "ScalingDisabled")], "ScaledObjectReady"),
        (None, "ScaledObjectReady"),
    ],
)
def test_an_hpa_that_is_away_or_blind_is_told_while_there_are_replicas(hpas: Any, reason: str) -> None:
    world = World(deployment(1, ready=1), scaled(), [], hpas=hpas, now=instant(NOW))
    assert said(world, "ScaledObjectReady")[1] == reason
    assert said(world) == (True, "ReplicasReady")


def test_a_start_that_the_deployment_waits_for_no_longer_is_not_well() -> None:
    late = deployment(1)
    late["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    ]
    world = World(late, scaled(), [pod(RUNNING)])
    assert (phase_of(world), said(world), said(world, "PodsHealthy")) == (
        "Degraded",
        (False, "ProgressDeadlineExceeded"),
        (False, "ProgressDeadlineExceeded"),
    )
    late["status"]["readyReplicas"] = 1
    assert (phase_of(world), said(world)) == ("Ready", (True, "ReplicasReady")), "what came late is there"


def test_no_time_is_promised_to_one_that_is_stuck() -> None:
    old = {"coldStartHistory": [{"scheduling": 1, "loading": 60}]}
    stuck = pod(node=None)
    assert "eta" in status_of(World(deployment(1), scaled(), [stuck]), [], old, NOW)["coldStart"]
    stuck["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]
    assert "eta" not in status_of(World(deployment(1), scaled(), [stuck]), [], old, NOW)["coldStart"]


def test_who_waits_is_told_where_time_mends_nothing() -> None:
    for reason, there in (("Invalid", True), ("NameTaken", True), ("Refused", False)):
        found: Any = [Verdict("Ready", False, reason, "why")]  # type: ignore[arg-type]
        conditions = {c["type"]: c for c in status_of(World(None, None, []), found, {}, NOW)["conditions"]}
        assert ("Stalled" in conditions) is there
        assert conditions.get("Stalled", {}).get("status", "True") == "True"
