"""The CRDs, from the pydantic models in hearth/api: schema, defaults, CEL rules, printer columns, subresources."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter

from hearth.api.base import GROUP, VERSION, ApiModel, Resource
from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import NOT_BUILT, LLMService
from hearth.api.quantity import DURATION_PATTERN, format_duration

Schema = dict[str, Any]

INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}

_ANY_OBJECT: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_NOT_BUILT_TYPE: dict[str, Schema] = {"catalogRef": {"type": "string"}}  # the others are objects

_DROPPED = ("title", "additionalProperties", "patternProperties", "propertyNames")


def _column(name: str, path: str, kind: str = "string", priority: int = 0) -> Schema:
    column: Schema = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "priority": priority} if priority else column


AGE = _column("Age", ".metadata.creationTimestamp", "date")


def llmservice_crd() -> Schema:
    return _crd(
        LLMService,
        {"plural": "llmservices", "singular": "llmservice", "shortNames": ["llms"], "categories": ["hearth"]},
        "Namespaced",
        {
            "status": {},
            # kubectl scale llmservice/NAME --replicas=N sets the minimum: what is above it is KEDA's to decide.
            "scale": {
                "specReplicasPath": ".spec.scaling.min",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        [
            _column("Phase", ".status.phase"),
            _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            _column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
            _column("Replicas", ".status.replicas", "integer"),
            _column("Runtime", ".status.resolvedRuntime"),
            _column("Queue", ".status.queueDepth", "integer", 1),
            _column("URL", ".status.endpointURL", "string", 1),
            AGE,
        ],
    )


def inferenceruntime_crd() -> Schema:
    return _crd(
        InferenceRuntime,
        {
            "plural": "inferenceruntimes",
            "singular": "inferenceruntime",
            "shortNames": ["infr"],
            "categories": ["hearth"],
        },
        "Cluster",
        {"status": {}},
        [
            _column("Vendor", ".spec.vendor"),
            _column("Family", ".spec.family"),
            _column("Priority", ".spec.priority", "integer"),
            _column("Accepted", ".status.conditions[?(@.type=='Accepted')].status"),
            _column("Image", ".spec.container.image", "string", 1),
            AGE,
        ],
    )


def as_yaml(crd: Schema) -> str:
    """The manifest as it lies in deploy/crds."""
    head = "# Generated from hearth/api by `make generate`.\n"
    return head + yaml.dump(crd, Dumper=_NoAliases, sort_keys=False, width=110, allow_unicode=True)


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _crd(kind: type[Resource], names: Schema, scope: str, subresources: Schema, columns: list[Schema]) -> Schema:
    plural = names["plural"]
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": structural_schema(kind)},
    }
    if subresources:
        version["subresources"] = subresources
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"kind": kind.__name__, "listKind": f"{kind.__name__}List", **names},
            "versions": [version],
        },
    }


def structural_schema(kind: type[Resource]) -> Schema:
    """The schema of a resource as a CRD may have it: no references, no null, one type for each value.

    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
    """
    document = kind.model_json_schema(by_alias=True)
    classes = {cls.__name__: cls for cls in _subclasses(ApiModel)}
    schema = _structural(document, document["$defs"], kind, classes)
    name_length = 63 if kind is LLMService else 253
    schema["properties"] |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": name_length}}},
    }
    schema["required"] = ["spec"]
    # kstatus (helm --wait, Flux) takes an object without a status for done: it must see that nobody has looked yet.
    schema["properties"]["status"]["default"] = {"observedGeneration": -1}
    for path, why in NOT_BUILT.items():
        if kind is LLMService:
            _refuse_field(schema, path.split("."), why)
    return schema


def _structural(
    node: Schema, defs: Schema, model: type[BaseModel] | None, classes: dict[str, type[ApiModel]]
) -> Schema:
    """One node with its references resolved; `model` is the class that its properties are the fields of."""
    if reference := node.get("$ref"):
        name = reference.rpartition("/")[2]
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _structural({**defs[name], **beside}, defs, classes.get(name), classes)
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    if "x-kubernetes-int-or-string" in node or [option.get("type") for option in options] == ["integer", "string"]:
        # The one union that a CRD may have; what bounds either side of it stands beside it.
        bounds: Schema = {key: value for option in options for key, value in option.items() if key != "type"}
        beside = _without(node, *_DROPPED, "anyOf", "default" if node.get("default") is None else "")
        return {**beside, **bounds, **INT_OR_STRING}
    if options:
        (option,) = options  # an optional value
        return _structural({**_without(node, "anyOf", "default"), **option}, defs, model, classes)
    made = _without(node, *_DROPPED, "$defs", "const")
    if "const" in node:
        made["enum"] = [node["const"]]
    if "items" in node:
        made["items"] = _structural(node["items"], defs, None, classes)
    # What keys have to match, CEL says: a structural schema has no patternProperties.
    (extra,) = node.get("patternProperties", {"": node.get("additionalProperties")}).values()
    if isinstance(extra, dict):
        made["additionalProperties"] = _structural(extra, defs, None, classes)
    elif node.get("type") == "object" and "properties" not in node:
        made["x-kubernetes-preserve-unknown-fields"] = True
    if "properties" in node:
        made["properties"] = {
            name: _property(name, value, defs, model, classes) for name, value in node["properties"].items()
        }
    if made.get("default") is None:
        made.pop("default", None)
    elif made.get("pattern") == DURATION_PATTERN:
        made["default"] = format_duration(TypeAdapter(timedelta).validate_python(made["default"]))
    return made


def _property(
    name: str, node: Schema, defs: Schema, model: type[BaseModel] | None, classes: dict[str, type[ApiModel]]
) -> Schema:
    made = _structural(node, defs, None, classes)
    if model is None or "default" in made:
        return made
    field = next(field for key, field in model.model_fields.items() if (field.alias or key) == name)
    if field.description:
        made["description"] = field.description
    if field.default_factory is not None:
        value = field.default_factory()  # type: ignore[call-arg]
        if isinstance(value, ApiModel):
            # Whole, since the API server checks a default by the rules before it fills in what is inside.
            value = value.model_dump(by_alias=True, exclude_none=True)
        made["default"] = value
    return made


def _refuse_field(schema: Schema, path: list[str], why: str) -> None:
    """Let the API server refuse a field by name, with what to do instead."""
    *parents, field = path
    node = schema
    for parent in parents:
        node = node["properties"][parent]
    node["properties"][field] = {"description": f"Not supported yet: {why}.", **_NOT_BUILT_TYPE.get(field, _ANY_OBJECT)}
    rule = {"rule": f"!has(self.{field})", "message": f"{field}: not supported yet: {why}"}
    node.setdefault("x-kubernetes-validations", []).append(rule)


def _without(node: Schema, *keys: str) -> Schema:
    return {key: value for key, value in node.items() if key not in keys}


def _subclasses(cls: type[ApiModel]) -> Iterator[type[ApiModel]]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)
