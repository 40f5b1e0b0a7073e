"""What belongs to each LLMService: the objects that bear its label, by kind. Pure state, fed by informers."""

from collections import defaultdict

from hearth.api.labels import LLMSERVICE_LABEL
from hearth.kube.client import KubeObject

ServiceKey = tuple[str, str]
ObjectKey = tuple[str, str]
"""Both (namespace, name)."""


class Belongings:
    """An index, so that a look at one LLMService costs what it has, not what the cluster has."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, ObjectKey], ServiceKey] = {}
        self._objects: dict[ServiceKey, dict[tuple[str, str], KubeObject]] = defaultdict(dict)

    def put(self, kind: str, key: ObjectKey, item: KubeObject | None) -> set[ServiceKey]:
        """Take an object as it is now, None: it is gone. Returns the LLMServices that this is about."""
        place = (kind, key[1])
        about = set()
        if (before := self._owners.pop((kind, key), None)) is not None:
            about.add(before)
            del self._objects[before][place]
            if not self._objects[before]:
                del self._objects[before]
        if item is not None and (name := (item["metadata"].get("labels") or {}).get(LLMSERVICE_LABEL)):
            owner = (key[0], name)
            about.add(owner)
            self._owners[kind, key] = owner
            self._objects[owner][place] = {**item, "kind": kind}  # a list leaves the kind out of its items
        return about

    def of(self, service: ServiceKey, *kinds: str) -> list[KubeObject]:
        """The objects of these kinds, by kind and name."""
        found = self._objects.get(service, {})
        return [item for (kind, _), item in sorted(found.items(), key=lambda pair: pair[0]) if kind in kinds]
