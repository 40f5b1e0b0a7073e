"""What there is in the cluster for one LLMService, and what it amounts to. Pure: objects of the API server in."""

from collections.abc import Sequence
from dataclasses import dataclass

from hearth.api.reasons import ReasonName
from hearth.api.status import Phase
from hearth.controller.scaledobject import given_up
from hearth.kube.objects import KubeObject, condition, mapping, mappings, name_of, number, text

# The kubelet's words: a missing Secret is a CreateContainerConfigError, whose message names it.
_NOT_CREATED = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
NOT_PULLED = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")


@dataclass(frozen=True, slots=True)
class World:
    """What there is for one LLMService. None: not there (yet). `events` are those of the pods that are not running,
    oldest first; `queue_depth` is what KEDA hears, None where it was not asked or hears nothing. `prewarm` is the
    Job that fills the cache, `prewarm_bytes` what is in there, as far as its log says."""

    deployment: KubeObject | None
    scaled_object: KubeObject | None
    pods: Sequence[KubeObject]
    events: Sequence[KubeObject] = ()
    queue_depth: int | None = None
    prewarm: KubeObject | None = None
    prewarm_pods: Sequence[KubeObject] = ()
    prewarm_bytes: int | None = None


def replicas(world: World) -> int:
    """Pods that the Deployment has."""
    return max(0, number(world.deployment, "status", "replicas"))


def ready_replicas(world: World) -> int:
    return max(0, number(world.deployment, "status", "readyReplicas"))


def wanted_replicas(world: World) -> int:
    """spec.replicas of the Deployment; 0 where there is none."""
    return max(0, number(world.deployment, "spec", "replicas", default=1)) if world.deployment is not None else 0


def phase_of(world: World) -> Phase:
    if world.deployment is None:
        return "Pending"
    if ready_replicas(world):
        return "Ready"
    if trouble(world) is not None:
        return "Degraded"
    if wanted_replicas(world) > 0:
        return "Loading"
    return "Degraded" if world.scaled_object is not None and given_up(world.scaled_object) else "ScaledToZero"


def trouble(world: World) -> tuple[ReasonName, str] | None:
    """(reason, message) of the first engine that can't go on unless somebody does something."""
    for pod in world.pods:
        name = name_of(pod)
        for container in mappings(pod, "status", "containerStatuses"):
            waiting = mapping(container, "state", "waiting")
            said = text(waiting, "reason")
            detail = text(waiting, "message") or said
            if said == "CrashLoopBackOff":
                return "EngineCrashing", f"pod {name} keeps exiting; its log says why"
            if said in _NOT_CREATED:
                return (
                    "ContainerNotCreated",
                    f"pod {name}: {detail}; once it can be made, Kubernetes makes it by itself",
                )
            if said in NOT_PULLED:
                return "ImageNotPulled", f"pod {name}: {detail}"
    return None


def unschedulable(pod: KubeObject) -> str | None:
    """What the scheduler says of a pod that it finds no node for."""
    scheduled = condition(pod, "PodScheduled")
    if not scheduled or scheduled.get("status") == "True":
        return None
    return text(scheduled, "message") or "waiting for a node"
