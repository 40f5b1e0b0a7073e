"""The local API server's objects: versions, label selectors, and a history to watch from. Pure state."""

import copy
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

KubeObject = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]

_HISTORY = 4096


class Gone(Exception):
    """The resourceVersion is older than the history."""


@dataclass(frozen=True, slots=True)
class Event:
    version: int
    resource: str
    type: EventType
    object: KubeObject


class ObjectStore:
    """Objects by resource (such as "llmservices"), namespace and name. Reads give copies nobody else holds."""

    def __init__(self) -> None:
        self.version = 1
        self._objects: dict[tuple[str, str, str], KubeObject] = {}
        self._history: deque[Event] = deque(maxlen=_HISTORY)
        self._listeners: set[Callable[[Event], None]] = set()

    def put(self, resource: str, item: KubeObject) -> KubeObject:
        """Create or replace an object; a changed spec raises its generation, an unchanged object is no event."""
        key = _key(resource, item)
        old = self._objects.get(key)
        new = copy.deepcopy(item)
        metadata = new["metadata"]
        if old is None:
            metadata["uid"] = str(uuid.uuid4())
            metadata["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            metadata["generation"] = 1
        else:
            kept = old["metadata"]
            metadata["uid"], metadata["creationTimestamp"] = kept["uid"], kept["creationTimestamp"]
            changed = old.get("spec") != new.get("spec")
            metadata["generation"] = kept["generation"] + (1 if changed else 0)
            metadata["resourceVersion"] = kept["resourceVersion"]
            if old == new:
                return copy.deepcopy(old)
        return self._record(key, "MODIFIED" if old else "ADDED", new)

    def delete(self, resource: str, namespace: str, name: str) -> bool:
        """Remove an object; False where there is none."""
        key = (resource, namespace, name)
        item = self._objects.pop(key, None)
        if item is None:
            return False
        self._record(key, "DELETED", item)
        return True

    def get(self, resource: str, namespace: str, name: str) -> KubeObject | None:
        found = self._objects.get((resource, namespace, name))
        return copy.deepcopy(found)

    def find(self, resource: str, namespace: str | None = None, selector: str = "") -> list[KubeObject]:
        """The objects of a resource, sorted by namespace and name."""
        return [
            copy.deepcopy(item)
            for key, item in sorted(self._objects.items(), key=lambda pair: pair[0])
            if key[0] == resource and namespace in (None, key[1]) and matches(selector, item)
        ]

    def since(self, resource: str, version: int) -> list[Event]:
        """The events after a resourceVersion. Raises Gone where they are forgotten."""
        if self._history and version < self._history[0].version - 1:
            raise Gone
        return [event for event in self._history if event.resource == resource and event.version > version]

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every event from now on; the result ends that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _record(self, key: tuple[str, str, str], kind: EventType, item: KubeObject) -> KubeObject:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        if kind != "DELETED":
            self._objects[key] = item
        event = Event(self.version, key[0], kind, copy.deepcopy(item))
        self._history.append(event)
        for listener in list(self._listeners):
            listener(event)
        return copy.deepcopy(item)


def matches(selector: str, item: KubeObject) -> bool:
    """Whether an object's labels match `key=value` and `key` terms joined by commas."""
    labels = item["metadata"].get("labels") or {}
    for term in filter(None, selector.split(",")):
        key, equals, value = term.replace("==", "=").partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def _key(resource: str, item: KubeObject) -> tuple[str, str, str]:
    return resource, item["metadata"].get("namespace", ""), item["metadata"]["name"]
