"""`hearth status NAME`: what one LLMService is doing and why, link by link down to its pods.

LLMService → ScaledObject → HPA → Deployment → pods: demand goes this way, and what holds it up is said where it sits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.api.reasons import must_act, troubles
from hearth.commands.access import listed
from hearth.kube.client import KubeClient
from hearth.kube.kinds import DEPLOYMENT, HPA, LLMSERVICE, POD, SCALED_OBJECT
from hearth.kube.objects import (
    KubeObject,
    condition,
    conditions_of,
    is_leaving,
    is_owned,
    is_replica_of,
    mapping,
    mappings,
    name_of,
    namespace_of,
    number,
    text,
    uid_of,
)
from hearth.troubles import Trouble, deployment_troubles, is_over, paused, pod_troubles


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
    hpa = await kube.get_object(HPA.path(namespace, hpa_name))
    deployment = _owned(await kube.get_object(DEPLOYMENT.path(namespace, name)), service)
    pods = await listed(kube, POD.within(namespace), selector)
    ours = [pod for pod in pods if is_replica_of(pod, name, uid_of(deployment))]
    return Found(service, scaled, hpa, deployment, ours)


def _owned(item: KubeObject | None, service: KubeObject) -> KubeObject | None:
    """An object, where it is this LLMService's."""
    return item if item is not None and is_owned(item, uid_of(service)) else None


def explain(found: Found, now: datetime | None = None) -> Explanation:
    """The chain in words, as of `now`. Pure, where it is given."""
    now = now or datetime.now(UTC)
    name, phase = name_of(found.service), text(found.service, "status", "phase") or "Pending"
    ready = condition(found.service, "Ready")
    bad = troubles(conditions_of(found.service))
    why = text(ready, "message") or "the controller has not looked at it yet: is one running? (hearth doctor)"
    if bad:
        why = "; ".join(f"{reason}: {message}" for reason, message in bad)
    well = bool(ready) and not bad
    start = None if bad else _cold_start(mapping(found.service, "status", "coldStart"))
    links = [Link("LLMService", name, f"{phase}: {start or why}", well), _scaled_object(found, name)]
    links += _hpa(found)
    links.append(_deployment(found, name))
    links += [_pod(pod, now, replaced=_enough(found)) for pod in sorted(found.pods, key=name_of)]
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
    if (pause := paused(scaled)) is not None:
        return Link("ScaledObject", name, f"paused: {pause.message}", well=False)
    ready = condition(scaled, "Ready")
    if not ready:
        return Link("ScaledObject", name, "KEDA has not said anything about it", well=True)
    words = [f"Ready {text(ready, 'status')}"]
    words += [f"{kind} {text(condition(scaled, kind), 'status') or 'Unknown'}" for kind in ("Active", "Fallback")]
    well = text(ready, "status") == "True"
    message = "" if well else f" ({text(ready, 'reason')}: {text(ready, 'message')})"
    # What its own conditions can't say, for KEDA writes them: that KEDA is away, say.
    ours = condition(found.service, "ScaledObjectReady")
    if well and must_act(text(ours, "status"), text(ours, "reason")):
        message, well = f" ({text(ours, 'reason')}: {text(ours, 'message')})", False
    return Link("ScaledObject", name, ", ".join(words) + message, well)


def _hpa(found: Found) -> list[Link]:
    hpa = found.hpa
    if hpa is None:
        name = text(found.scaled_object, "status", "hpaName")
        if not name or paused(found.scaled_object) is not None or not _wanted(found):
            return []
        return [Link("HorizontalPodAutoscaler", name, "there is none: replicas stay as many as they are", well=False)]
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
    return [Link("HorizontalPodAutoscaler", name_of(hpa), words, well)]


def _wanted(found: Found) -> int:
    return number(found.deployment, "spec", "replicas", default=1) if found.deployment is not None else 0


def _enough(found: Found) -> bool:
    """Whether as many replicas are ready as are wanted."""
    return number(found.deployment, "status", "readyReplicas") >= _wanted(found)


def _deployment(found: Found, name: str) -> Link:
    deployment = found.deployment
    if deployment is None:
        return Link("Deployment", name, "there is none: the conditions of the LLMService say why", well=False)
    status = mapping(deployment, "status") or mapping(found.service, "status")
    words = f"{number(status, 'readyReplicas')} of {_wanted(found)} replicas are ready"
    bad = [] if _enough(found) else deployment_troubles(deployment)
    return Link("Deployment", name, "; ".join([words, *map(_told, bad)]), well=not bad)


def _told(trouble: Trouble) -> str:
    return f"{trouble.reason}: {trouble.message}"


def _pod(pod: KubeObject, now: datetime, *, replaced: bool) -> Link:
    name, node = name_of(pod), text(pod, "spec", "nodeName")
    where = f" on {node}" if node else ""
    status = mapping(pod, "status")
    if is_leaving(pod):
        return Link("Pod", name, f"ending{where}", well=True)
    if is_over(pod):
        why = ": ".join(filter(None, (text(status, "reason"), text(status, "message"))))
        return Link("Pod", name, f"has ended{where}: {why or text(status, 'phase')}", well=replaced)
    if bad := pod_troubles(pod, (), now):
        # The pod's name stands before it already.
        said = "; ".join(_told(trouble).replace(f"pod {name}, ", "").replace(f"pod {name}: ", "") for trouble in bad)
        return Link("Pod", name, f"on {node}: {said}" if node else said, well=False)
    containers = [*mappings(status, "initContainerStatuses"), *mappings(status, "containerStatuses")]
    restarts = sum(number(container, "restartCount") for container in containers)
    more = where + (f", {restarts} restarts" if restarts else "")
    waiting = next(filter(None, (mapping(container, "state", "waiting") for container in containers)), {})
    if waiting:
        words, message = text(waiting, "reason") or "waiting", text(waiting, "message")
        return Link("Pod", name, f"{words}{more}" + (f": {message}" if message else ""), well=True)
    if containers:
        ready = all(container.get("ready") for container in mappings(status, "containerStatuses"))
        return Link("Pod", name, f"{'ready' if ready else 'loading'}{more}", well=True)
    return Link("Pod", name, f"{text(status, 'phase') or 'Pending'}{where}", well=True)
