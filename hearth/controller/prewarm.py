"""What became of a prewarm: the condition ModelCached, from its Job and the pods that the Job made. Pure."""

import re
from collections.abc import Sequence

from hearth.controller.verdict import Verdict
from hearth.controller.world import World
from hearth.crd_translator.prewarm import PROGRESS
from hearth.kube.objects import KubeObject, condition, mapping, mappings, metadata, name_of, number, text
from hearth.troubles import unschedulable

_TOLD = re.compile(rf"^{re.escape(PROGRESS)} ([0-9]{{1,15}}) KiB\s*$", re.MULTILINE)
# The kubelet's words for a container that is on its way.
_ON_ITS_WAY = ("ContainerCreating", "PodInitializing")


def cached_verdict(world: World) -> Verdict | None:
    """None where there is no Job to tell of."""
    job = world.prewarm
    if job is None:
        return None
    name = name_of(job)
    if condition(job, "Complete").get("status") == "True":
        return Verdict("ModelCached", True, "Cached", f"Job {name} has filled the cache")
    words = _words(world.prewarm_pods)
    if (failed := condition(job, "Failed")).get("status") == "True":
        said = words or text(failed, "message")
        again = f"once it is mended, kubectl delete job {name} makes Hearth try again"
        return Verdict("ModelCached", False, "PrewarmFailed", f"Job {name} has given up: {said}; {again}")
    if words:
        tries = number(job, "status", "failed")
        return Verdict("ModelCached", False, "PrewarmFailed", f"Job {name}, {tries} failed so far: {words}")
    waits = next(filter(None, map(unschedulable, world.prewarm_pods)), None)
    if waits is not None:
        return Verdict("ModelCached", False, "Unschedulable", f"Job {name}: {waits}")
    have = "" if world.prewarm_bytes is None else f"; {world.prewarm_bytes} bytes ({_size(world.prewarm_bytes)}) so far"
    return Verdict("ModelCached", False, "Downloading", f"Job {name} is at it{have}")


def downloading(world: World) -> str | None:
    """The pod whose log says how far a download is; None where none runs."""
    running = [pod for pod in world.prewarm_pods if text(pod, "status", "phase") == "Running"]
    return name_of(running[0]) if running else None


def bytes_told(log: str) -> int | None:
    """What the latest line about it says; None where there is none."""
    told = _TOLD.findall(log)
    return int(told[-1]) * 1024 if told else None


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _words(pods: Sequence[KubeObject]) -> str:
    """Why the latest pod that failed did, or what keeps the present one from running."""
    for pod in sorted(pods, key=lambda pod: text(metadata(pod), "creationTimestamp"), reverse=True):
        statuses = [*mappings(pod, "status", "initContainerStatuses"), *mappings(pod, "status", "containerStatuses")]
        for container in statuses:
            ended = mapping(container, "state", "terminated")
            if ended and number(ended, "exitCode"):
                said = text(ended, "message").strip() or text(ended, "reason")
                return f"pod {name_of(pod)} exited with {number(ended, 'exitCode')}: {said}"
            waits = mapping(container, "state", "waiting")
            if waits and text(waits, "reason") not in _ON_ITS_WAY:
                return f"pod {name_of(pod)}: {text(waits, 'message') or text(waits, 'reason')}"
        if text(pod, "status", "phase") == "Failed":  # evicted
            return f"pod {name_of(pod)}: {text(pod, 'status', 'message') or text(pod, 'status', 'reason')}"
    return ""
