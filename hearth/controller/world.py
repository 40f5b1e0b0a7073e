"""What there is in the cluster for one LLMService, and what it amounts to. Pure: objects of the API server in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hearth.api.status import Phase
from hearth.controller.scaledobject import ready_verdict
from hearth.controller.verdict import Verdict
from hearth.kube.objects import (
    KubeObject,
    condition,
    finalizers_of,
    instant,
    is_leaving,
    mapping,
    mappings,
    metadata,
    number,
    text,
)
from hearth.troubles import Trouble, deployment_troubles, is_over, pod_troubles, pods_troubles

# What ends by itself more often than not: the start goes on beside it.
_MAY_PASS = ("Unschedulable", "VolumeNotMounted", "SandboxNotCreated", "NodeLost", "PodFailed")
# KEDA's conditions that are false while replicas still come and go.
_STILL_STARTS = ("NotSeen", "ScaledObjectNotReady", "HPANotScaling")
# An HPA that could not get its metric once asks again after 15 s.
_HPA_LASTING = timedelta(seconds=45)
# How long KEDA may take to say something of a new ScaledObject.
_IGNORED_AFTER = timedelta(minutes=1)
_NO_KEDA = (
    "the API server has no ScaledObjects: install KEDA (https://keda.sh/docs/latest/deploy/); "
    "until then nothing starts or stops replicas, and Hearth looks again by itself"
)


@dataclass(frozen=True, slots=True)
class World:
    """What there is for one LLMService. None: not there (yet). `events` are those of the pods that are not running,
    oldest first; `queue_depth` is what KEDA hears, None where it was not asked or hears nothing; `hpas` is KEDA's HPA,
    empty where there is none, None where it was not asked for. `others` name who scales the Deployment beside ours;
    `keda` is false where the API server knows no ScaledObjects; `keda_away` says why KEDA's operator does nothing.
    `placed` counts the pods that have a node and have not ended, so that they hold a replica's devices: those that
    leave among them, and those of a prewarm that asks for devices. `prewarm` is the Job that fills the cache,
    `prewarm_bytes` what is in there, as far as its log says, `prewarm_events` those of the Job and its pods while none
    runs. `cached` is the Job that has filled the cache, where it is not there any more. `now` is the time of the
    look."""

    deployment: KubeObject | None
    scaled_object: KubeObject | None
    pods: Sequence[KubeObject]
    events: Sequence[KubeObject] = ()
    queue_depth: int | None = None
    hpas: Sequence[KubeObject] | None = None
    others: tuple[str, ...] = ()
    keda: bool = True
    keda_away: str | None = None
    now: datetime | None = None
    placed: int = 0
    prewarm: KubeObject | None = None
    prewarm_pods: Sequence[KubeObject] = ()
    prewarm_bytes: int | None = None
    prewarm_events: Sequence[KubeObject] = ()
    cached: str = ""


def replicas(world: World) -> int:
    """Pods that the Deployment has."""
    return max(0, number(world.deployment, "status", "replicas"))


def ready_replicas(world: World) -> int:
    return max(0, number(world.deployment, "status", "readyReplicas"))


def wanted_replicas(world: World) -> int:
    """spec.replicas of the Deployment; 0 where there is none."""
    return max(0, number(world.deployment, "spec", "replicas", default=1)) if world.deployment is not None else 0


def minimum(world: World) -> int:
    """Replicas that there should be without any request, as KEDA is told."""
    return max(0, number(world.scaled_object, "spec", "minReplicaCount"))


def alive(world: World) -> list[KubeObject]:
    """The pods that have not ended for good."""
    return [pod for pod in world.pods if not is_over(pod)]


def holds_devices(pod: KubeObject) -> bool:
    """Whether a pod has a node and has not ended: what it asked for is nobody else's, while it ends too."""
    return bool(text(pod, "spec", "nodeName")) and not is_over(pod)


def asks_for_devices(pod: KubeObject) -> bool:
    """Whether a container asks for more than what Kubernetes itself has: names of devices have a domain."""
    resources = [mapping(each, "resources") for each in mappings(pod, "spec", "containers")]
    return any("/" in name for each in resources for name in mapping(each, "limits")) or any(
        mappings(each, "claims") for each in resources
    )


