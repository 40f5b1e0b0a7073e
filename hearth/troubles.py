"""What keeps an engine's pods from being there, read from the objects that say it: pods, the Deployment, KEDA's
ScaledObject. Pure. The controller makes conditions of it, `hearth status` the lines of its chain.

The kubelet's words: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/, pkg/kubelet/images/types.go,
pkg/kubelet/container/sync_result.go; the Deployment's:
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hearth.api.reasons import ReasonName
from hearth.kube.objects import (
    KubeObject,
    condition,
    instant,
    mapping,
    mappings,
    metadata,
    name_of,
    namespace_of,
    number,
    text,
    uid_of,
)

NOT_PULLED = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
# A missing Secret is a CreateContainerConfigError, whose message names it.
_NOT_CREATED = (
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    *("PreCreateHookError", "PreStartHookError", "PostStartHookError"),
)
_NOT_MOUNTED = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_NO_SANDBOX = ("FailedCreatePodSandBox",)
# The scheduler's words for a claim whose volume is on a node that can't take the pod, since 1.31 and before.
_PINNED = ("didn't match PersistentVolume's node affinity", "volume node affinity conflict")

ENGINE = "engine"
CACHE_VOLUME = "cache"
OFTEN = 3
"""Restarts of an engine that is ready again, of which the last is not older than RECENTLY, are a trouble."""
_SCHEDULER_LOOKS = timedelta(seconds=30)
"""What a scheduler that is there may take to look at a pod."""
RECENTLY = timedelta(minutes=10)

_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
_PAUSED_OUT = "autoscaling.keda.sh/paused-scale-out"
_FALSE = ("0", "f", "F", "FALSE", "false", "False")  # Go's strconv.ParseBool; what is no bool pauses


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps pods away, and whose words they are."""

    reason: ReasonName
    message: str


def is_over(pod: KubeObject) -> bool:
    """Whether it has ended for good: the ReplicaSet has made another in its place."""
    return text(pod, "status", "phase") in ("Failed", "Succeeded")


def pods_troubles(pods: Iterable[KubeObject], events: Sequence[KubeObject], now: datetime | None) -> list[Trouble]:
    """What is wrong with these pods. `events` are theirs, oldest first; `now` is the time of the look."""
    found = []
    over = []
    for pod in pods:
        if is_over(pod):
            over.append(pod)
        else:
            found += pod_troubles(pod, events, now)
    if over:
        found.append(_over(over))
    return found


def pod_troubles(pod: KubeObject, events: Sequence[KubeObject] = (), now: datetime | None = None) -> list[Trouble]:
    """What is wrong with a pod that has not ended. `events` may be of other pods too."""
    who = f"pod {name_of(pod)}"
    events = [event for event in events if text(event, "involvedObject", "uid") == uid_of(pod)]
    if (words := unschedulable(pod)) is not None:
        return (
            [] if node_coming(events) is not None else [Trouble("Unschedulable", f"{who}: {words}{_freed(pod, words)}")]
        )
    if (scheduler := _away(pod, now)) is not None:
        since = text(pod, "metadata", "creationTimestamp")
        words = f"no scheduler {scheduler!r} has looked at it since {since}; install it, or use a runtime without it"
        return [Trouble("Unschedulable", f"{who}: {words}")]
    if text(pod, "status", "reason") == "NodeLost":
        node = text(pod, "spec", "nodeName")
        return [
            Trouble("NodeLost", f"{who}: node {node} is not heard of: {text(pod, 'status', 'message')}".rstrip(": "))
        ]
    found = list(_containers_troubles(pod, now))
    if not found and (last := _last(events)) is not None:
        reason: ReasonName = "SandboxNotCreated" if text(last, "reason") in _NO_SANDBOX else "VolumeNotMounted"
        found.append(Trouble(reason, f"{who}: {text(last, 'message')}"))
    return found


