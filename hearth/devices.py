"""The accelerators that a cluster has, from its nodes and from dynamic resource allocation (DRA). Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

import re
from collections.abc import Collection, Iterable
from decimal import Decimal

from hearth.api.quantity import amount
from hearth.kube.objects import KubeObject, condition, mapping, mappings, name_of, text

_QUOTED = re.compile(r"""["']([^"']+)["']""")


def is_ready(node: KubeObject) -> bool:
    """Whether its kubelet is heard. One that nobody has said anything about yet counts."""
    return text(condition(node, "Ready"), "status") in ("", "True")


def extended_resources(nodes: Iterable[KubeObject]) -> dict[str, Decimal]:
    """How many of each extended resource the nodes that are ready can allocate; 0 where they name it and have none."""
    found: dict[str, Decimal] = {}
    for node in nodes:
        ready = is_ready(node)
        for name, written in mapping(node, "status", "allocatable").items():
            if "/" in name and (count := amount(written)) is not None:
                found[name] = found.get(name, Decimal()) + (count if ready else 0)
    return found


def claimed_resources(
    classes: Iterable[KubeObject], slices: Collection[KubeObject], ready: Collection[str]
) -> dict[str, Decimal]:
    """How many devices stand behind each extended resource that a DeviceClass gives a name to: the pods that ask for
    it get claims. `ready` are the names of the nodes that count.

    A class chooses devices by CEL expressions, which only the scheduler evaluates; the driver that they name is read
    from them. One that names no known driver has the devices of all.
    """
    counts: dict[str, int] = {}
    for item in slices:
        node = text(item, "spec", "nodeName")
        if not node or node in ready:
            driver = text(item, "spec", "driver")
            counts[driver] = counts.get(driver, 0) + len(mappings(item, "spec", "devices"))
    found: dict[str, Decimal] = {}
    for item in classes:
        words = [text(selector, "cel", "expression") for selector in mappings(item, "spec", "selectors")]
        quoted = {word for expression in words for word in _QUOTED.findall(expression)}
        drivers = quoted & {text(slice_, "spec", "driver") for slice_ in slices} or counts.keys()
        devices = sum(counts.get(driver, 0) for driver in drivers)
        names = (text(item, "spec", "extendedResourceName"), f"deviceclass.resource.kubernetes.io/{name_of(item)}")
        for name in filter(None, names):
            found[name] = found.get(name, Decimal()) + devices
    return found
