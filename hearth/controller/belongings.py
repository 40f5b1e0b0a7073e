"""What belongs to each LLMService: the objects that bear its label, by kind. State, fed by informers and by our own
writes; a clock beside it."""

import time
from collections import defaultdict
from collections.abc import Callable

from hearth.api.key import ServiceKey
from hearth.api.labels import LLMSERVICE_LABEL
from hearth.kube.objects import KubeObject, ObjectKey, labels_of, uid_of, version_of

WRITTEN_SECONDS = 5.0
"""How long an informer has to come to a write of ours. Not for ever: an API server that was restored from a backup goes
on from an older version."""

Place = tuple[str, str]
"""(kind, name) within a namespace."""


class Belongings:
    """An index, so that a look at one LLMService costs what it has, not what the cluster has. `clock` is monotonic, in
    seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._owners: dict[tuple[str, ObjectKey], ServiceKey] = {}
        self._objects: dict[ServiceKey, dict[Place, KubeObject]] = defaultdict(dict)
        self._written: dict[ServiceKey, dict[Place, tuple[KubeObject, float]]] = {}

    def put(self, kind: str, key: ObjectKey, item: KubeObject | None) -> set[ServiceKey]:
        """Take an object as it is now, None: it is gone. Returns the LLMServices that this is about."""
        namespace, name = key
        place = (kind, name)
        if item is None:  # what was written is gone, too
            for asks, written in self._written.items():
                if asks.namespace == namespace:
                    written.pop(place, None)
        about = set()
        if (before := self._owners.pop((kind, key), None)) is not None:
            about.add(before)
            del self._objects[before][place]
            if not self._objects[before]:
                del self._objects[before]
        if item is not None and (service := labels_of(item).get(LLMSERVICE_LABEL)):
            owner = ServiceKey(namespace, service)
            about.add(owner)
            self._owners[kind, key] = owner
            self._objects[owner][place] = {**item, "kind": kind}  # a list leaves the kind out of its items
        return about

    def wrote(self, service: ServiceKey, kind: str, name: str, item: KubeObject) -> None:
        """Take what the API server answered to a write: it counts until an informer shows as much."""
        written = {**item, "kind": kind}, self._clock() + WRITTEN_SECONDS
        self._written.setdefault(service, {})[kind, name] = written

    def get(self, service: ServiceKey, kind: str, name: str) -> KubeObject | None:
        """One object of a service."""
        return self._now(service).get((kind, name))

    def of(self, service: ServiceKey, *kinds: str) -> list[KubeObject]:
        """The objects of these kinds, by kind and name."""
        found = self._now(service)
        return [item for (kind, _), item in sorted(found.items(), key=lambda pair: pair[0]) if kind in kinds]

    def _now(self, service: ServiceKey) -> dict[Place, KubeObject]:
        seen = self._objects.get(service, {})
        written = self._written.get(service)
        if written is None:
            return seen
        now = self._clock()
        for place, (item, until) in list(written.items()):
            if now > until or _shown(seen.get(place), item):
                del written[place]
        if not written:
            del self._written[service]
            return seen
        return seen | {place: item for place, (item, _) in written.items()}


def _shown(seen: KubeObject | None, written: KubeObject) -> bool:
    """Whether what an informer shows is as new as what was written, or another object. Versions are numbers that grow:
    https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions"""
    if seen is None:
        return False
    if uid_of(seen) != uid_of(written):
        return True
    versions = version_of(seen), version_of(written)
    return not all(version.isdecimal() for version in versions) or int(versions[0]) >= int(versions[1])
