"""`hearth status NAME`: what one LLMService is doing and why, link by link down to its pods.

LLMService → ScaledObject → HPA → Deployment → pods: demand goes this way, and what holds it up is said where it sits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.api.reasons import troubles
from hearth.commands.access import listed
from hearth.kube.client import KubeClient
from hearth.kube.kinds import DEPLOYMENT, HPA, LLMSERVICE, POD, SCALED_OBJECT
from hearth.kube.objects import (
    KubeObject,
    condition,
    conditions_of,
    is_leaving,
    mapping,
    mappings,
    name_of,
    namespace_of,
    number,
    owners_of,
    text,
    uid_of,
)


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
    """Ask for all of it; None where there is no such LLMService. Raises KubeError."""
    # Without a name the path would be the collection's.
    service = await kube.get_object(LLMSERVICE.path(namespace, name)) if name else None
    if service is None:
        return None
    # What has a name of ours and is somebody else's is told by the condition NameTaken, and is no link of the chain.
    scaled = _owned(await kube.get_object(SCALED_OBJECT.path(namespace, name)), service)
    hpa_name = text(scaled, "status", "hpaName") or f"keda-hpa-{name}"
    selector = f"{LLMSERVICE_LABEL}={name},{COMPONENT_LABEL}=engine"
    return Found(
        service,
        scaled,
        await kube.get_object(HPA.path(namespace, hpa_name)),
        _owned(await kube.get_object(DEPLOYMENT.path(namespace, name)), service),
        await listed(kube, POD.within(namespace), selector),
    )


def _owned(item: KubeObject | None, service: KubeObject) -> KubeObject | None:
    """An object, where it is this LLMService's."""
    if item is None or all(owner.get("uid") != uid_of(service) for owner in owners_of(item)):
        return None
    return item


def explain(found: Found) -> Explanation:
    """The chain in words. Pure."""
    name, phase = name_of(found.service), text(found.service, "status", "phase") or "Pending"
    ready = condition(found.service, "Ready")
    bad = troubles(conditions_of(found.service))
    why = text(ready, "message") or "the controller has not looked at it yet: is one running? (hearth doctor)"
    if bad:
        why = "; ".join(f"{reason}: {message}" for reason, message in bad)
    well = bool(ready) and not bad
    start = None if bad else _cold_start(mapping(found.service, "status", "coldStart"))
    links = [Link("LLMService", name, f"{phase}: {start or why}", well), _scaled_object(found, name)]
    if found.hpa is not None:
        links.append(_hpa(found.hpa))
    links.append(_deployment(found, name))
    links += [_pod(pod) for pod in sorted(found.pods, key=name_of)]
    return Explanation(namespace_of(found.service), name, phase, why, well, tuple(links))


def _cold_start(start: KubeObject) -> str | None:
    if not start:
        return None
    words = f"{text(start, 'phase')}: {text(start, 'message')}".rstrip(": ")
    if "eta" in start:
        words += f", about {number(start, 'eta')} s to go ({number(start, 'percent')} %)"
    return words


def _scaled_object(found: Found, name: str) -> Link:
    scaled = found.scaled_object
    if scaled is None:
        return Link("ScaledObject", name, "there is none: is KEDA installed? (hearth doctor)", well=False)
    if any(key.startswith("autoscaling.keda.sh/paused") for key in mapping(scaled, "metadata", "annotations")):
        return Link("ScaledObject", name, "paused by its annotation: KEDA scales nothing", well=False)
    ready = condition(scaled, "Ready")
    if not ready:
        return Link("ScaledObject", name, "KEDA has not said anything about it", well=True)
    words = [f"Ready {text(ready, 'status')}"]
    words += [f"{kind} {text(condition(scaled, kind), 'status') or 'Unknown'}" for kind in ("Active", "Fallback")]
    well = text(ready, "status") == "True"
    message = "" if well else f" ({text(ready, 'reason')}: {text(ready, 'message')})"
    return Link("ScaledObject", name, ", ".join(words) + message, well)


def _hpa(hpa: KubeObject) -> Link:
    words = (
        f"wants {number(hpa, 'status', 'desiredReplicas')} of {number(hpa, 'spec', 'minReplicas', default=1)} "
        f"to {number(hpa, 'spec', 'maxReplicas')} replicas"
    )
    for metric in mappings(hpa, "status", "currentMetrics"):
        current = mapping(metric, "external", "current")
        value = text(current, "averageValue") or text(current, "value")
        # An HPA that has not heard of its metric yet writes the least number that there is.
        if value and not value.startswith("-"):
            words += f", {text(metric, 'external', 'metric', 'name')} {value} for each"
    active = condition(hpa, "ScalingActive")
    # KEDA takes a Deployment to zero itself, and the HPA then says ScalingDisabled.
    well = active.get("status") != "False" or active.get("reason") == "ScalingDisabled"
    if active.get("status") == "False":
        words += f" ({text(active, 'reason')}: {text(active, 'message')})"
    return Link("HorizontalPodAutoscaler", name_of(hpa), words, well)


def _deployment(found: Found, name: str) -> Link:
    deployment = found.deployment
    if deployment is None:
        return Link("Deployment", name, "there is none: the conditions of the LLMService say why", well=False)
    wanted = number(deployment, "spec", "replicas", default=1)
    status = mapping(deployment, "status") or mapping(found.service, "status")
    return Link("Deployment", name, f"{number(status, 'readyReplicas')} of {wanted} replicas are ready", well=True)


def _pod(pod: KubeObject) -> Link:
    name, node = name_of(pod), text(pod, "spec", "nodeName")
    where = f" on {node}" if node else ""
    if is_leaving(pod):
        return Link("Pod", name, f"ending{where}", well=True)
    for container in mappings(pod, "status", "containerStatuses"):
        state = mapping(container, "state")
        restarts = f", {number(container, 'restartCount')} restarts" if number(container, "restartCount") else ""
        if waiting := mapping(state, "waiting"):
            reason, message = text(waiting, "reason"), text(waiting, "message")
            words = f"{reason or 'waiting'}{where}{restarts}" + (f": {message}" if message else "")
            return Link("Pod", name, words, reason in ("ContainerCreating", "PodInitializing"))
        if terminated := mapping(state, "terminated"):
            words = f"exited with {number(terminated, 'exitCode')}{where}{restarts}"
            return Link("Pod", name, words, well=False)
        if "running" in state:
            return Link("Pod", name, f"{'ready' if container.get('ready') else 'loading'}{where}{restarts}", well=True)
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return Link("Pod", name, f"{text(scheduled, 'reason')}: {text(scheduled, 'message')}", well=False)
    return Link("Pod", name, f"{text(pod, 'status', 'phase') or 'Pending'}{where}", well=True)
