"""`hearth status NAME`: what one LLMService is doing and why, link by link down to its pods.

LLMService → ScaledObject → HPA → Deployment → pods: demand goes this way, and what holds it up is said where it sits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hearth.api.base import GROUP, VERSION
from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.commands.access import listed
from hearth.kube.client import KubeClient, KubeObject


@dataclass(frozen=True, slots=True)
class Found:
    """The objects of one LLMService; None where there is none."""

    service: KubeObject
    scaled_object: KubeObject | None
    hpa: KubeObject | None
    deployment: KubeObject | None
    pods: Sequence[KubeObject]


@dataclass(frozen=True, slots=True)
class Link:
    """One object of the chain: what it says, and whether that is as it should be."""

    kind: str
    name: str
    says: str
    well: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """`phase` and `why` are the LLMService's; `links` begin with it. `well` is false where somebody has to act."""

    namespace: str
    name: str
    phase: str
    why: str
    well: bool
    links: tuple[Link, ...]

    def to_data(self) -> dict[str, Any]:
        return asdict(self)


async def find(kube: KubeClient, namespace: str, name: str) -> Found | None:
    """Ask for all of it; None where there is no such LLMService. Raises ApiUnavailable."""
    service = await kube.get_object(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/llmservices/{name}")
    if service is None:
        return None
    scaled = await kube.get_object(f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects/{name}")
    hpa_name = ((scaled or {}).get("status") or {}).get("hpaName") or f"keda-hpa-{name}"
    selector = f"{LLMSERVICE_LABEL}={name},{COMPONENT_LABEL}=engine"
    return Found(
        service,
        scaled,
        await kube.get_object(f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{hpa_name}"),
        await kube.get_object(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
        await listed(kube, f"/api/v1/namespaces/{namespace}/pods", selector),
    )


def explain(found: Found) -> Explanation:
    """The chain in words. Pure."""
    metadata, status = found.service["metadata"], found.service.get("status") or {}
    phase = status.get("phase", "Pending")
    ready = _condition(status, "Ready")
    troubles = [
        condition
        for condition in status.get("conditions") or []
        if condition["status"] == "False" and condition["type"] != "Ready"
    ]
    why = ready.get("message") or "the controller has not looked at it yet: is one running? (hearth doctor)"
    if troubles:
        why = "; ".join(f"{condition['reason']}: {condition['message']}" for condition in troubles)
    well = phase != "Degraded" and not troubles and bool(ready) and ready.get("reason") != "Unschedulable"
    says = f"{phase}: {_cold_start(status) or why}"
    links = [Link("LLMService", metadata["name"], says, well), _scaled_object(found, metadata["name"])]
    if found.hpa is not None:
        links.append(_hpa(found.hpa))
    links.append(_deployment(found, metadata["name"]))
    links += [_pod(pod) for pod in sorted(found.pods, key=lambda pod: pod["metadata"]["name"])]
    return Explanation(metadata["namespace"], metadata["name"], phase, why, well, tuple(links))


def _cold_start(status: KubeObject) -> str | None:
    start = status.get("coldStart")
    if not start:
        return None
    words = f"{start['phase']}: {start.get('message', '')}".rstrip(": ")
    if start.get("eta") is not None:
        words += f", about {start['eta']} s to go ({start.get('percent', 0)} %)"
    return words


def _scaled_object(found: Found, name: str) -> Link:
    scaled = found.scaled_object
    if scaled is None:
        return Link("ScaledObject", name, "there is none: is KEDA installed? (hearth doctor)", well=False)
    if any(key.startswith("autoscaling.keda.sh/paused") for key in scaled["metadata"].get("annotations") or {}):
        return Link("ScaledObject", name, "paused by its annotation: KEDA scales nothing", well=False)
    status = scaled.get("status") or {}
    ready = _condition(status, "Ready")
    if not ready:
        return Link("ScaledObject", name, "KEDA has not said anything about it", well=True)
    words = [f"Ready {ready['status']}"]
    words += [f"{kind} {_condition(status, kind).get('status', 'Unknown')}" for kind in ("Active", "Fallback")]
    well = ready["status"] == "True"
    message = "" if well else f" ({ready.get('reason')}: {ready.get('message')})"
    return Link("ScaledObject", name, ", ".join(words) + message, well)


def _hpa(hpa: KubeObject) -> Link:
    spec, status = hpa["spec"], hpa.get("status") or {}
    words = (
        f"wants {status.get('desiredReplicas', 0)} of {spec.get('minReplicas', 1)} to {spec['maxReplicas']} replicas"
    )
    for metric in status.get("currentMetrics") or []:
        external = metric.get("external") or {}
        if current := (external.get("current") or {}).get("averageValue") or (external.get("current") or {}).get(
            "value"
        ):
            words += f", {external['metric']['name']} {current} for each"
    active = _condition(status, "ScalingActive")
    # KEDA takes a Deployment to zero itself, and the HPA then says ScalingDisabled.
    well = active.get("status") != "False" or active.get("reason") == "ScalingDisabled"
    if active.get("status") == "False":
        words += f" ({active.get('reason')}: {active.get('message')})"
    return Link("HorizontalPodAutoscaler", hpa["metadata"]["name"], words, well)


def _deployment(found: Found, name: str) -> Link:
    deployment = found.deployment
    if deployment is None:
        return Link("Deployment", name, "there is none: the conditions of the LLMService say why", well=False)
    wanted = deployment["spec"].get("replicas", 1)
    status = deployment.get("status") or found.service.get("status") or {}
    return Link("Deployment", name, f"{status.get('readyReplicas', 0)} of {wanted} replicas are ready", well=True)


def _pod(pod: KubeObject) -> Link:
    status = pod.get("status") or {}
    name, node = pod["metadata"]["name"], pod.get("spec", {}).get("nodeName")
    where = f" on {node}" if node else ""
    if pod["metadata"].get("deletionTimestamp"):
        return Link("Pod", name, f"ending{where}", well=True)
    for container in status.get("containerStatuses") or []:
        state = container.get("state") or {}
        restarts = f", {container['restartCount']} restarts" if container.get("restartCount") else ""
        if waiting := state.get("waiting"):
            words = f"{waiting.get('reason')}{where}{restarts}"
            if waiting.get("message"):
                words += f": {waiting['message']}"
            return Link("Pod", name, words, waiting.get("reason") in ("ContainerCreating", "PodInitializing"))
        if terminated := state.get("terminated"):
            return Link("Pod", name, f"exited with {terminated.get('exitCode')}{where}{restarts}", well=False)
        if "running" in state:
            return Link("Pod", name, f"{'ready' if container.get('ready') else 'loading'}{where}{restarts}", well=True)
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return Link("Pod", name, f"{scheduled.get('reason')}: {scheduled.get('message')}", well=False)
    return Link("Pod", name, f"{status.get('phase', 'Pending')}{where}", well=True)


def _condition(status: KubeObject, kind: str) -> KubeObject:
    return next((c for c in status.get("conditions") or [] if c["type"] == kind), {})
