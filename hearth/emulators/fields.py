"""Who says which field: managedFields, and the merge of server-side apply. Pure.

A field is a path of steps as in fieldsV1: `f:NAME`, and for an item of a list that is a map `k:{"name":"engine"}`,
whose own step "." says that the item is there. Which lists are maps is known by the names that Kubernetes gives them
(LIST_KEYS); every other list is one value, as are the maps of ATOMIC. The real server knows it from each type's schema.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from hearth.emulators.store import copied

KubeObject = dict[str, Any]
Step = str
Path = tuple[Step, ...]
Fields = frozenset[Path]

LIST_KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("containers", "initContainers", "env", "volumes", "imagePullSecrets"), ("name",)),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "volumeMounts": ("mountPath",),
    "addresses": ("type",),
}
_PORT_KEYS = {"containerPort": ("containerPort", "protocol"), "port": ("port", "protocol")}
_SET_LISTS = frozenset({"finalizers"})
ATOMIC = frozenset({"selector", "nodeSelector", "labelSelector", "matchLabels"})

# What no manager owns: who the object is, and what the server alone writes.
_IDENTITY = frozenset({("f:apiVersion",), ("f:kind",), ("f:metadata", "f:name"), ("f:metadata", "f:namespace")})
_SERVERS = frozenset(
    ("f:metadata", f"f:{name}")
    for name in (
        *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"),
        *("deletionGracePeriodSeconds", "managedFields", "selfLink", "generateName"),
    )
)


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes: the manager's name, how, and through which subresource ("" for the object itself)."""

    name: str
    operation: Literal["Apply", "Update"]
    subresource: str = ""


