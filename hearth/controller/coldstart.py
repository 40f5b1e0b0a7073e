"""status.coldStart: how far a start is, since when, and how long it will still take. Pure: world and clock in.

The phases are read from the pods and their Events; what earlier starts took is kept in status.coldStartHistory, so that
it outlives every process of ours.
"""

from collections.abc import Sequence
from datetime import datetime

from hearth.coldstart import remaining, remembered
from hearth.controller.world import NOT_PULLED, World, phase_of, unschedulable
from hearth.kube.client import KubeObject

# As far as a start can be: the pod that is furthest counts.
_PHASES = ("scheduling", "pulling-image", "starting", "loading")

# What Events say of a pod that is not running, by reason: the kubelet's and the cluster autoscaler's words.
_EVENT_PHASES = {
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
    """{phase, message} of the start that is under way, None while there is none."""
    if phase_of(world) not in ("Loading", "Degraded"):
        return None
    if not world.pods:
        return {"phase": "scheduling", "message": "no pod yet"}
    phases = {pod["metadata"]["name"]: _pod_phase(pod, world.events) for pod in world.pods}
    name, (phase, message) = max(phases.items(), key=lambda pair: _PHASES.index(pair[1][0]))
    return {"phase": phase, "message": f"pod {name}: {message}"}


def progress(world: World, old: KubeObject, now: str) -> tuple[KubeObject | None, list[KubeObject]]:
    """(status.coldStart, status.coldStartHistory) after `old`, the status that stands. `now`: RFC 3339."""
    history: list[KubeObject] = list(old.get("coldStartHistory") or [])
    was: KubeObject = old.get("coldStart") or {}
    start = cold_start(world)
    if start is None:
        # A start that ended at zero teaches nothing, nor does one that was never seen.
        if was and phase_of(world) == "Ready":
            history = remembered(history, _took(was, now))  # type: ignore[assignment]
        return None, history
    same = was.get("phase") == start["phase"]
    made = {**start, "since": was["since"] if same and "since" in was else now}
    took = (was.get("took") or {}) if same else _took(was, now)
    if took:
        made["took"] = took
    in_phase = _seconds(made["since"], now)
    if (left := remaining(history, start["phase"], in_phase)) is not None:
        made["eta"] = round(left)
        elapsed = sum(took.values()) + in_phase
        made["percent"] = round(100 * elapsed / (elapsed + left)) if elapsed + left > 0 else 0
    return made, history


def _took(was: KubeObject, now: str) -> KubeObject:
    """The seconds of each phase of a start until now, of which `was` is the last that was written."""
    if "since" not in was:
        return {}
    before: KubeObject = was.get("took") or {}
    return {**before, was["phase"]: round(before.get(was["phase"], 0) + _seconds(was["since"], now), 1)}


def _seconds(since: str, now: str) -> float:
    return max(0.0, (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds())


def _pod_phase(pod: KubeObject, events: Sequence[KubeObject]) -> tuple[str, str]:
    """(phase, what is being waited for) of a pod that is not ready."""
    told = [event for event in events if event["involvedObject"].get("uid") == pod["metadata"].get("uid")]
    last = next((event for event in reversed(told) if event["reason"] in _EVENT_PHASES), None)
    if (words := unschedulable(pod)) is not None or not pod.get("spec", {}).get("nodeName"):
        if last is not None and last["reason"] == "TriggeredScaleUp":
            return "scheduling", f"a node is being added: {last['message']}"
        return "scheduling", words or "waiting for a node"
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        state = container.get("state") or {}
        if waiting := state.get("waiting"):
            reason = waiting.get("reason", "")
            if reason in NOT_PULLED:
                return "pulling-image", waiting.get("message") or reason
            if reason == "ContainerCreating":
                if last is None:
                    return "pulling-image", reason  # the longest of what creating a container is
                return _EVENT_PHASES[last["reason"]], last["message"]
            return "starting", waiting.get("message") or reason or "waiting"
        if "running" in state:
            # Ready is what ends it: a pod does not tell an engine that has no port yet from one that loads weights.
            return "loading", "the engine is loading the model"
    return "starting", "the container is being made"
