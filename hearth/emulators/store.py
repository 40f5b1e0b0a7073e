"""The local API server's objects: versions, uids, and a history to watch from. Pure state.

It takes what it is given: what a client's request may change is decided in writes.py.
"""

import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from hearth.emulators.kinds import KubeObject
from hearth.emulators.selectors import Predicate, everything

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

_HISTORY = 4096


class Gone(Exception):
    """The resourceVersion is older than the history, which begins with `oldest`."""

    def __init__(self, oldest: int) -> None:
        super().__init__(oldest)
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class Event:
    """One change. `before` is the object that it replaced, None where there was none."""

    version: int
    resource: str
    type: EventType
    object: KubeObject
    before: KubeObject | None = None


class ObjectStore:
    """Objects by resource (such as "llmservices"), namespace and name. Reads give copies nobody else holds."""

    def __init__(self) -> None:
        self.version = 1
        self._objects: dict[str, dict[tuple[str, str], KubeObject]] = {}
        self._history: deque[Event] = deque(maxlen=_HISTORY)
        self._listeners: dict[Callable[[Event], None], None] = {}
        self._untold: deque[Event] = deque()
        self._telling = False

    def put(self, resource: str, item: KubeObject, *, generation: bool = True) -> KubeObject:
        """Create or replace an object; with `generation`, a changed spec raises it. An unchanged object is no event."""
        key = key_of(item)
        old = self._objects.get(resource, {}).get(key)
        new: KubeObject = copied(item)
        metadata = new["metadata"]
        if old is None:
            metadata["uid"] = str(uuid.uuid4())
            metadata["creationTimestamp"] = timestamp()
            if generation:
                metadata["generation"] = 1
        else:
            kept = old["metadata"]
            metadata["uid"], metadata["creationTimestamp"] = kept["uid"], kept["creationTimestamp"]
            metadata["resourceVersion"] = kept["resourceVersion"]
            if "generation" in kept:
                metadata["generation"] = kept["generation"] + (old.get("spec") != new.get("spec"))
            if old == new:
                return new
        return self._record(resource, key, "MODIFIED" if old else "ADDED", new, old)

    def delete(self, resource: str, namespace: str, name: str) -> bool:
        """Remove an object; False where there is none."""
        item = self._objects.get(resource, {}).pop((namespace, name), None)
        if item is None:
            return False
        self._record(resource, (namespace, name), "DELETED", copied(item), item)
        return True

    def get(self, resource: str, namespace: str, name: str) -> KubeObject | None:
        found: KubeObject | None = copied(self._objects.get(resource, {}).get((namespace, name)))
        return found

    def count(self, resource: str) -> int:
        """How many objects of a resource there are."""
        return len(self._objects.get(resource, {}))

    def find(self, resource: str, namespace: str | None = None, selected: Predicate = everything) -> list[KubeObject]:
        """The objects of a resource that are selected, sorted by namespace and name. The predicate sees what the store
        holds, and must not change it."""
        return [
            copied(item)
            for key, item in sorted(self._objects.get(resource, {}).items(), key=lambda pair: pair[0])
            if namespace in {None, key[0]} and selected(item)
        ]

    def since(self, resource: str, version: int) -> list[Event]:
        """The events after a resourceVersion. Raises Gone where they are forgotten."""
        if self._history and version < self._history[0].version - 1:
            raise Gone(self._history[0].version)
        return [event for event in self._history if event.resource == resource and event.version > version]

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every event from now on, in the turn in which it happens; the result ends that.

        Who listens must not change what an event holds.
        """
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def _record(
        self, resource: str, key: tuple[str, str], kind: EventType, item: KubeObject, before: KubeObject | None
    ) -> KubeObject:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        if kind != "DELETED":
            self._objects.setdefault(resource, {})[key] = item
        event = Event(self.version, resource, kind, copied(item), before)
        self._history.append(event)
        self._untold.append(event)
        self._tell()
        result: KubeObject = copied(item)
        return result

    def _tell(self) -> None:
        """Tell every listener what happened, in its order: what a listener writes is told after what it heard."""
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                event = self._untold.popleft()
                for listener in list(self._listeners):
                    listener(event)
        finally:
            self._telling = False


def copied(value: Any) -> Any:
    """A copy of JSON's data that shares nothing with it; copy.deepcopy takes ten times as long."""
    if type(value) is dict:
        return {name: copied(inner) for name, inner in value.items()}
    if type(value) is list:
        return [copied(inner) for inner in value]
    return value


def key_of(item: KubeObject) -> tuple[str, str]:
    """(namespace, name); the namespace is "" where the kind has none."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def timestamp() -> str:
    """Now, as metav1.Time is written."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
