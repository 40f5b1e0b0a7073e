"""status.coldStart: how far a start is, since when, and how long it will still take. Pure: world and clock in.

The phases are read from the pods and their Events; what earlier starts took is kept in status.coldStartHistory, so that
it outlives every process of ours.
"""

from collections.abc import Sequence
from typing import get_args

from hearth.coldstart import MAX_SECONDS, PHASES, StartPhase, Took, remaining, remembered
from hearth.controller.world import World, alive, one_comes, phase_of, troubles, wanted_replicas
from hearth.kube.objects import KubeObject, condition, instant, mapping, mappings, name_of, text, uid_of
from hearth.troubles import NOT_PULLED, node_coming, unschedulable

# As far as a start can be: the pod that is furthest counts.
_PHASES: tuple[StartPhase, ...] = get_args(StartPhase)

# What Events say of a pod that is not running, by reason: the kubelet's and the cluster autoscaler's words.
_EVENT_PHASES: dict[str, StartPhase] = {
    "TriggeredScaleUp": "scheduling",
    "NotTriggerScaleUp": "scheduling",
    "Pulling": "pulling-image",
    "Pulled": "starting",
    "Created": "starting",
    "FailedMount": "starting",
    "FailedAttachVolume": "starting",
    "FailedCreatePodSandBox": "starting",
}


def cold_start(world: World) -> KubeObject | None:
    """{phase, message} of the start that is under way, None while there is none. A replica that was ready and is not
    for a moment is no start: nothing is loaded."""
    if phase_of(world) not in ("Loading", "Degraded") or wanted_replicas(world) == 0 or unready(world) is not None:
        return None
    pods = alive(world)
    if not pods:
        return {"phase": "scheduling", "message": "no pod yet"}
    phases = {name_of(pod): _pod_phase(pod, world.events) for pod in pods}
    name, (phase, message) = max(phases.items(), key=lambda pair: _PHASES.index(pair[1][0]))
    return {"phase": phase, "message": f"pod {name}: {message}"}


def unready(world: World) -> str | None:
    """What is said where every replica that there is has been ready, and its engine runs on; None otherwise."""
    told = [_was_ready(pod) for pod in alive(world)]
    return told[0] if told and all(told) else None


def _was_ready(pod: KubeObject) -> str | None:
    """A kubelet keeps since when a condition is what it is: of a pod that was never ready that is before its container
    began. https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
    """
    ready = condition(pod, "Ready")
    since = instant(ready.get("lastTransitionTime"))
    begun = [
        instant(text(container, "state", "running", "startedAt"))
        for container in mappings(pod, "status", "containerStatuses")
    ]
    if since is None or ready.get("status") == "True" or not begun:
        return None
    if all(each is not None and each < since for each in begun):
        return f"pod {name_of(pod)} was ready, and is not since {ready['lastTransitionTime']}"
    return None


def by_others(item: KubeObject, part: str, manager: str) -> bool:
    """Whether somebody else than `manager` wrote something in this part of an LLMService's status.

    An apply can't remove that, and a coldStart of others says no start that was seen.
    """
    return any(
        entry.get("manager") != manager and _has_leaf(mapping(entry, "fieldsV1", "f:status", f"f:{part}"))
        for entry in mappings(item, "metadata", "managedFields")
    )


def _has_leaf(owned: KubeObject) -> bool:
    """Whether fields are owned, not only the places (".") where they lie: a manager keeps those that it once made."""
    return any(name != "." and (not inner or _has_leaf(inner)) for name, inner in owned.items())


def progress(world: World, old: KubeObject, now: str) -> tuple[KubeObject | None, list[Took]]:
    """(status.coldStart, status.coldStartHistory) after `old`, the status that stands. `now`: RFC 3339."""
    history: list[Took] = [took for took in map(_took_of, mappings(old, "coldStartHistory")) if took]
    was = mapping(old, "coldStart")
    start = cold_start(world)
    if start is None:
        # A start that ended at zero teaches nothing, nor does one that was never seen.
        if took := ended(world, old, now):
            history = remembered(history, took)
        return None, history
    same = was.get("phase") == start["phase"]
    made = {**start, "since": was["since"] if same and instant(was.get("since")) else now}
    took = _took_of(mapping(was, "took")) if same else _took(was, now)
    if took:
        made["took"] = took
    in_phase = _seconds(made["since"], now)
    # Nothing that earlier starts took tells when a node, a quota or a volume will be there.
    stuck = bool(troubles(world)) and not one_comes(world)
    if not stuck and (left := remaining(history, start["phase"], in_phase)) is not None:
        made["eta"] = round(left)
        elapsed = sum(took.values()) + in_phase
        made["percent"] = round(100 * elapsed / (elapsed + left)) if elapsed + left > 0 else 0
    return made, history


def ended(world: World, old: KubeObject, now: str) -> Took | None:
    """The seconds of each phase of a start that the status which stands, `old`, tells of, and that has just brought a
    replica. {} where it went back to zero, or says nothing of its phases; None where no start has ended."""
    was = mapping(old, "coldStart")
    if not was or cold_start(world) is not None:
        return None
    return _took(was, now) if phase_of(world) == "Ready" else {}


def _took(was: KubeObject, now: str) -> dict[str, float]:
    """The seconds of each phase of a start until now, of which `was` is the last that was written."""
    phase, since = text(was, "phase"), text(was, "since")
    if phase not in PHASES or not since:
        return {}
    before = _took_of(mapping(was, "took"))
    return {**before, phase: round(min(before.get(phase, 0) + _seconds(since, now), MAX_SECONDS), 1)}


def _took_of(written: KubeObject) -> dict[str, float]:
    """What a status says that the phases of a start took, as far as that can be: a status is written by whoever may."""
    return {
        phase: seconds
        for phase, seconds in written.items()
        if phase in PHASES and isinstance(seconds, int | float) and 0 <= seconds <= MAX_SECONDS
    }


def _seconds(since: str, now: str) -> float:
    began, ends = instant(since), instant(now)
    return max(0.0, (ends - began).total_seconds()) if began is not None and ends is not None else 0.0


def _pod_phase(pod: KubeObject, events: Sequence[KubeObject]) -> tuple[StartPhase, str]:
    """(phase, what is being waited for) of a pod that is not ready."""
    told = [event for event in events if text(event, "involvedObject", "uid") == uid_of(pod)]
    last = next((event for event in reversed(told) if text(event, "reason") in _EVENT_PHASES), None)
    if (words := unschedulable(pod)) is not None or not text(pod, "spec", "nodeName"):
        if (coming := node_coming(told)) is not None:
            return "scheduling", f"a node is being added: {coming}"
        return "scheduling", words or "waiting for a node"
    for container in mappings(pod, "status", "containerStatuses"):
        state = mapping(container, "state")
        if waiting := mapping(state, "waiting"):
            reason, message = text(waiting, "reason"), text(waiting, "message")
            if reason in NOT_PULLED:
                return "pulling-image", message or reason
            if reason == "ContainerCreating":
                if last is None:
                    return "pulling-image", reason  # the longest of what creating a container is
                return _EVENT_PHASES[text(last, "reason")], text(last, "message")
            return "starting", message or reason or "waiting"
        if "running" in state:
            # Ready is what ends it: a pod does not tell an engine that has no port yet from one that loads weights.
            return "loading", "the engine is loading the model"
    return "starting", "the container is being made"
