"""Kubernetes Events: what `kubectl describe llmservice` tells of the transitions. Pure: two statuses in, Events out.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import hashlib

from hearth.api.base import API_VERSION
from hearth.api.reasons import must_act
from hearth.kube.objects import KubeObject, conditions_of, metadata, text

REPORTER = "hearth-controller"
_BORN_GOOD = ("PodsHealthy", "UpToDate")
"""Of an LLMService that has no replicas yet these are true, which is no news."""
_NOTE_LIMIT = 1024  # events.k8s.io/v1: bytes, not characters


def transitions(item: KubeObject, old: KubeObject, new: KubeObject, now: str, instance: str) -> list[KubeObject]:
    """The Events of one write of an LLMService's status: one for each condition whose status or reason changed.

    `now`: RFC 3339 with microseconds. An Event's name is made of what it tells and of the LLMService's version that
    `old` was read from: where the informer lags and the same transition is seen again, it is the same Event.
    """
    before = {text(condition, "type"): condition for condition in conditions_of({"status": old})}
    changed = {
        # What several conditions say is told once: Ready repeats what keeps it from being so.
        (condition["reason"], condition["message"]): condition
        for condition in reversed(new["conditions"])
        if condition["type"] != "Stalled" and _differs(before.get(condition["type"], {}), condition)
    }
    return [_event(item, condition, now, instance) for condition in reversed(changed.values())]


def _differs(was: KubeObject, condition: KubeObject) -> bool:
    if not was and condition["status"] == "True" and condition["type"] in _BORN_GOOD:
        return False
    return (was.get("status"), was.get("reason")) != (condition["status"], condition["reason"])


def _event(item: KubeObject, condition: KubeObject, now: str, instance: str) -> KubeObject:
    about = metadata(item)
    told = "/".join((about["uid"], about["resourceVersion"], condition["type"], condition["reason"]))
    note = f"{condition['type']}: {condition['message']}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{about['name']}.{hashlib.sha256(told.encode()).hexdigest()[:16]}",
            "namespace": about["namespace"],
        },
        "eventTime": now,
        "reportingController": REPORTER,
        "reportingInstance": instance,
        "action": "Reconcile",
        "reason": condition["reason"],
        "type": "Warning" if must_act(condition["status"], condition["reason"]) else "Normal",
        "note": _cut(note),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": "LLMService",
            "name": about["name"],
            "namespace": about["namespace"],
            "uid": about["uid"],
        },
    }


def _cut(note: str) -> str:
    """At most as many bytes as a note may have; no half of a character."""
    written, more = note.encode(), " …"
    if len(written) <= _NOTE_LIMIT:
        return note
    return written[: _NOTE_LIMIT - len(more.encode())].decode(errors="ignore") + more
