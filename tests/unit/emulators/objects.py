"""Builders of the objects that the emulators of a cluster act on."""

from typing import Any

from hearth.emulators.kinds import KindTable, KubeObject
from hearth.emulators.store import ObjectStore

KINDS = KindTable()


def cluster() -> ObjectStore:
    """A store with the namespace ai."""
    store = ObjectStore()
    store.put("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai"}})
    return store


def named(kind: str, name: str, api_version: str = "v1", **metadata: Any) -> KubeObject:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "ai", **metadata}}


def deployment(replicas: int, image: str = "i:1", **spec: Any) -> KubeObject:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "engine", "image": image}]}}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    selector = {"matchLabels": {"app": "x"}}
    item = named("Deployment", "d", "apps/v1")
    return {
        **item,
        "spec": {"replicas": replicas, "selector": selector, "strategy": strategy, "template": template, **spec},
    }


def pod(name: str, *, node: str | None = "n", ready: bool = False, ip: str | None = None, **spec: Any) -> KubeObject:
    container = {"name": "engine", "image": "i:1", "ports": [{"name": "http", "containerPort": 8000}]}
    item = named("Pod", name, labels={"app": "x"}, uid=name)
    item["spec"] = {"containers": [container], **({"nodeName": node} if node else {}), **spec}
    item["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    if ip is not None:
        item["status"]["podIP"] = ip
    return item


def node(name: str, **devices: str) -> KubeObject:
    allocatable = {key.replace("_", "/"): count for key, count in devices.items()}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"allocatable": allocatable}}


def set_ready(store: ObjectStore, item: KubeObject, ready: bool = True) -> None:
    """What a kubelet does when a pod's readiness changes."""
    found = store.get("pods", "ai", item["metadata"]["name"])
    assert found is not None
    found["spec"]["nodeName"] = "n"
    found["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    store.put("pods", found)
