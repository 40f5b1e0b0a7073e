"""Laying one pod template over another: what people set in `spec.template` over what Hearth renders.

The rule is a strategic merge's (https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/):
mappings are merged by key; of two values the later one stands. Lists of containers are merged by name. Volumes,
variables and mounts are replaced one by one, by name or path, since half of one and half of another is neither.
Tolerations, envFrom and spread constraints are added. Every other list is replaced.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Part = dict[str, Any]

_MERGED: Final = {"containers": "name", "initContainers": "name"}
_REPLACED: Final = {"volumes": "name", "env": "name", "volumeMounts": "mountPath"}
_ADDED: Final = ("tolerations", "envFrom", "topologySpreadConstraints")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Part:
    """`base` with `over` laid over it; neither is changed."""
    made = dict(base)
    for name, value in over.items():
        under = made.get(name)
        if isinstance(value, dict) and isinstance(under, dict):
            made[name] = merged(under, value)
        elif isinstance(value, list) and isinstance(under, list):
            made[name] = _list(name, under, value)
        else:
            made[name] = value
    return made


def _list(name: str, base: Sequence[Any], over: Sequence[Any]) -> list[Any]:
    if name in _ADDED:
        return [*base, *(item for item in over if item not in base)]
    key = _MERGED.get(name) or _REPLACED.get(name)
    if key is None:
        return list(over)
    by_key = {item[key]: item for item in base}
    for item in over:
        under = by_key.get(item[key])
        by_key[item[key]] = merged(under, item) if under is not None and name in _MERGED else item
    return list(by_key.values())
