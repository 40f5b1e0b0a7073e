"""An LLMService's status, from what the API server tells of its objects. Pure: objects and a clock in, status out."""

from collections.abc import Sequence

from hearth.api.reasons import ReasonName
from hearth.api.status import MAX_MESSAGE
from hearth.controller.coldstart import cold_start, progress
from hearth.controller.rollout import version_verdict
from hearth.controller.scaledobject import ready_verdict
from hearth.controller.verdict import Verdict
from hearth.controller.world import (
    World,
    phase_of,
    ready_replicas,
    replicas,
    trouble,
    unschedulable,
    wanted_replicas,
)
from hearth.kube.objects import KubeObject, conditions_of, mapping, text, texts

_NO_KEDA = (
    "the API server has no ScaledObjects: install KEDA (https://keda.sh/docs/latest/deploy/); "
    "until then nothing starts or stops replicas, and Hearth looks again by itself"
)


def runtime_not_resolved(reason: ReasonName, message: str) -> list[Verdict]:
    """The conditions of a service that no InferenceRuntime can serve, or more than one equally."""
    return [
        Verdict("RuntimeResolved", False, reason, message),
        Verdict("Ready", False, "RuntimeNotResolved", "nothing is rendered before a runtime is found"),
    ]


def verdicts(world: World, resolved: Verdict, *, keda: bool = True, others: Sequence[str] = ()) -> list[Verdict]:
    """The conditions of a service that is rendered; `resolved` is RuntimeResolved; without `keda` the API server knows
    no ScaledObjects; `others` name who scales the Deployment beside ours."""
    made = [resolved]
    if not keda:
        scaled = Verdict("ScaledObjectReady", False, "KedaNotInstalled", _NO_KEDA)
    elif world.scaled_object is None:
        scaled = Verdict("ScaledObjectReady", False, "NotSeen", "KEDA has not taken the ScaledObject yet")
    elif others:
        fight = f"found {', '.join(others)}, beside this LLMService's ScaledObject: two scalers fight over its replicas"
        scaled = Verdict("ScaledObjectReady", False, "ScaledByOthers", fight)
    else:
        scaled = ready_verdict(world.scaled_object)
    made.append(scaled)
    if world.deployment is not None:
        made.append(version_verdict(world))
    match phase_of(world):
        case "Ready":
            counts = f"{ready_replicas(world)} of {wanted_replicas(world)} replicas are ready"
            made.append(Verdict("Ready", True, "ReplicasReady", counts))
        case "Degraded":
            reason, message = trouble(world) or ("NotScaled", f"KEDA starts nothing: {scaled.message}")
            made.append(Verdict("Ready", False, reason, message))
        case "Loading":
            # A cluster autoscaler may be adding a node; if there is none, this is what a person must read.
            why: ReasonName = "Unschedulable" if world.pods and all(map(unschedulable, world.pods)) else "ColdStart"
            start = cold_start(world) or {}
            made.append(Verdict("Ready", False, why, start.get("message", "the first replica is starting")))
        case "ScaledToZero":
            made.append(Verdict("Ready", False, "NoDemand", "the first request starts a replica"))
        case "Pending":
            made.append(Verdict("Ready", False, "Pending", "the Deployment is being made"))
    return made


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
    choice: KubeObject | None = None,
    paths: Sequence[str] | None = None,
) -> KubeObject:
    """The whole status; `old` is the one that stands, whose times are kept where nothing changed. `now`: RFC 3339.

    Where `runtime`, `choice` or `paths` are None, nothing was decided in this look, and what stands stays.
    """
    before = {text(condition, "type"): condition for condition in conditions_of({"status": old})}
    conditions = []
    for verdict in found:
        was = before.get(verdict.type, {})
        status = "True" if verdict.status else "False"
        conditions.append(
            {
                "type": verdict.type,
                "status": status,
                "reason": verdict.reason,
                "message": cut(verdict.message),
                "lastTransitionTime": was.get("lastTransitionTime", now) if was.get("status") == status else now,
                "observedGeneration": generation,
            }
        )
    made: KubeObject = {
        "phase": phase_of(world),
        "replicas": replicas(world),
        "readyReplicas": ready_replicas(world),
        "selector": selector,
        "endpointURL": url,
        "observedGeneration": generation,
        "conditions": conditions,
    }
    kept = {
        "resolvedRuntime": text(old, "resolvedRuntime") if runtime is None else runtime,
        "choice": mapping(old, "choice") if choice is None else choice,
        "enginePaths": texts(old, "enginePaths") if paths is None else list(paths),
    }
    made |= {name: value for name, value in kept.items() if value}
    if world.queue_depth is not None:
        made["queueDepth"] = world.queue_depth
    start, history = progress(world, old, now)
    if start is not None:
        made["coldStart"] = {**start, "message": cut(start["message"])}
    if history:
        made["coldStartHistory"] = history
    return made


def cut(message: str) -> str:
    """At most as many characters as the status takes."""
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 2]} …"
