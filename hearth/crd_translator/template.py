"""Laying one pod template over another: what people set in `spec.template` over what Hearth renders.

The rule is a strategic merge's (https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/):
mappings are merged by key; of two values the later one stands. Lists of containers are merged by name. Volumes,
variables and mounts are replaced one by one, by name or path, since half of one and half of another is neither.
So are spread constraints, by what they spread over and how. Tolerations and envFrom are added. Every other list is
replaced.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

Part = dict[str, Any]

# By which an API server tells items apart. Two of one key are no pod: it answers 500 to them.
_KEYS: Final = {
    **dict.fromkeys(("containers", "initContainers", "volumes", "imagePullSecrets"), ("name",)),
    "volumeMounts": ("mountPath",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
_MERGED: Final = ("containers", "initContainers")
_ADDED: Final = ("tolerations", "envFrom")
_REFERENCE: Final = re.compile(r"\$\(([^()]+)\)")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Part:
    """`base` with `over` laid over it; neither is changed. No list that `over` has keeps two items of one key."""
    made = dict(base)
    for name, value in over.items():
        under = made.get(name)
        if isinstance(value, dict):
            made[name] = merged(under if isinstance(under, dict) else {}, value)
        elif isinstance(value, list):
            made[name] = _list(name, under if isinstance(under, list) else [], value)
        else:
            made[name] = value
    return made


def _list(name: str, base: Sequence[Any], over: Sequence[Any]) -> list[Any]:
    if name in _ADDED:
        items = [*base, *over]
        return [item for index, item in enumerate(items) if item not in items[:index]]
    if name == "env":
        return variables(base, over)
    keys = _KEYS.get(name)
    if keys is None:
        return list(over)
    by_key: dict[tuple[str, ...], Any] = {}
    for item in (*base, *over):
        key = tuple(str(item.get(each)) for each in keys)
        by_key[key] = merged(by_key.get(key, {}), item) if name in _MERGED else item
    return list(by_key.values())


def variables(base: Sequence[Any], over: Sequence[Any]) -> list[Any]:
    """Environment variables, those of `base` replaced by name. One takes the other's place, since what stands behind it
    may refer to it; unless it refers itself to what stands behind that place: a kubelet expands `$(NAME)` of what it
    has read before.

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    made: list[Any] = []
    for item in (*base, *over):
        names = [each["name"] for each in made]
        if item["name"] not in names:
            made.append(item)
            continue
        at = names.index(item["name"])
        referred = _REFERENCE.findall(str(item.get("value") or ""))
        if any(name in names[at + 1 :] for name in referred):
            del made[at]
            made.append(item)
        else:
            made[at] = item
    return made