def unschedulable(pod: KubeObject) -> str | None:
    """What the scheduler says of a pod that it finds no node for, or that a gate holds back."""
    scheduled = condition(pod, "PodScheduled")
    if not scheduled or scheduled.get("status") == "True":
        return None
    gates = ", ".join(text(gate, "name") for gate in mappings(pod, "spec", "schedulingGates"))
    return text(scheduled, "message") or (f"held back by {gates}" if gates else "waiting for a node")


def _away(pod: KubeObject, now: datetime | None) -> str | None:
    """The scheduler that a pod waits for in vain: one that is not there says nothing at all."""
    scheduler = text(pod, "spec", "schedulerName")
    if scheduler in ("", "default-scheduler") or text(pod, "spec", "nodeName") or condition(pod, "PodScheduled"):
        return None
    made = instant(text(pod, "metadata", "creationTimestamp"))
    return scheduler if now is not None and made is not None and now - made > _SCHEDULER_LOOKS else None


def node_coming(events: Sequence[KubeObject]) -> str | None:
    """What a cluster autoscaler says that adds a node for a pod, which these Events are about; None where none does."""
    said = [event for event in events if text(event, "reason") in ("TriggeredScaleUp", "NotTriggerScaleUp")]
    return text(said[-1], "message") if said and text(said[-1], "reason") == "TriggeredScaleUp" else None


def deployment_troubles(deployment: KubeObject | None) -> list[Trouble]:
    """What its Deployment says of pods that it can't make, or that don't become ready."""
    found = []
    failure, progressing = condition(deployment, "ReplicaFailure"), condition(deployment, "Progressing")
    if failure.get("status") == "True":
        found.append(Trouble("PodNotCreated", text(failure, "message") or text(failure, "reason")))
    if progressing.get("status") == "False" and progressing.get("reason") == "ProgressDeadlineExceeded":
        found.append(Trouble("ProgressDeadlineExceeded", text(progressing, "message")))
    return found


def paused(scaled_object: KubeObject | None) -> Trouble | None:
    """Whether annotations keep KEDA from starting replicas; which, and how to remove them.

    `paused-scale-in` keeps replicas, and starts them as ever: it is none.
    """
    annotations = mapping(scaled_object, "metadata", "annotations")
    there = [name for name in (_PAUSED, _PAUSED_OUT) if name in annotations and annotations[name] not in _FALSE]
    if _PAUSED_REPLICAS in annotations:
        there.insert(0, _PAUSED_REPLICAS)
    if not there:
        return None
    said = ", ".join(f"{name}: {annotations[name]}" for name in there)
    remove = " ".join(f"{name}-" for name in there)
    return Trouble(
        "ScalingPaused",
        f"KEDA starts no replica: {said}; kubectl annotate scaledobject {name_of(scaled_object)} "
        f"-n {namespace_of(scaled_object)} {remove}",
    )


def _containers_troubles(pod: KubeObject, now: datetime | None) -> Iterator[Trouble]:
    specs = {text(spec, "name"): spec for spec in mappings(pod, "spec", "containers")}
    inits = {text(spec, "name"): spec for spec in mappings(pod, "spec", "initContainers")}
    for status in mappings(pod, "status", "initContainerStatuses"):
        spec = inits.get(text(status, "name"), {})
        kind = "sidecar" if spec.get("restartPolicy") == "Always" else "init container"
        yield from _container_troubles(pod, f"{kind} {text(status, 'name')}", status, spec, now)
    for status in mappings(pod, "status", "containerStatuses"):
        name = text(status, "name")
        yield from _container_troubles(pod, f"container {name or ENGINE}", status, specs.get(name, {}), now)


