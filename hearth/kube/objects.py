"""Objects of the API server as plain data, and how to read them.

Whoever writes an object decides what is in it. The readers here take any JSON: where a part is missing or has another
shape, they give the empty value, so that a strange object is one that says nothing, and no error.
"""

from base64 import b64decode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

KubeObject = dict[str, Any]

MAX_NUMBER = 2**53
"""Whole numbers beyond are no numbers of JSON's."""


class ObjectKey(NamedTuple):
    """Where an object stands; `namespace` is "" for those of the cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(filter(None, self))


def mapping(part: object, *path: str) -> KubeObject:
    """The mapping at a path."""
    for name in path:
        part = part.get(name) if isinstance(part, dict) else None
    return part if isinstance(part, dict) else {}


def secret_data(found: object) -> dict[str, bytes]:
    """What a Secret holds, by key; what is no base64 is empty."""
    made = {}
    for name, content in mapping(found, "data").items():
        try:
            made[name] = b64decode(str(content), validate=True)
        except ValueError:
            made[name] = b""
    return made


def mappings(part: object, *path: str) -> list[KubeObject]:
    """The mappings in the list at a path."""
    found = _at(part, path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def texts(part: object, *path: str) -> list[str]:
    """The texts in the list at a path."""
    found = _at(part, path)
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []


def text(part: object, *path: str) -> str:
    """The text at a path."""
    found = _at(part, path)
    return found if isinstance(found, str) else ""


def number(part: object, *path: str, default: int = 0) -> int:
    """The whole number at a path."""
    found = _at(part, path)
    if isinstance(found, bool) or not isinstance(found, int) or abs(found) > MAX_NUMBER:
        return default
    return found


def metadata(item: object) -> KubeObject:
    return mapping(item, "metadata")


def name_of(item: object) -> str:
    return text(item, "metadata", "name")


def namespace_of(item: object) -> str:
    return text(item, "metadata", "namespace")


def uid_of(item: object) -> str:
    return text(item, "metadata", "uid")


def version_of(item: object) -> str:
    """metadata.resourceVersion."""
    return text(item, "metadata", "resourceVersion")


def key_of(item: object) -> ObjectKey:
    """Raises ValueError where it has no name: that is no object."""
    key = ObjectKey(namespace_of(item), name_of(item))
    if not key.name:
        raise ValueError("found an object without metadata.name")
    return key


def labels_of(item: object) -> dict[str, str]:
    return {name: value for name, value in mapping(item, "metadata", "labels").items() if isinstance(value, str)}


def owners_of(item: object) -> list[KubeObject]:
    """metadata.ownerReferences."""
    return mappings(item, "metadata", "ownerReferences")


def is_owned(item: object, uid: str) -> bool:
    """Whether one of its owner references has this uid, whoever made it."""
    return any(owner.get("uid") == uid for owner in owners_of(item))


def is_replica_of(pod: object, name: str, uid: str) -> bool:
    """Whether the Deployment of this name and uid made a pod: it is controlled by a ReplicaSet with the Deployment's
    name and the hash of the pod's template (pkg/controller/deployment/sync.go), or by the Deployment itself where
    there are no ReplicaSets. Labels alone are in any copy of a manifest."""
    owner = next((owner for owner in owners_of(pod) if owner.get("controller") is True), {})
    if owner.get("kind") == "ReplicaSet":
        made_of = labels_of(pod).get("pod-template-hash")
        return made_of is not None and owner.get("name") == f"{name}-{made_of}"
    return bool(uid) and owner.get("uid") == uid


GARBAGE_COLLECTORS = frozenset({"foregroundDeletion", "orphan"})
"""The finalizers that the garbage collector of Kubernetes takes off itself."""


def finalizers_of(item: KubeObject | None) -> list[str]:
    """Whose finalizers a deleted object waits for.
    https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/"""
    return texts(item, "metadata", "finalizers")


def is_leaving(item: object) -> bool:
    """Whether somebody has deleted it, and it waits for its end."""
    return bool(metadata(item).get("deletionTimestamp"))


def conditions_of(item: object) -> list[KubeObject]:
    """status.conditions."""
    return mappings(item, "status", "conditions")


def condition(item: object, kind: str) -> KubeObject:
    """The condition of this type; {} where there is none."""
    return next((found for found in conditions_of(item) if found.get("type") == kind), {})


def written(time: datetime) -> str:
    """A time as Kubernetes writes a metav1.Time: RFC 3339 in UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(written: object) -> datetime | None:
    """An RFC 3339 time; None where it is none."""
    if not isinstance(written, str):
        return None
    try:
        read = datetime.fromisoformat(written)
    except ValueError:
        return None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def _at(part: object, path: Iterable[str]) -> object:
    for name in path:
        part = part.get(name) if isinstance(part, dict) else None
    return part
