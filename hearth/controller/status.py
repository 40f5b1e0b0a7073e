"""An LLMService's status, from what the API server tells of its objects. Pure: objects and a clock in, status out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

KubeObject = dict[str, Any]

# As far as a start can be: the pod that is furthest counts.
_PHASES = ("scheduling", "pulling-image", "starting", "loading")

# The kubelet's words: a missing Secret is a CreateContainerConfigError, whose message names it.
_NOT_CREATED = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_NOT_PULLED = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")

_NO_KEDA = (
    "the API server has no ScaledObjects: install KEDA (https://keda.sh/docs/latest/deploy/); "
    "until then nothing starts or stops replicas, and Hearth looks again by itself"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition without its time."""

    type: str
    status: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class World:
    """What there is for one LLMService. None: not there (yet)."""

    deployment: KubeObject | None
    scaled_object: KubeObject | None
    pods: Sequence[KubeObject]


def runtime_not_resolved(reason: str, message: str) -> list[Verdict]:
    """The conditions of a service that no InferenceRuntime can serve, or more than one equally."""
    return [
        Verdict("RuntimeResolved", False, reason, message),
        Verdict("Ready", False, "RuntimeNotResolved", "nothing is rendered before a runtime is found"),
    ]


def phase_of(world: World) -> str:
    """Pending, Loading, Ready, ScaledToZero or Degraded."""
    if world.deployment is None:
        return "Pending"
    if _ready(world.deployment):
        return "Ready"
    if _trouble(world) is not None:
        return "Degraded"
    return "Loading" if world.deployment["spec"].get("replicas", 1) > 0 else "ScaledToZero"


def verdicts(world: World, runtime: str, *, keda: bool = True) -> list[Verdict]:
    """The conditions of a service that is rendered; without `keda` the API server knows no ScaledObjects."""
    made = [Verdict("RuntimeResolved", True, "Resolved", f"served by InferenceRuntime {runtime}")]
    if not keda:
        made.append(Verdict("ScaledObjectReady", False, "KedaNotInstalled", _NO_KEDA))
    elif world.scaled_object is None:
        made.append(Verdict("ScaledObjectReady", False, "NotSeen", "KEDA has not taken the ScaledObject yet"))
    else:
        conditions = (world.scaled_object.get("status") or {}).get("conditions") or []
        ready: KubeObject = next((c for c in conditions if c["type"] == "Ready"), {})
        made.append(
            Verdict(
                "ScaledObjectReady",
                ready.get("status") == "True",
                ready.get("reason") or "Pending",
                ready.get("message") or "KEDA has not looked at the ScaledObject yet",
            )
        )
    wanted = (world.deployment or {}).get("spec", {}).get("replicas", 0)
    match phase_of(world):
        case "Ready":
            ready_count = _ready(world.deployment or {})
            made.append(Verdict("Ready", True, "ReplicasReady", f"{ready_count} of {wanted} replicas are ready"))
        case "Degraded":
            reason, message = _trouble(world) or ("", "")
            made.append(Verdict("Ready", False, reason, message))
        case "Loading":
            start = cold_start(world) or {}
            made.append(Verdict("Ready", False, "ColdStart", start.get("message", "the first replica is starting")))
        case "ScaledToZero":
            made.append(Verdict("Ready", False, "NoDemand", "the first request starts a replica"))
        case phase:
            made.append(Verdict("Ready", False, phase, "the Deployment is being made"))
    return made


def cold_start(world: World) -> KubeObject | None:
    """status.coldStart: the phase of a start, of the pod that is furthest on; None while none is under way."""
    if phase_of(world) not in ("Loading", "Degraded"):
        return None
    if not world.pods:
        return {"phase": "scheduling", "message": "no pod yet"}
    leader = max(world.pods, key=lambda pod: _PHASES.index(_pod_phase(pod)[0]))
    phase, message = _pod_phase(leader)
    return {"phase": phase, "message": f"pod {leader['metadata']['name']}: {message}"}


def llmservice_status(
    world: World,
    found: Sequence[Verdict],
    old: KubeObject,
    *,
    runtime: str | None,
    selector: str,
    url: str,
    generation: int,
    now: str,
) -> KubeObject:
    """The whole status; `old` is the one that stands, whose times are kept where nothing changed. `now`: RFC 3339."""
    before = {condition["type"]: condition for condition in old.get("conditions") or []}
    conditions = []
    for verdict in found:
        was = before.get(verdict.type, {})
        status = "True" if verdict.status else "False"
        conditions.append(
            {
                "type": verdict.type,
                "status": status,
                "reason": verdict.reason,
                "message": verdict.message,
                "lastTransitionTime": was.get("lastTransitionTime", now) if was.get("status") == status else now,
                "observedGeneration": generation,
            }
        )
    made: KubeObject = {
        "phase": phase_of(world),
        "replicas": (world.deployment or {}).get("status", {}).get("replicas", 0),
        "readyReplicas": _ready(world.deployment or {}),
        "selector": selector,
        "endpointURL": url,
        "observedGeneration": generation,
        "conditions": conditions,
    }
    if runtime is not None:
        made["resolvedRuntime"] = runtime
    if (start := cold_start(world)) is not None:
        was = old.get("coldStart") or {}
        same = was.get("phase") == start["phase"]
        made["coldStart"] = {**start, "since": was.get("since", now) if same else now}
    return made


def _ready(deployment: KubeObject) -> int:
    return int((deployment.get("status") or {}).get("readyReplicas") or 0)


def _trouble(world: World) -> tuple[str, str] | None:
    """(reason, message) of the first engine that can't go on unless somebody does something."""
    for pod in world.pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            said, name = waiting.get("reason"), pod["metadata"]["name"]
            detail = waiting.get("message") or said
            if said == "CrashLoopBackOff":
                return "EngineCrashing", f"pod {name} keeps exiting; its log says why"
            if said in _NOT_CREATED:
                return (
                    "ContainerNotCreated",
                    f"pod {name}: {detail}; once it can be made, Kubernetes makes it by itself",
                )
            if said in _NOT_PULLED:
                return "ImageNotPulled", f"pod {name}: {detail}"
    return None


def _pod_phase(pod: KubeObject) -> tuple[str, str]:
    """(phase, what is being waited for) of a pod that is not ready."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return "scheduling", condition.get("message") or "waiting for a node"
    if not pod.get("spec", {}).get("nodeName"):
        return "scheduling", "waiting for a node"
    for container in status.get("containerStatuses") or []:
        state = container.get("state") or {}
        if waiting := state.get("waiting"):
            reason = waiting.get("reason", "")
            if reason in _NOT_PULLED:
                return "pulling-image", waiting.get("message") or reason
            return "pulling-image" if reason == "ContainerCreating" else "starting", reason or "waiting"
        if "running" in state:
            return ("loading", "loading the model") if container.get("started") else ("starting", "the engine starts")
    return "starting", "the engine starts"
