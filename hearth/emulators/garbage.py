"""The garbage collector: what has owners and none of them is there any more goes, in the background.

Left out: the foreground's order. Events over a number are forgotten here too; the real server forgets them by age.
https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from collections.abc import Iterable

from hearth.emulators import events
from hearth.emulators.kinds import KindTable, KubeObject
from hearth.emulators.looks import Looks
from hearth.emulators.store import Event, ObjectStore
from hearth.emulators.writes import DeleteOptions, Target, Writes

Dependent = tuple[str, str, str]
"""(resource, namespace, name)."""


class GarbageCollector:
    """Follows owner references by uid."""

    def __init__(self, store: ObjectStore, kinds: KindTable) -> None:
        self._store = store
        self._kinds = kinds
        self._writes = Writes(store, kinds)

    async def run(self) -> None:
        """Collect until cancelled."""
        await Looks(self._store, self._about, self.look, self._dependents(None)).run()

    def _about(self, event: Event) -> Iterable[Dependent]:
        if event.resource == "events":
            events.forget(self._store)
        elif event.type == "DELETED":
            return self._dependents(event.object["metadata"]["uid"])
        elif event.object["metadata"].get("ownerReferences"):
            return [_place(event.resource, event.object)]
        return ()

    def look(self, dependent: Dependent) -> None:
        """Delete an object whose owners are all gone."""
        resource, namespace, name = dependent
        item = self._store.get(resource, namespace, name)
        if item is None or item["metadata"].get("deletionTimestamp"):
            return
        owners = item["metadata"].get("ownerReferences") or []
        if owners and not any(self._there(owner, namespace) for owner in owners):
            uid = item["metadata"]["uid"]
            self._writes.delete(Target(self._kinds.named(resource), namespace, name), DeleteOptions(uid))

    def _there(self, owner: KubeObject, namespace: str) -> bool:
        kind = self._kinds.of(owner)
        found = self._store.get(kind.resource, namespace if kind.namespaced else "", owner["name"])
        return found is not None and found["metadata"]["uid"] == owner["uid"]

    def _dependents(self, uid: str | None) -> list[Dependent]:
        """What names this uid as an owner; None: what names any."""

        def owned(item: KubeObject) -> bool:
            return any(uid in {None, owner["uid"]} for owner in item["metadata"].get("ownerReferences") or [])

        return [
            _place(kind.resource, item)
            for kind in self._kinds.kinds
            for item in self._store.find(kind.resource, selected=owned)
        ]


def _place(resource: str, item: KubeObject) -> Dependent:
    return resource, item["metadata"].get("namespace", ""), item["metadata"]["name"]
