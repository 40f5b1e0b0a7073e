"""Deployments: as many pods as were asked for, of the template that stands, and the status that tells of them.

A Deployment makes its pods itself here: there are no ReplicaSets and no history. Left out: pausing, the progress
deadline, minReadySeconds, the Recreate strategy and rollbacks.
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

import hashlib
import json
import math
import secrets
from collections.abc import Iterable

from hearth.emulators.kinds import KindTable, KubeObject
from hearth.emulators.looks import Looks
from hearth.emulators.store import Event, ObjectStore, timestamp
from hearth.emulators.writes import DeleteOptions, Target, WriteOptions, Writes

MANAGER = "kube-controller-manager"
HASH_LABEL = "pod-template-hash"
_OVER = ("Succeeded", "Failed")

Key = tuple[str, str]


class Deployments:
    """Makes and deletes pods."""

    def __init__(self, store: ObjectStore, kinds: KindTable) -> None:
        self._store = store
        self._kinds = kinds
        self._writes = Writes(store, kinds)

    async def run(self) -> None:
        """Look after them until cancelled."""
        there = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in self._store.find("deployments")]
        await Looks(self._store, self._about, self.look, there).run()

    def _about(self, event: Event) -> Iterable[Key]:
        metadata = event.object["metadata"]
        if event.resource == "deployments" and event.type != "DELETED":
            return [(metadata["namespace"], metadata["name"])]
        if event.resource == "pods":
            owners = metadata.get("ownerReferences") or []
            return [(metadata["namespace"], owner["name"]) for owner in owners if owner["kind"] == "Deployment"]
        return ()

    def look(self, key: Key) -> None:
        """Make the pods what the Deployment says, as far as its strategy allows at a time."""
        item = self._store.get("deployments", *key)
        if item is None or item["metadata"].get("deletionTimestamp"):
            return
        pods = self._pods(item)
        present = template_hash(item)
        wanted = int(item["spec"].get("replicas", 1))
        alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp") and _phase(pod) not in _OVER]
        old = [pod for pod in alive if pod["metadata"]["labels"].get(HASH_LABEL) != present]
        surge, unavailable = _rolling(item, wanted)
        made = wanted + (surge if old else 0) - len(alive)
        missing = max(0, min(made, wanted - (len(alive) - len(old))))
        alive += [self._make(item, present) for _ in range(missing)]
        for pod in _to_end(alive, present, wanted, surge, unavailable):
            self._delete(pod)
        self._write_status(item, self._pods(item), present, wanted)

    def _pods(self, item: KubeObject) -> list[KubeObject]:
        uid = item["metadata"]["uid"]
        found = self._store.find("pods", item["metadata"]["namespace"], lambda pod: _owned(pod, uid))
        return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def _make(self, item: KubeObject, present: str) -> KubeObject:
        metadata, template = item["metadata"], item["spec"]["template"]
        given = template.get("metadata") or {}
        suffix = secrets.token_hex(3)[:5]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **given,
                "name": f"{metadata['name'][:46]}-{present}-{suffix}",
                "namespace": metadata["namespace"],
                "labels": {**(given.get("labels") or {}), HASH_LABEL: present},
                "ownerReferences": [_owner(item)],
            },
            "spec": template["spec"],
        }
        target = Target(self._kinds.named("pods"), metadata["namespace"])
        return self._writes.create(target, pod, WriteOptions(MANAGER))

    def _delete(self, pod: KubeObject) -> None:
        metadata = pod["metadata"]
        target = Target(self._kinds.named("pods"), metadata["namespace"], metadata["name"])
        self._writes.delete(target, DeleteOptions(metadata["uid"]))

    def _write_status(self, item: KubeObject, pods: list[KubeObject], present: str, wanted: int) -> None:
        alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp") and _phase(pod) not in _OVER]
        ready = sum(map(is_ready, alive))
        updated = sum(pod["metadata"]["labels"].get(HASH_LABEL) == present for pod in alive)
        before = item.get("status") or {}
        _, unavailable = _rolling(item, wanted)
        enough = ready >= wanted - unavailable
        complete = updated == wanted == ready == len(alive)
        available = ("MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable", enough)
        progress = ("NewReplicaSetAvailable" if complete else "ReplicaSetUpdated", True)
        counts = {
            "replicas": len(alive),
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready),
        }
        item["status"] = {
            "observedGeneration": item["metadata"]["generation"],
            **{name: count for name, count in counts.items() if count},
            "conditions": [
                _condition(before, "Available", *available),
                _condition(before, "Progressing", *progress),
            ],
        }
        self._store.put("deployments", item)


def template_hash(item: KubeObject) -> str:
    """What tells one template of a Deployment from another."""
    text = json.dumps(item["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def is_ready(pod: KubeObject) -> bool:
    """Whether a pod's condition Ready is true."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _to_end(alive: list[KubeObject], present: str, wanted: int, surge: int, unavailable: int) -> list[KubeObject]:
    """The pods that may go now: what is too much, and of an older template as many as the strategy allows."""
    old = [pod for pod in alive if pod["metadata"]["labels"].get(HASH_LABEL) != present]
    # Those of an older template go first, then those that are not ready, then the youngest: as a ReplicaSet does.
    order = sorted(alive, key=lambda pod: (pod not in old, is_ready(pod), -alive.index(pod)))
    ending = order[: max(0, len(alive) - wanted - (surge if old else 0))]
    if not old or ending:
        return ending
    least = wanted - unavailable
    unready_new = sum(not is_ready(pod) for pod in alive if pod not in old)
    may_go = max(0, len(alive) - least - unready_new)
    unready_old = [pod for pod in old if not is_ready(pod)][:may_go]
    ready_old = [pod for pod in old if is_ready(pod)]
    spare = sum(map(is_ready, alive)) - least
    return unready_old + ready_old[: max(0, min(spare, may_go - len(unready_old)))]


def _rolling(item: KubeObject, wanted: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; the API's defaults are a quarter."""
    rolling = (item["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = _pods_of(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = _pods_of(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    return surge, unavailable if surge or unavailable else 1


def _pods_of(value: int | str, wanted: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    part = int(value.removesuffix("%")) * wanted / 100
    return math.ceil(part) if up else math.floor(part)


def _condition(status: KubeObject, kind: str, reason: str, holds: bool) -> KubeObject:
    was: KubeObject = next((each for each in status.get("conditions") or [] if each["type"] == kind), {})
    made = {"type": kind, "status": "True" if holds else "False", "reason": reason}
    same = was.get("status") == made["status"]
    return {**made, "lastTransitionTime": was["lastTransitionTime"] if same else timestamp()}


def _owner(item: KubeObject) -> KubeObject:
    names = {"apiVersion": item["apiVersion"], "kind": item["kind"], "name": item["metadata"]["name"]}
    return {**names, "uid": item["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}


def _owned(pod: KubeObject, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or [])


def _phase(pod: KubeObject) -> str | None:
    phase: str | None = (pod.get("status") or {}).get("phase")
    return phase
