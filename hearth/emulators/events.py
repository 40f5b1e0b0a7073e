"""Events: one kind with two names of the same fields, core v1 and events.k8s.io/v1, and writing one. Pure.

The API server keeps one set of objects and converts; so does the local one, which keeps those of core v1.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import secrets

from hearth.emulators.kinds import EVENTS_V1, KubeObject
from hearth.emulators.store import ObjectStore, timestamp

# core v1 → events.k8s.io/v1; what is not named is called the same in both.
_RENAMED = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_BACK = {new: old for old, new in _RENAMED.items()}


def to_core(item: KubeObject) -> KubeObject:
    """An Event of events.k8s.io/v1 as core v1 has it."""
    return {**{_BACK.get(name, name): value for name, value in item.items()}, "apiVersion": "v1"}


def to_events_v1(item: KubeObject) -> KubeObject:
    """An Event of core v1 as events.k8s.io/v1 has it."""
    return {**{_RENAMED.get(name, name): value for name, value in item.items()}, "apiVersion": EVENTS_V1}


def tell(
    store: ObjectStore, about: KubeObject, component: str, reason: str, message: str, kind: str = "Normal"
) -> None:
    """Write an Event about an object, as a component of the cluster does; told again, it counts up."""
    metadata = about["metadata"]
    involved = {
        "apiVersion": about["apiVersion"],
        "kind": about["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    if namespace := metadata.get("namespace"):
        involved["namespace"] = namespace
    now = timestamp()
    where = namespace or "default"

    def same(event: KubeObject) -> bool:
        told = (event["involvedObject"].get("uid"), event.get("reason"), event.get("message"))
        return told == (metadata["uid"], reason, message)

    for event in store.find("events", where, same):
        store.put("events", {**event, "count": event.get("count", 1) + 1, "lastTimestamp": now}, generation=False)
        return
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": where},
        "involvedObject": involved,
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    store.put("events", event, generation=False)


FORGOTTEN_AFTER = 1000


def forget(store: ObjectStore) -> None:
    """Delete the oldest Events over the number that is kept; the real API server forgets them after an hour."""
    if store.count("events") <= FORGOTTEN_AFTER:
        return
    found = sorted(store.find("events"), key=lambda event: int(event["metadata"]["resourceVersion"]))
    for event in found[: max(0, len(found) - FORGOTTEN_AFTER)]:
        store.delete("events", event["metadata"]["namespace"], event["metadata"]["name"])
