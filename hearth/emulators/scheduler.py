"""The scheduler: which node a pod goes to, by the extended resources that it asks for.

Left out: everything else that a scheduler looks at (cpu and memory, selectors, affinity, taints, volumes, priorities).
"""

from collections.abc import Iterable, Mapping, Sequence

from hearth.emulators.events import tell
from hearth.emulators.kinds import KubeObject
from hearth.emulators.looks import Looks
from hearth.emulators.store import Event, ObjectStore, timestamp

COMPONENT = "default-scheduler"
_OVER = ("Succeeded", "Failed")


def requests(pod: KubeObject) -> dict[str, int]:
    """The extended resources that a pod asks for, summed over its containers."""
    asked: dict[str, int] = {}
    for container in pod["spec"].get("containers") or []:
        resources = container.get("resources") or {}
        for name, amount in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items():
            if "/" in name:
                asked[name] = asked.get(name, 0) + int(amount)
    return asked


def lacking(asked: Mapping[str, int], node: KubeObject, there: Iterable[KubeObject]) -> list[str]:
    """The resources that a node has too little of, beside the pods that are `there`."""
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    used: dict[str, int] = {}
    for pod in there:
        for name, amount in requests(pod).items():
            used[name] = used.get(name, 0) + amount
    return [name for name, amount in asked.items() if int(allocatable.get(name, 0)) - used.get(name, 0) < amount]


def unschedulable(missing: Sequence[Sequence[str]]) -> str:
    """The scheduler's words for a pod that fits on none of the nodes, of which these resources are missing."""
    counts: dict[str, int] = {}
    for name in (name for names in missing for name in names):
        counts[name] = counts.get(name, 0) + 1
    why = ", ".join(f"{count} Insufficient {name}" for name, count in sorted(counts.items()))
    return f"0/{len(missing)} nodes are available: {why or 'there is no node'}."


class Scheduler:
    """Binds pods that have no node."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Schedule until cancelled."""
        await Looks(self._store, self._about, self.look, self._pending()).run()

    def _about(self, event: Event) -> Iterable[tuple[str, str]]:
        if event.resource == "nodes" or (event.resource == "pods" and _frees(event)):
            return self._pending()
        if event.resource == "pods" and event.type == "ADDED":
            return [(event.object["metadata"]["namespace"], event.object["metadata"]["name"])]
        return ()

    def _pending(self) -> list[tuple[str, str]]:
        waiting = self._store.find("pods", selected=lambda pod: not pod["spec"].get("nodeName"))
        waiting.sort(key=lambda pod: int(pod["metadata"]["resourceVersion"]))
        return [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in waiting]

    def look(self, key: tuple[str, str]) -> None:
        """Bind a pod to the first node that has what it asks for, or say what is missing."""
        pod = self._store.get("pods", *key)
        if pod is None or pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
            return
        asked = requests(pod)
        missing = []
        for node in self._store.find("nodes"):
            name = node["metadata"]["name"]
            there = self._store.find("pods", selected=lambda other, name=name: _runs_on(other, name))  # type: ignore[misc]
            if not (lacks := lacking(asked, node, there)):
                pod["spec"]["nodeName"] = name
                self._write(pod, {"type": "PodScheduled", "status": "True"})
                said = f"Successfully assigned {key[0]}/{key[1]} to {name}"
                tell(self._store, pod, COMPONENT, "Scheduled", said)
                return
            missing.append(lacks)
        message = unschedulable(missing)
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        if self._write(pod, condition):
            tell(self._store, pod, COMPONENT, "FailedScheduling", message, "Warning")

    def _write(self, pod: KubeObject, condition: KubeObject) -> bool:
        """Write the condition, and what else was changed; false where it stands already."""
        status = pod.setdefault("status", {})
        conditions = status.get("conditions") or []
        stands: KubeObject = next((each for each in conditions if each["type"] == "PodScheduled"), {})
        if all(stands.get(field) == value for field, value in condition.items()):
            return False
        others = [each for each in conditions if each["type"] != "PodScheduled"]
        status["conditions"] = [*others, {**condition, "lastTransitionTime": timestamp()}]
        self._store.put("pods", pod)
        return True


def _runs_on(pod: KubeObject, node: str) -> bool:
    return pod["spec"].get("nodeName") == node and (pod.get("status") or {}).get("phase") not in _OVER


def _frees(event: Event) -> bool:
    """Whether a pod has given back what it had."""
    return event.type == "DELETED" or (event.object.get("status") or {}).get("phase") in _OVER
