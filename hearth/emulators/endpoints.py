"""EndpointSlices: the pods behind each Service that selects some, and the addresses that a Service's name stands for.

As the endpoint slice controller makes them, one slice for each list of ports: pods whose named port is elsewhere are in
another slice. Left out: Services without a selector, slices of more than 100 endpoints, topology.
https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from hearth.emulators.kinds import KubeObject
from hearth.emulators.looks import Looks
from hearth.emulators.store import Event, ObjectStore
from hearth.emulators.workloads import is_ready

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
PORTS_ANNOTATION = "emulator.local/ports"
"""On a pod: where its container's ports are on this machine, {"8000": 41234}, where that is elsewhere."""

Key = tuple[str, str]


class EndpointSlices:
    """Keeps the slices of every Service."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Keep them until cancelled."""
        there = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in self._store.find("services")]
        await Looks(self._store, self._about, self.look, there).run()

    def _about(self, event: Event) -> Iterable[Key]:
        metadata = event.object["metadata"]
        if event.resource == "services" and event.type != "DELETED":
            return [(metadata["namespace"], metadata["name"])]
        if event.resource == "pods":
            labels = [(item or {}).get("metadata", {}).get("labels") or {} for item in (event.object, event.before)]
            found = self._store.find(
                "services", metadata["namespace"], lambda service: any(_selects(service, each) for each in labels)
            )
            return [(metadata["namespace"], service["metadata"]["name"]) for service in found]
        return ()

    def look(self, key: Key) -> None:
        """Write the slices of one Service."""
        service = self._store.get("services", *key)
        if service is None or not service["spec"].get("selector"):
            return
        pods = self._store.find("pods", key[0], lambda pod: _selects(service, pod["metadata"].get("labels") or {}))
        wanted = {item["metadata"]["name"]: item for item in slices_of(service, pods)}
        there = self._store.find("endpointslices", key[0], lambda item: _belongs(item, service))
        for item in there:
            if item["metadata"]["name"] not in wanted:
                # A slice that was emptied stays while it is the only one, as the real controller keeps it.
                if wanted or item["endpoints"] == []:
                    self._store.delete("endpointslices", key[0], item["metadata"]["name"])
                else:
                    self._store.put("endpointslices", {**item, "endpoints": []})
        for item in wanted.values():
            self._store.put("endpointslices", item)


def slices_of(service: KubeObject, pods: Iterable[KubeObject]) -> list[KubeObject]:
    """The slices of a Service and the pods that it selects. Pure."""
    by_ports: dict[str, tuple[list[KubeObject], list[KubeObject]]] = {}
    for pod in pods:
        status = pod.get("status") or {}
        if not status.get("podIP") or status.get("phase") in {"Succeeded", "Failed"}:
            continue
        ports = _ports(service, pod)
        by_ports.setdefault(json.dumps(ports), (ports, []))[1].append(_endpoint(pod))
    metadata = service["metadata"]
    owner = {"apiVersion": "v1", "kind": "Service", "name": metadata["name"], "uid": metadata["uid"]}
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{metadata['name'][:57]}-{hashlib.sha256(text.encode()).hexdigest()[:5]}",
                "namespace": metadata["namespace"],
                "labels": {**(metadata.get("labels") or {}), SERVICE_LABEL: metadata["name"], **MANAGED_BY},
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": endpoints,
        }
        for text, (ports, endpoints) in by_ports.items()
    ]


def service_address(store: ObjectStore, host: str, port: int) -> str | None:
    """Where host:port leads to, as a cluster's DNS and Services have it: NAME.NAMESPACE.svc… is a ready endpoint of
    that Service, None where it has none; any other host is itself."""
    parts = host.split(".")
    if len(parts) < 3 or parts[2] != "svc":
        return f"{host}:{port}"
    name, namespace = parts[:2]
    service = store.get("services", namespace, name)
    declared = next(
        (each for each in ((service or {}).get("spec") or {}).get("ports") or [] if each["port"] == port), None
    )
    if service is None or declared is None:
        return None
    for item in store.find("endpointslices", namespace, lambda item: _belongs(item, service)):
        number = next((each["port"] for each in item["ports"] if each.get("name") == declared.get("name")), None)
        for endpoint in item["endpoints"]:
            if number is not None and endpoint["conditions"].get("ready") is not False:
                return f"{endpoint['addresses'][0]}:{number}"
    return None


def _endpoint(pod: KubeObject) -> KubeObject:
    serving, ends = is_ready(pod), bool(pod["metadata"].get("deletionTimestamp"))
    names = {field: pod["metadata"][field] for field in ("name", "namespace", "uid")}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": serving and not ends, "serving": serving, "terminating": ends},
        "nodeName": pod["spec"].get("nodeName"),
        "targetRef": {"kind": "Pod", **names},
    }


def _ports(service: KubeObject, pod: KubeObject) -> list[KubeObject]:
    moved: dict[str, int] = json.loads((pod["metadata"].get("annotations") or {}).get(PORTS_ANNOTATION, "{}"))
    made = []
    for port in service["spec"].get("ports") or []:
        number = _container_port(port.get("targetPort", port["port"]), pod)
        if number is not None:
            place = moved.get(str(number), number)
            made.append({"name": port.get("name", ""), "port": place, "protocol": port.get("protocol", "TCP")})
    return made


def _container_port(target: int | str, pod: KubeObject) -> int | None:
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == target:
                return int(port["containerPort"])
    return None


def _selects(service: KubeObject, labels: Mapping[str, Any]) -> bool:
    selector: KubeObject = (service.get("spec") or {}).get("selector") or {}
    return bool(selector) and all(labels.get(name) == value for name, value in selector.items())


def _belongs(item: KubeObject, service: KubeObject) -> bool:
    name: str = service["metadata"]["name"]
    return bool((item["metadata"].get("labels") or {}).get(SERVICE_LABEL) == name)