def phase_of(world: World) -> Phase:
    if world.deployment is None:
        return "Pending"
    if ready_replicas(world):
        return "Ready"
    if any(trouble.reason not in _MAY_PASS for trouble in troubles(world)) and not one_comes(world):
        return "Degraded"
    if wanted_replicas(world) > 0:
        return "Loading"
    return "Degraded" if starts_nothing(world) else "ScaledToZero"


def troubles(world: World) -> list[Trouble]:
    """What keeps replicas that are wanted from being there; all of it, in no order."""
    if wanted_replicas(world) <= ready_replicas(world):
        # Pods that ended are history once their successors are up; an engine that is ready and keeps restarting is not.
        return pods_troubles(alive(world), (), world.now) if wanted_replicas(world) else []
    return [*deployment_troubles(world.deployment), *pods_troubles(world.pods, world.events, world.now)]


def one_comes(world: World) -> bool:
    """Whether a replica is on its way, with nothing wrong about it, and the Deployment still waits for it."""
    if any(trouble.reason == "ProgressDeadlineExceeded" for trouble in deployment_troubles(world.deployment)):
        return False
    return any(not pod_troubles(pod, world.events, world.now) for pod in alive(world))


def starts_nothing(world: World) -> bool:
    """Whether a first request would bring no replica."""
    scaling = scaling_verdict(world)
    return not scaling.status and scaling.reason not in _STILL_STARTS


def scaling_verdict(world: World) -> Verdict:
    """The condition ScaledObjectReady: whether KEDA and the HPA do their part."""
    if not world.keda:
        return Verdict("ScaledObjectReady", False, "KedaNotInstalled", _NO_KEDA)
    if world.keda_away is not None:
        return Verdict("ScaledObjectReady", False, "KedaNotRunning", world.keda_away)
    if world.scaled_object is None:
        return Verdict("ScaledObjectReady", False, "NotSeen", "KEDA has not taken the ScaledObject yet")
    if is_leaving(world.scaled_object):
        kept = finalizers_of(world.scaled_object)
        return Verdict(
            "ScaledObjectReady",
            False,
            "FinalizersKept",
            f"the ScaledObject is being deleted, and waits for {', '.join(kept)}: is KEDA's operator running?"
            if kept
            else "the ScaledObject is being deleted; another one is made then",
        )
    if world.others:
        fight = f"found {', '.join(world.others)}, beside this LLMService's ScaledObject"
        return Verdict("ScaledObjectReady", False, "ScaledByOthers", f"{fight}: two scalers fight over its replicas")
    said = ready_verdict(world.scaled_object)
    if said.reason == "NotSeen" and _older(world, _IGNORED_AFTER):
        return Verdict(
            "ScaledObjectReady",
            False,
            "ScaledObjectIgnored",
            "KEDA has said nothing of the ScaledObject since it was made: is its operator running, and does it watch "
            "this namespace (WATCH_NAMESPACE)?",
        )
    if said.status and (words := _hpa_trouble(world)) is not None:
        return Verdict("ScaledObjectReady", False, "HPANotScaling", words)
    return said


def _hpa_trouble(world: World) -> str | None:
    """Why the HPA of a service that has replicas does nothing."""
    name = text(world.scaled_object, "status", "hpaName")
    if world.hpas is None or not name:
        return None
    if not world.hpas:
        return f"HorizontalPodAutoscaler {name} is not there: the replicas stay as many as they are"
    for kind in ("AbleToScale", "ScalingActive"):
        said = condition(world.hpas[0], kind)
        since = instant(said.get("lastTransitionTime"))
        lasting = world.now is not None and since is not None and world.now - since > _HPA_LASTING
        if said.get("status") == "False" and said.get("reason") != "ScalingDisabled" and lasting:
            return f"HorizontalPodAutoscaler {name}: {text(said, 'reason')}: {text(said, 'message')}"
    return None


def _older(world: World, age: timedelta) -> bool:
    made = instant(metadata(world.scaled_object).get("creationTimestamp"))
    return world.now is not None and made is not None and world.now - made > age
