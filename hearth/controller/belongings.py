"""What belongs to each LLMService: the objects that bear its label, by kind. Pure state, fed by informers."""

from collections import defaultdict

from hearth.api.key import ServiceKey
from hearth.api.labels import LLMSERVICE_LABEL
from hearth.kube.objects import KubeObject, ObjectKey, labels_of, uid_of, version_of


def newer(one: str, other: str) -> bool:
    """Whether a resourceVersion is of a later write than another. They are numbers that grow, of one kind of resource:
    https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions"""
    return one.isdecimal() and other.isdecimal() and int(one) > int(other)


class Belongings:
    """An index, so that a look at one LLMService costs what it has, not what the cluster has."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, ObjectKey], ServiceKey] = {}
        self._objects: dict[ServiceKey, dict[tuple[str, str], KubeObject]] = defaultdict(dict)

    def put(self, kind: str, key: ObjectKey, item: KubeObject | None) -> set[ServiceKey]:
        """Take an object as it is now, None: it is gone. Returns the LLMServices that this is about: none where a newer
        version is known already, of a write of our own that the informer has not come to yet."""
        namespace, name = key
        place = (kind, name)
        about: set[ServiceKey] = set()
        if item is not None and (owner := self._owners.get((kind, key))) is not None:
            known = self._objects[owner][place]
            if uid_of(known) == uid_of(item) and newer(version_of(known), version_of(item)):
                return about
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

    def get(self, service: ServiceKey, kind: str, name: str) -> KubeObject | None:
        """One object of a service."""
        return self._objects.get(service, {}).get((kind, name))

    def of(self, service: ServiceKey, *kinds: str) -> list[KubeObject]:
        """The objects of these kinds, by kind and name."""
        found = self._objects.get(service, {})
        return [item for (kind, _), item in sorted(found.items(), key=lambda pair: pair[0]) if kind in kinds]