Owners = dict[Manager, Fields]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that an apply says otherwise than who owns it."""

    manager: Manager
    path: Path


def fields_of(item: KubeObject) -> Fields:
    """Every field that an object says, without who it is and what the server alone writes."""
    hidden = _IDENTITY | _SERVERS
    return frozenset(path for path, _ in _walk(item, ()) if path[:1] not in hidden and path[:2] not in hidden)


def owners_of(item: KubeObject) -> Owners:
    """managedFields as sets."""
    found: Owners = {}
    for entry in item["metadata"].get("managedFields") or []:
        manager = Manager(entry["manager"], entry["operation"], entry.get("subresource", ""))
        found[manager] = frozenset(_paths(entry.get("fieldsV1") or {}, ()))
    return found


def managed_fields(owners: Owners, before: list[KubeObject], api_version: str, now: str) -> list[KubeObject]:
    """managedFields of these owners; `before` are those that stand, whose times are kept where nothing changed."""
    stood = {(entry["manager"], entry["operation"], entry.get("subresource", "")): entry for entry in before}
    made = []
    for manager, owned in owners.items():
        if not owned:
            continue
        tree = _tree(owned)
        was = stood.get((manager.name, manager.operation, manager.subresource), {})
        same = was.get("fieldsV1") == tree
        entry = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": api_version,
            "time": was.get("time", now) if same else now,
            "fieldsType": "FieldsV1",
            "fieldsV1": tree,
        }
        made.append(entry | ({"subresource": manager.subresource} if manager.subresource else {}))
    return made


def updated(owners: Owners, manager: Manager, before: KubeObject, after: KubeObject) -> Owners:
    """The owners after an Update: what it changed is its own, and nobody else's; what it took away is nobody's."""
    was, is_now = dict(_leaves(before)), dict(_leaves(after))
    changed = {path for path, value in is_now.items() if path not in was or was[path] != value}
    gone = was.keys() - is_now.keys()
    kept = {other: frozenset(owned - changed - gone) for other, owned in owners.items()}
    kept[manager] = kept.get(manager, frozenset()) | changed
    return kept


def conflicts(owners: Owners, manager: Manager, live: KubeObject, wanted: KubeObject) -> list[Conflict]:
    """The fields that others own and that `wanted` says otherwise than they stand."""
    stands = dict(_leaves(live))
    says = dict(_leaves(wanted))
    return [
        Conflict(other, path)
        for other, owned in owners.items()
        if other != manager
        for path in sorted(owned & says.keys())
        if path[-1] != "." and (path not in stands or stands[path] != says[path])
    ]


def applied(owners: Owners, manager: Manager, live: KubeObject, wanted: KubeObject) -> tuple[KubeObject, Owners]:
    """The object and its owners after `manager` applied `wanted` by force.

    What others owned and `wanted` says otherwise is the manager's now; what it said before and says no more goes,
    unless somebody else says it too.
    """
    says = fields_of(wanted)
    taken = {(conflict.manager, conflict.path) for conflict in conflicts(owners, manager, live, wanted)}
    kept = {
        other: frozenset(path for path in owned if (other, path) not in taken)
        for other, owned in owners.items()
        if other != manager
    }
    result = _merged(copied(live), wanted)
    of_others: set[Path] = set().union(*kept.values())
    unsaid = owners.get(manager, frozenset()) - says - of_others
    # Whole items first: one that loses the field by which it is known can't be found any more.
    for path in sorted(unsaid, key=lambda path: (path[-1] != ".", -len(path))):
        place = path[:-1] if path[-1] == "." else path
        still_said = any(other[: len(place)] == place for other in of_others | says)
        if not still_said and not _names_item(path):
            _remove(result, place, of_others | says)
    return result, {**kept, manager: says}


def readable(path: Path) -> str:
    """A path as errors write it: .spec.replicas, .spec.containers[name="engine"].image."""
    text = ""
    for step in path:
        if step.startswith("f:"):
            text += f".{step[2:]}"
        elif step.startswith("k:"):
            keys = json.loads(step[2:])
            text += "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in keys.items()) + "]"
        elif step.startswith("v:"):
            text += f"[={step[2:]}]"
    return text


def _leaves(item: KubeObject) -> Iterator[tuple[Path, Any]]:
    owned = fields_of(item)
    return ((path, value) for path, value in _walk(item, ()) if path in owned)


def _walk(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """(path, value) of each field that has an owner of its own."""
    if isinstance(value, dict) and value and not (path and path[-1][2:] in ATOMIC):
        for name, inner in value.items():
            yield from _walk(inner, (*path, f"f:{name}"))
    elif isinstance(value, list) and (keys := _keys(path, value)) is not None:
        for item in value:
            step = _item_step(item, keys)
            yield (*path, step, "."), None
            if isinstance(item, dict):
                for name, inner in item.items():
                    yield from _walk(inner, (*path, step, f"f:{name}"))
    else:
        yield path, value


def _keys(path: Path, items: list[Any]) -> tuple[str, ...] | None:
    """By which fields the items of a list are known; () for a set; None where the list is one value."""
    name = path[-1][2:] if path else ""
    if name in _SET_LISTS:
        return ()
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    keys = _port_keys(items) if name == "ports" else LIST_KEYS.get(name)
    return keys if keys is not None and all(keys[0] in item for item in items) else None


def _port_keys(items: list[Any]) -> tuple[str, ...] | None:
    """Ports of a container and of a Service have other keys; those of an EndpointSlice are one value."""
    if any("name" in item and "containerPort" not in item and "targetPort" not in item for item in items):
        return None
    return next((keys for mark, keys in _PORT_KEYS.items() if all(mark in item for item in items)), None)


def _item_step(item: Any, keys: tuple[str, ...]) -> Step:
    if not keys:
        return f"v:{json.dumps(item)}"
    named = {key: item.get(key, "TCP" if key == "protocol" else None) for key in keys}
    return "k:" + json.dumps(named, separators=(",", ":"))


def _merged(live: Any, wanted: Any, path: Path = ()) -> Any:
    """`live` with what `wanted` says."""
    if isinstance(live, dict) and isinstance(wanted, dict) and not (path and path[-1][2:] in ATOMIC):
        for name, value in wanted.items():
            live[name] = _merged(live.get(name), value, (*path, f"f:{name}"))
        return live
    if isinstance(live, list) and isinstance(wanted, list) and (keys := _keys(path, [*live, *wanted])) is not None:
        places = {_item_step(item, keys): number for number, item in enumerate(live)}
        for item in wanted:
            step = _item_step(item, keys)
            if step in places:
                live[places[step]] = _merged(live[places[step]], item, (*path, step))
            else:
                live.append(copied(item))
        return live
    return copied(wanted)


def _names_item(path: Path) -> bool:
    """Whether a field is one of those by which the item of a list is known."""
    return len(path) > 1 and path[-2].startswith("k:") and path[-1][2:] in json.loads(path[-2][2:])


def _remove(item: KubeObject, path: Path, said: set[Path]) -> None:
    """Take a field or an item away, and what becomes empty by that and is not said to be there."""
    chain: list[tuple[Any, Any]] = []
    at: Any = item
    for number, step in enumerate(path):
        place: Any = None
        if isinstance(at, dict) and step.startswith("f:"):
            place = step[2:] if step[2:] in at else None
        elif isinstance(at, list):
            keys = _keys(path[:number], at)
            if keys is not None:
                place = next((n for n, inner in enumerate(at) if _item_step(inner, keys) == step), None)
        if place is None:
            return
        chain.append((at, place))
        at = at[place]
    for depth, (parent, place) in reversed(list(enumerate(chain, 1))):
        if depth == len(chain) or (parent[place] in ({}, []) and path[:depth] not in said):
            del parent[place]
        else:
            return


def _tree(paths: Iterable[Path]) -> KubeObject:
    tree: KubeObject = {}
    for path in sorted(paths):
        at = tree
        for step in path:
            at = at.setdefault(step, {})
    return tree


def _paths(tree: KubeObject, path: Path) -> Iterator[Path]:
    if not tree and path:
        yield path
    for step, inner in tree.items():
        yield from _paths(inner, (*path, step))
