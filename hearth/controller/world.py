"""What there is in the cluster for one LLMService, and what it amounts to. Pure: objects of the API server in."""

from collections.abc import Sequence
from dataclasses import dataclass

from hearth.controller.scaledobject import given_up
from hearth.kube.client import KubeObject

# The kubelet's words: a missing Secret is a CreateContainerConfigError, whose message names it.
_NOT_CREATED = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
NOT_PULLED = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")


@dataclass(frozen=True, slots=True)
class World:
    """What there is for one LLMService. None: not there (yet). `events` are those of the pods that are not running,
    oldest first; `queue_depth` is what KEDA hears, None where it was not asked or hears nothing."""

    deployment: KubeObject | None
    scaled_object: KubeObject | None
    pods: Sequence[KubeObject]
    events: Sequence[KubeObject] = ()
    queue_depth: int | None = None


def ready_replicas(world: World) -> int:
    return int(((world.deployment or {}).get("status") or {}).get("readyReplicas") or 0)


def wanted_replicas(world: World) -> int:
    """spec.replicas of the Deployment; 0 where there is none."""
    return int(world.deployment["spec"].get("replicas", 1)) if world.deployment is not None else 0


def phase_of(world: World) -> str:
    """Pending, Loading, Ready, ScaledToZero or Degraded."""
    if world.deployment is None:
        return "Pending"
    if ready_replicas(world):
        return "Ready"
    if trouble(world) is not None:
        return "Degraded"
    if wanted_replicas(world) > 0:
        return "Loading"
    return "Degraded" if world.scaled_object is not None and given_up(world.scaled_object) else "ScaledToZero"


def trouble(world: World) -> tuple[str, str] | None:
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
            if said in NOT_PULLED:
                return "ImageNotPulled", f"pod {name}: {detail}"
    return None


def unschedulable(pod: KubeObject) -> str | None:
    """What the scheduler says of a pod that it finds no node for."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return condition.get("message") or "waiting for a node"
    return None
