"""Which types the fields of built-in kinds have, as far as the loops here read them. Pure.

The real API server decodes into Go's types: what does not fit is refused before it is stored, and no controller meets
it. A null is a field that is not there. Fields that nobody here reads may be anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from hearth.emulators.kinds import Kind, KubeObject
from hearth.emulators.refusals import Cause


@dataclass(frozen=True, slots=True)
class Value:
    """A value of one of these types; a number is `least` at least."""

    types: tuple[type, ...]
    words: str
    least: int | None = None


@dataclass(frozen=True, slots=True)
class Values:
    """A list (`keyed`: a map by names) of what all have one shape, `least` of them at least."""

    of: "Shape"
    keyed: bool = False
    least: int = 0


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with these fields; those of `required` must be there."""

    known: Mapping[str, "Shape"] = field(default_factory=dict)
    required: tuple[str, ...] = ()


Shape = Union[Value, Values, Fields]  # noqa: UP007 — the names are not there yet where it is used

_TEXT, _FLAG = Value((str,), "a string"), Value((bool,), "true or false")
_COUNT, _WHOLE = Value((int,), "a whole number, 0 or more", 0), Value((int,), "a whole number")
_EITHER, _NUMBER = Value((int, str), "a whole number or a string"), Value((int, float, str), "a quantity")
_TEXTS, _WORDS = Values(_TEXT), Values(_TEXT, keyed=True)

_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid")
_OWNER = Fields(dict.fromkeys(_OWNER_FIELDS, _TEXT), _OWNER_FIELDS)
_METADATA = Fields(
    {"labels": _WORDS, "annotations": _WORDS, "finalizers": _TEXTS, "ownerReferences": Values(_OWNER)},
)
_CONDITIONS = Values(Fields({"type": _TEXT, "status": _TEXT}, ("type", "status")))
_STATUS = Fields({"phase": _TEXT, "podIP": _TEXT, "conditions": _CONDITIONS})

_PROBE = Fields(
    {
        **dict.fromkeys(("periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"), _WHOLE),
        **dict.fromkeys(("initialDelaySeconds", "terminationGracePeriodSeconds"), _WHOLE),
        "httpGet": Fields({"port": _EITHER, "path": _TEXT, "host": _TEXT, "scheme": _TEXT}, ("port",)),
        "tcpSocket": Fields({"port": _EITHER, "host": _TEXT}, ("port",)),
        "grpc": Fields({"port": _WHOLE, "service": _TEXT}, ("port",)),
        "exec": Fields({"command": _TEXTS}),
    }
)
_CONTAINER = Fields(
    {
        **dict.fromkeys(("name", "image"), _TEXT),
        **dict.fromkeys(("command", "args"), _TEXTS),
        "env": Values(Fields({"name": _TEXT, "value": _TEXT, "valueFrom": Fields()}, ("name",))),
        "envFrom": Values(Fields({"prefix": _TEXT})),
        "ports": Values(Fields({"containerPort": _WHOLE, "name": _TEXT}, ("containerPort",))),
        "resources": Fields(dict.fromkeys(("limits", "requests"), Values(_NUMBER, keyed=True))),
        **dict.fromkeys(("startupProbe", "readinessProbe", "livenessProbe"), _PROBE),
        "lifecycle": Fields({"preStop": Fields()}),
    },
    ("name", "image"),
)
_POD = Fields(
    {"containers": Values(_CONTAINER, least=1), "nodeName": _TEXT, "terminationGracePeriodSeconds": _COUNT},
    ("containers",),
)
_DEPLOYMENT = Fields(
    {
        "replicas": _COUNT,
        "selector": Fields({"matchLabels": _WORDS}),
        "template": Fields({"metadata": _METADATA, "spec": _POD}, ("spec",)),
        "paused": _FLAG,
        "strategy": Fields({"rollingUpdate": Fields({"maxSurge": _EITHER, "maxUnavailable": _EITHER})}),
    },
    ("selector", "template"),
)
_SERVICE = Fields(
    {
        "selector": _WORDS,
        "ports": Values(Fields({"port": _WHOLE, "targetPort": _EITHER, "name": _TEXT, "protocol": _TEXT}, ("port",))),
    }
)
_SCALED_OBJECT = Fields(
    {
        "scaleTargetRef": Fields({"name": _TEXT}, ("name",)),
        "triggers": Values(Fields({"type": _TEXT, "metadata": _WORDS}, ("type", "metadata")), least=1),
        **dict.fromkeys(("minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod"), _COUNT),
        "advanced": Fields({"horizontalPodAutoscalerConfig": Fields({"behavior": Fields()})}),
    },
    ("scaleTargetRef", "triggers"),
)
_ENDPOINT = Fields({"addresses": _TEXTS, "conditions": Fields({"ready": _FLAG})}, ("addresses",))
_ENDPOINTS = {"ports": Values(Fields({"name": _TEXT, "port": _WHOLE})), "endpoints": Values(_ENDPOINT)}

_SPECS = {"pods": _POD, "deployments": _DEPLOYMENT, "services": _SERVICE, "scaledobjects": _SCALED_OBJECT}


def misshapen(kind: Kind, item: KubeObject) -> list[Cause]:
    """What can't be stored of an object, as a refusal has it."""
    spec = _SPECS.get(kind.resource)
    known: dict[str, Shape] = {"metadata": _METADATA, "status": _STATUS}
    if spec is not None:
        known["spec"] = spec
    if kind.resource == "endpointslices":
        known |= _ENDPOINTS
    required = (*(["spec"] if spec is not None else []), *(["endpoints"] if kind.resource == "endpointslices" else []))
    return list(_causes(item, Fields(known, required), ""))


def _causes(value: Any, shape: Shape, path: str) -> Iterator[Cause]:
    match shape:
        case Value():
            right = isinstance(value, shape.types) and (not isinstance(value, bool) or bool in shape.types)
            if not right or (shape.least is not None and value < shape.least):
                yield _wrong(value, shape.words, path)
        case Values():
            yield from _of_values(value, shape, path)
        case Fields():
            yield from _of_fields(value, shape, path)


def _of_values(value: Any, shape: Values, path: str) -> Iterator[Cause]:
    if not isinstance(value, dict if shape.keyed else list):
        yield _wrong(value, "an object" if shape.keyed else "a list", path)
        return
    if len(value) < shape.least:
        yield ("FieldValueRequired", "Required value", path)
    for name in value if shape.keyed else range(len(value)):
        yield from _causes(value[name], shape.of, f"{path}[{name}]")


def _of_fields(value: Any, shape: Fields, path: str) -> Iterator[Cause]:
    if not isinstance(value, dict):
        yield _wrong(value, "an object", path)
        return
    below = f"{path}." if path else ""
    for name in shape.required:
        if value.get(name) is None:
            yield ("FieldValueRequired", "Required value", below + name)
    for name, inner in shape.known.items():
        if value.get(name) is not None:
            yield from _causes(value[name], inner, below + name)


def _wrong(value: Any, words: str, path: str) -> Cause:
    return ("FieldValueInvalid", f"Invalid value: {str(value)[:80]!r}: expected {words}", path)
