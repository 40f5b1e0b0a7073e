"""Whether an apply would change an object. Pure.

An apply that changes nothing costs an API server as much as one that does, and a controller that starts has every
object of every LLMService to ask about. So it compares first, with what its informers show. Where the comparison can't
tell, the answer is no: one apply too many does no harm.
"""

import json
from collections.abc import Mapping
from typing import Any

from hearth.api.quantity import amount
from hearth.kube.objects import KubeObject, mapping, mappings, metadata, text

_COMPARED = ("metadata", "spec")
_EMPTY: tuple[object, ...] = (None, "", {}, [])
"""What the API server leaves out when it keeps an object."""
_QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "divisor"})
"""Where the API server writes a quantity its own way: 1024Mi is 1Gi."""
_NOT_SAID = frozenset({"paused", "readOnly", "initialDelaySeconds"})
"""Fields that the API server leaves out where they are false or zero. Of most others that is told from nothing."""


def is_applied(found: KubeObject, wanted: KubeObject, manager: str) -> bool:
    """Whether `found` is what it would be after `manager` applied `wanted`: it has all that `wanted` says, and whatever
    `manager` has applied before is in `wanted` still, so that nothing would be removed.

    managedFields: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    return differs(found, wanted) is None and all(
        _says(wanted, mapping(entry, "fieldsV1"))
        for entry in mappings(metadata(found), "managedFields")
        if (entry.get("manager"), entry.get("operation")) == (manager, "Apply") and not text(entry, "subresource")
    )


def differs(found: KubeObject, wanted: KubeObject) -> tuple[str, ...] | None:
    """Where `found` first says something else than `wanted` does, by the names of fields down to a list or a value;
    None where it says all of it."""
    for part in _COMPARED:
        if not _has(mapping(found, part), mapping(wanted, part)):
            return (part, *_differing(mapping(found, part), mapping(wanted, part)))
    return None


def _differing(found: Any, wanted: Mapping[str, Any]) -> tuple[str, ...]:
    for name, value in wanted.items():
        if not _has(found, {name: value}, quantity=name in _QUANTITIES):
            inner = found.get(name)
            both = isinstance(value, Mapping) and isinstance(inner, Mapping)
            return (name, *(_differing(inner, value) if both else ()))
    return ()


def _has(found: object, wanted: object, *, quantity: bool = False) -> bool:
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return not wanted and found is None
        return all(
            _has(found[name], value, quantity=quantity or name in _QUANTITIES)
            if name in found
            else value in _EMPTY or (name in _NOT_SAID and not value)
            for name, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_has(one, other) for one, other in zip(found, wanted, strict=True))
        )
    if quantity and found != wanted:
        return (counted := amount(wanted)) is not None and counted == amount(found)
    return type(found) is type(wanted) and found == wanted


def _says(wanted: Any, owned: Mapping[str, Any]) -> bool:
    """Whether all of `owned`, a tree as in fieldsV1, is a part of `wanted`."""
    return all(step == "." or _says_step(wanted, *step.partition(":")[::2], inner) for step, inner in owned.items())


def _says_step(wanted: Any, kind: str, rest: str, inner: Mapping[str, Any]) -> bool:
    match kind, wanted:
        case "f", Mapping() if rest in wanted:
            return not inner or _says(wanted[rest], inner)
        case "k", list() | tuple():
            key = json.loads(rest)  # what a list is a map by; where `wanted` leaves a part of it out, it has a default
            return any(
                isinstance(item, Mapping)
                and all(item.get(name, value) == value for name, value in key.items())
                and _says(item, inner)
                for item in wanted
            )
        case "v", list() | tuple():
            return json.loads(rest) in wanted
    return False
