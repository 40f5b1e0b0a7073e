"""What became of a prewarm: the condition ModelCached, from its Job and the Job's pods; and when a Job goes. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence

from hearth.api.labels import COMPONENT_LABEL
from hearth.api.reasons import place
from hearth.controller.verdict import Verdict
from hearth.controller.world import World
from hearth.crd_translator.prewarm import PROGRESS
from hearth.kube.objects import (
    KubeObject,
    condition,
    instant,
    is_leaving,
    is_owned,
    labels_of,
    mapping,
    mappings,
    metadata,
    name_of,
    number,
    text,
    uid_of,
)
from hearth.troubles import CACHE_VOLUME, Trouble, is_over, pod_troubles

_TOLD = re.compile(rf"^{re.escape(PROGRESS)} ([0-9]{{1,15}}) KiB\s*$", re.MULTILINE)


def outdated(job: KubeObject, wanted: Collection[str] | None, claims: Mapping[str, KubeObject]) -> bool:
    """Whether a prewarm Job is to go: it is not one of those that are `wanted` (None: nobody knows which), or its claim
    goes, or is another one than it has filled. `claims` are the LLMService's, by name.

    Until a Job's pods are gone, ended ones too, the claim that they name stays. A claim that is younger than the Job is
    not the one that the Job was made for, since that is made first (docs/decisions/0089).
    """
    if wanted is not None and name_of(job) not in wanted:
        return True
    if (claim := claims.get(claim_of(job))) is None:
        return False
    made, since = (instant(metadata(item).get("creationTimestamp")) for item in (claim, job))
    return is_leaving(claim) or (made is not None and since is not None and made > since)


def at_work(pods: Sequence[KubeObject], jobs: Collection[str]) -> bool:
    """Whether a prewarm's pod that none of these Jobs (uids) has made may still write into the cache."""
    return any(
        labels_of(pod).get(COMPONENT_LABEL) == "prewarm"
        and not is_over(pod)
        and not any(is_owned(pod, job) for job in jobs)
        for pod in pods
    )


def cached_verdict(world: World) -> Verdict | None:
    """None where there is no Job to tell of."""
    job = world.prewarm
    if job is None:
        return Verdict("ModelCached", True, "Cached", _filled(world.cached)) if world.cached else None
    name = name_of(job)
    if condition(job, "Complete").get("status") == "True":
        return Verdict("ModelCached", True, "Cached", _filled(name))
    if (failed := condition(job, "Failed")).get("status") == "True":
        said = next(filter(None, map(_ended, _latest_first(world.prewarm_pods))), "") or text(failed, "message")
        again = f"once it is mended, kubectl delete job {name} makes Hearth try again"
        return Verdict("ModelCached", False, "PrewarmFailed", f"Job {name} has given up: {said}; {again}")
    if (trouble := _trouble(world)) is not None:
        return Verdict("ModelCached", False, trouble.reason, f"Job {name}{trouble.message}")
    have = "" if world.prewarm_bytes is None else f"; {world.prewarm_bytes} bytes ({_size(world.prewarm_bytes)}) so far"
    return Verdict("ModelCached", False, "Downloading", f"Job {name} is at it{have}")


def _filled(job: str) -> str:
    return f"Job {job} has filled the cache"


def claim_of(job: KubeObject) -> str:
    """The claim that a prewarm Job fills; "" where its cache is none."""
    volumes = mappings(job, "spec", "template", "spec", "volumes")
    cache = next((each for each in volumes if text(each, "name") == CACHE_VOLUME), None)
    return text(cache, "persistentVolumeClaim", "claimName")


def prewarmed(job: KubeObject | None, claims: Mapping[str, KubeObject]) -> KubeObject | None:
    """status.prewarmed, of a Job that is whole: somebody may clean it away, and the cache stays filled. `claims` are
    the LLMService's, by name."""
    if job is None or condition(job, "Complete").get("status") != "True":
        return None
    return {"job": name_of(job), "claim": uid_of(claims.get(claim_of(job)))}


def was_filled(job: KubeObject, claims: Mapping[str, KubeObject], status: KubeObject) -> bool:
    """Whether this Job, which is rendered, has filled its cache already, as `status` remembers."""
    told = mapping(status, "prewarmed")
    return text(told, "job") == name_of(job) and text(told, "claim") == uid_of(claims.get(claim_of(job)))


def filling(world: World) -> bool:
    """Whether there is a Job that has not come to its end."""
    over = (condition(world.prewarm, kind).get("status") == "True" for kind in ("Complete", "Failed"))
    return world.prewarm is not None and not any(over)


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


def _trouble(world: World) -> Trouble | None:
    """What the latest pod ended of, or what keeps the present one from running, or the Job from making one."""
    said = [each for each in world.prewarm_events if text(each, "involvedObject", "uid") == uid_of(world.prewarm)]
    # A Job has no condition for it: https://kubernetes.io/docs/concepts/workloads/controllers/job/
    if said and text(said[-1], "reason") == "FailedCreate" and all(map(is_over, world.prewarm_pods)):
        return Trouble("PodNotCreated", f": {text(said[-1], 'message')}")
    for pod in _latest_first(world.prewarm_pods):
        if words := _ended(pod):
            return Trouble("PrewarmFailed", f", {number(world.prewarm, 'status', 'failed')} failed so far: {words}")
        if not is_over(pod) and (found := pod_troubles(pod, world.prewarm_events, world.now)):
            worst = min(found, key=lambda each: place(each.reason))
            return Trouble(worst.reason, f": {worst.message}")
    return None


def _latest_first(pods: Sequence[KubeObject]) -> list[KubeObject]:
    return sorted(pods, key=lambda pod: text(metadata(pod), "creationTimestamp"), reverse=True)


def _ended(pod: KubeObject) -> str:
    """Why a pod failed; "" where it did not."""
    for container in (*mappings(pod, "status", "initContainerStatuses"), *mappings(pod, "status", "containerStatuses")):
        ended = mapping(container, "state", "terminated")
        if ended and number(ended, "exitCode"):
            said = text(ended, "message").strip() or text(ended, "reason")
            return f"pod {name_of(pod)} exited with {number(ended, 'exitCode')}: {said}"
    if text(pod, "status", "phase") == "Failed":  # evicted
        return f"pod {name_of(pod)}: {text(pod, 'status', 'message') or text(pod, 'status', 'reason')}"
    return ""
