"""An LLMService's status, from the pods that run for it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hearth.emulators.pod import Phase


@dataclass(frozen=True, slots=True)
class PodView:
    """What the status needs of a pod; `since` is when its phase began, RFC 3339."""

    name: str
    phase: Phase
    since: str
    restarts: int


def llmservice_status(
    wanted: int,
    pods: Sequence[PodView],
    runtime: str,
    endpoint_url: str,
    generation: int,
    queue_depth: int | None = None,
) -> dict[str, Any]:
    """status of an LLMService whose Deployment is to have `wanted` replicas."""
    ready = [pod for pod in pods if pod.phase == "ready"]
    crashing = [pod for pod in pods if pod.phase == "backing-off"]
    coming = [pod for pod in pods if pod.phase in ("starting", "loading")]
    status: dict[str, Any] = {
        "replicas": len(pods),
        "readyReplicas": len(ready),
        "resolvedRuntime": runtime,
        "endpointURL": endpoint_url,
        "observedGeneration": generation,
    }
    if queue_depth is not None:
        status["queueDepth"] = queue_depth
    if ready:
        phase, reason, message = "Ready", "ReplicasReady", f"{len(ready)} of {wanted} replicas are ready"
    elif crashing:
        pod = crashing[0]
        phase, reason = "Degraded", "EngineCrashing"
        message = f"pod {pod.name} exited {pod.restarts} times; its log says why"
    elif wanted == 0:
        phase, reason, message = "ScaledToZero", "NoDemand", "the first request starts a replica"
    else:
        phase, reason, message = "Loading", "ColdStart", "the first replica is starting"
    status["phase"] = phase
    if not ready and wanted > 0:
        # The phase of a start is that of the pod that is furthest on.
        leader = next((pod for pod in coming if pod.phase == "loading"), coming[0] if coming else None)
        status["coldStart"] = {
            "phase": leader.phase if leader else "scheduling",
            **({"since": leader.since, "message": f"pod {leader.name} is {leader.phase}"} if leader else {}),
        }
    status["conditions"] = [
        {"type": "Ready", "status": "True" if ready else "False", "reason": reason, "message": message},
        {
            "type": "RuntimeResolved",
            "status": "True",
            "reason": "Resolved",
            "message": f"served by InferenceRuntime {runtime}",
        },
    ]
    return status
