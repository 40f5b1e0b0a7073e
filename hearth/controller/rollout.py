"""Rollouts where there are fewer devices than replicas: how many may be away at a time, and who runs what. Pure.

A replica that finds no device is unavailable before a rollout begins and uses up maxUnavailable, so that the replicas
that hold the devices are never taken away. Kubernetes takes unavailable old replicas first, then as many available ones
as maxUnavailable leaves (pkg/controller/deployment/rolling.go): it must be one more than there are without a device.
"""

from collections import Counter
from collections.abc import Sequence

from hearth.api.labels import VERSION_ANNOTATION
from hearth.controller.verdict import Verdict
from hearth.controller.world import World, alive, wanted_replicas
from hearth.kube.kinds import DEPLOYMENT
from hearth.kube.objects import KubeObject, mapping, mappings, number, text
from hearth.troubles import unschedulable


def with_room(objects: Sequence[KubeObject], world: World) -> tuple[KubeObject, ...]:
    """`objects` with the Deployment's maxUnavailable as this world needs it."""
    return tuple(_with(item, room(world)) if item["kind"] == DEPLOYMENT.name else item for item in objects)


def room(world: World) -> int:
    """maxUnavailable. It follows the replicas without a node while all run the same version, and stands during a
    rollout until a replica of the new version has a node: a template that no node can take must not end them all."""
    present, live = _version(world.deployment), alive(world)
    without_node = sum(unschedulable(pod) is not None for pod in live)
    asked = min(1 + without_node, max(1, wanted_replicas(world)))
    new = [pod for pod in live if _version_of(pod) == present]
    if len(new) == len(live):
        return asked
    carried = max(1, number(world.deployment, "spec", "strategy", "rollingUpdate", "maxUnavailable", default=1))
    return max(carried, asked) if any(text(pod, "spec", "nodeName") for pod in new) else carried


def version_verdict(world: World) -> Verdict:
    """The condition UpToDate: which version the replicas run."""
    template = mapping(world.deployment, "spec", "template")
    present, image, live = _version(world.deployment), _image(mapping(template, "spec")), alive(world)
    if not live:
        return Verdict("UpToDate", True, "UpToDate", f"the next replica runs version {present}, image {image}")
    old = [pod for pod in live if _version_of(pod) != present]
    if not old:
        return Verdict("UpToDate", True, "UpToDate", f"all replicas run version {present}, image {image}")
    others = Counter((_version_of(pod), _image(mapping(pod, "spec"))) for pod in old)
    told = ", ".join(f"{count} run version {version}, image {its}" for (version, its), count in sorted(others.items()))
    counts = f"{len(live) - len(old)} of {len(live)} replicas run version {present}, image {image}"
    return Verdict("UpToDate", False, "RollingOut", f"{counts}; {told}, and are replaced one by one")


def _version(deployment: KubeObject | None) -> str:
    return _version_of(mapping(deployment, "spec", "template"))


def _version_of(pod: KubeObject) -> str:
    """Pods of a controller that wrote no version are of another one."""
    return text(mapping(pod, "metadata", "annotations"), VERSION_ANNOTATION) or "unknown"


def _image(spec: KubeObject) -> str:
    return next((text(container, "image") for container in mappings(spec, "containers")), "")


def _with(deployment: KubeObject, unavailable: int) -> KubeObject:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": unavailable}}
    return {**deployment, "spec": {**deployment["spec"], "strategy": strategy}}