def _container_troubles(
    pod: KubeObject, what: str, status: KubeObject, spec: KubeObject, now: datetime | None
) -> Iterator[Trouble]:
    who = f"pod {name_of(pod)}, {what}"
    waiting = mapping(status, "state", "waiting")
    said = text(waiting, "reason")
    detail = text(waiting, "message") or said
    if said in NOT_PULLED:
        yield Trouble("ImageNotPulled", f"{who}: {detail}")
    elif said in _NOT_CREATED:
        yield Trouble("ContainerNotCreated", f"{who}: {detail}; once it can be made, Kubernetes makes it by itself")
    elif (ended := _crashed(status, said, now)) is not None:
        limit = text(spec, "resources", "limits", "memory")
        times = number(status, "restartCount") + bool(mapping(status, "state", "terminated"))
        often = f"{times} times" if times > 1 else "once"
        if text(ended, "reason") == "OOMKilled":
            how = f"its limit is {limit}" if limit else "it has no limit: its node ran out of memory"
            yield Trouble("OOMKilled", f"{who} was killed for its memory (OOMKilled) {often}; {how}")
            return
        name = text(status, "name")
        crashing: ReasonName = "EngineCrashing" if name in ("", ENGINE) else "ContainerCrashing"
        last = f", last with {number(ended, 'exitCode')} ({text(ended, 'reason') or 'Error'})" if ended else ""
        left = f": {text(ended, 'message').strip()}" if text(ended, "message").strip() else ""
        log = f"kubectl logs {name_of(pod)} -n {namespace_of(pod)} -c {name or ENGINE} --previous"
        yield Trouble(crashing, f"{who} exited {often}{last}{left}; {log}")


def _crashed(status: KubeObject, said: str, now: datetime | None) -> KubeObject | None:
    """How a container ended that keeps ending; {} where nobody says how, None where it does not."""
    ended, last = mapping(status, "state", "terminated"), mapping(status, "lastState", "terminated")
    restarts = number(status, "restartCount")
    if said == "CrashLoopBackOff":
        return last
    if ended:
        # An init container that is done has exited with 0; the engine never should.
        done = number(ended, "exitCode") == 0 and text(ended, "reason") in ("Completed", "")
        return None if done and restarts == 0 else ended
    if not last:
        return None
    if status.get("ready") is not True:
        return last if restarts > 1 or text(last, "reason") == "OOMKilled" else None
    finished = instant(last.get("finishedAt"))
    recent = now is not None and finished is not None and now - finished < RECENTLY
    return last if restarts >= OFTEN and recent else None


def _over(pods: Sequence[KubeObject]) -> Trouble:
    """Pods that ended for good; the latest is named."""
    last = max(pods, key=lambda pod: str(metadata(pod).get("creationTimestamp") or ""))
    why = ": ".join(filter(None, (text(last, "status", "reason"), text(last, "status", "message"))))
    more = f"; so did {len(pods) - 1} before it" if len(pods) > 1 else ""
    return Trouble("PodFailed", f"pod {name_of(last)} has ended: {why or text(last, 'status', 'phase')}{more}")


def _freed(pod: KubeObject, words: str) -> str:
    """The command that frees a cache whose volume is on a node that can't take the pod. Of claims of others it says
    nothing: what is in them may not come again."""
    if not any(pinned in words for pinned in _PINNED):
        return ""
    for volume in mappings(pod, "spec", "volumes"):
        claim = text(volume, "persistentVolumeClaim", "claimName")
        if claim and text(volume, "name") == CACHE_VOLUME:
            return (
                f" Claim {claim} holds the model on a node that can't take the pod: kubectl delete pvc {claim} "
                f"-n {namespace_of(pod)} frees it, and the model is downloaded again"
            )
    return ""


def _last(events: Sequence[KubeObject]) -> KubeObject | None:
    """The latest of the kubelet's Events, where it says that a volume or the sandbox can't be made."""
    last = next(
        (event for event in reversed(events) if text(event, "source", "component") != "default-scheduler"), None
    )
    return last if text(last, "reason") in (*_NOT_MOUNTED, *_NO_SANDBOX) else None
