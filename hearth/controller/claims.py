"""What a claim that is there keeps, whatever is asked for later. Pure."""

from collections.abc import Mapping, Sequence

from hearth.kube.kinds import CLAIM
from hearth.kube.objects import KubeObject, mapping, name_of, text

_CLASS = "storageClassName"


def with_classes(objects: Sequence[KubeObject], claims: Mapping[str, KubeObject]) -> tuple[KubeObject, ...]:
    """`objects` with the StorageClass that a claim has where they name none: any will do then, and that of a claim that
    is there can't be taken away. `claims` are those that are there, by name.

    https://kubernetes.io/docs/concepts/storage/persistent-volumes/#class-1
    """
    return tuple(
        _with_class(each, claims.get(name_of(each))) if each["kind"] == CLAIM.name else each for each in objects
    )


def _with_class(wanted: KubeObject, found: KubeObject | None) -> KubeObject:
    kept = text(found, "spec", _CLASS)
    if not kept or _CLASS in wanted["spec"]:
        return wanted
    return {**wanted, "spec": {**mapping(wanted, "spec"), _CLASS: kept}}
