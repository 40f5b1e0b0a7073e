"""An LLMService's status, from what the API server tells of its objects. Pure: objects and a clock in, status out."""

from collections.abc import Sequence

from hearth.api.reasons import REASONS, ReasonName, place
from hearth.api.status import MAX_MESSAGE
from hearth.controller.coldstart import cold_start, progress, unready
from hearth.controller.prewarm import cached_verdict
from hearth.controller.rollout import version_verdict
from hearth.controller.verdict import Verdict
from hearth.controller.world import (
    World,
    minimum,
    one_comes,
    phase_of,
    ready_replicas,
    replicas,
    scaling_verdict,
    troubles,
    wanted_replicas,
)
from hearth.kube.objects import KubeObject, conditions_of, mapping, text, texts
from hearth.troubles import Trouble


def runtime_not_resolved(world: World, reason: ReasonName, message: str) -> list[Verdict]:
    """The conditions of a service that no InferenceRuntime can serve, or more than one equally; and of the replicas
    that it had before."""
    found = [Verdict("RuntimeResolved", False, reason, message)]
    if world.deployment is not None:
        found += [scaling_verdict(world), _pods_verdict(world)]
    return [*found, Verdict("Ready", False, reason, message)]


def verdicts(world: World, resolved: Verdict, *, refused: str | None = None) -> list[Verdict]:
    """The conditions of a service that is rendered; `resolved` is RuntimeResolved; `refused` is what the API server
    said of objects that it does not take."""
    scaling, pods = scaling_verdict(world), _pods_verdict(world)
    return [
        resolved,
        scaling,
        pods,
        *([version_verdict(world)] if world.deployment is not None else []),
        *([cached] if (cached := cached_verdict(world)) is not None else []),
        _ready_verdict(world, resolved, scaling, pods, refused),
    ]


def stalled(found: Sequence[Verdict]) -> list[Verdict]:
    """The condition Stalled, which is there only where it is true: time mends nothing.

    kstatus, and so Helm and Flux, then call the LLMService failed rather than wait:
    https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
    """
    return [
        Verdict("Stalled", True, verdict.reason, verdict.message)
        for verdict in found
        if verdict.type == "Ready" and not verdict.status and REASONS[verdict.reason].stalled
    ]


def _pods_verdict(world: World) -> Verdict:
    """Whether something is wrong with the pods that are wanted. One that is starting is well."""
    found = _ordered(troubles(world))
    if found:
        return Verdict("PodsHealthy", False, found[0].reason, _all(found))
    return Verdict("PodsHealthy", True, "AsWanted", "nothing is wrong with the replicas that are wanted")


def _ready_verdict(world: World, resolved: Verdict, scaling: Verdict, pods: Verdict, refused: str | None) -> Verdict:
    """Ready is true where the service does what its spec says: at rest too, for the next request starts a replica.
    Whether a replica is up is the phase's to say."""
    wanted, ready = wanted_replicas(world), ready_replicas(world)
    if refused is not None:
        return Verdict("Ready", False, "Refused", refused)
    if world.deployment is None:
        if not resolved.status:
            return Verdict("Ready", False, resolved.reason, resolved.message)
        return Verdict("Ready", False, "Pending", "the Deployment is being made")
    if ready:
        counts = f"{ready} of {wanted} replicas are ready"
        if pods.status:
            return Verdict("Ready", True, "ReplicasReady", counts)
        return Verdict("Ready", True, "SomeReplicasReady", f"{counts}; {pods.reason}: {pods.message}")
    if wanted == 0:
        if not scaling.status:
            return Verdict("Ready", False, scaling.reason, scaling.message)
        if minimum(world):
            return Verdict("Ready", False, "Pending", "KEDA has not started the replicas of scaling.min yet")
        return Verdict("Ready", True, "ScaledToZero", "the first request starts a replica")
    if not pods.status and not one_comes(world):
        return Verdict("Ready", False, pods.reason, pods.message)
    if (why := unready(world)) is not None:
        return Verdict("Ready", not minimum(world), "ColdStart", why)
    start = cold_start(world) or {}
    # A start that a request asked for is the service at work; one that scaling.min asks for is not there yet.
    return Verdict("Ready", not minimum(world), "ColdStart", start.get("message", "the first replica is starting"))


def _ordered(found: Sequence[Trouble]) -> list[Trouble]:
    """By the table of reasons; of two pods with the same reason, the first."""
    return sorted(
        {trouble.reason: trouble for trouble in reversed(found)}.values(), key=lambda each: place(each.reason)
    )


def _all(found: Sequence[Trouble]) -> str:
    """One after the other; the first one's reason stands in the condition already."""
    return "; ".join([found[0].message, *(f"{trouble.reason}: {trouble.message}" for trouble in found[1:])])


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
    prewarmed: KubeObject | None = None,
    paths: Sequence[str] | None = None,
    readiness_path: str | None = None,
) -> KubeObject:
    """The whole status; `old` is the one that stands, whose times are kept where nothing changed. `now`: RFC 3339.

    Where `runtime`, `choice`, `prewarmed`, `paths` or `readiness_path` are None, nothing was decided in this look, and
    what stands stays.
    """
    before = {text(condition, "type"): condition for condition in conditions_of({"status": old})}
    conditions = []
    for verdict in (*found, *stalled(found)):
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
        "prewarmed": mapping(old, "prewarmed") if prewarmed is None else prewarmed,
        "enginePaths": texts(old, "enginePaths") if paths is None else list(paths),
        "readinessPath": text(old, "readinessPath") if readiness_path is None else readiness_path,
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
