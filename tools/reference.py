"""docs/reference: every field of the CRDs with type, default and meaning, from the schema of the API server."""

import json
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_INT32 = 2**31 - 1

_HEAD = "<!-- Generated from hearth/api by `make generate`. -->\n"


def reference(crd: Schema) -> str:
    """A page on one CRD, in Markdown."""
    names = crd["spec"]["names"]
    (version,) = crd["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    short = ", ".join(f"`{name}`" for name in names.get("shortNames", []))
    lines = [
        f"{_HEAD}# {names['kind']}",
        "",
        f"`{crd['spec']['group']}/{version['name']}`, {crd['spec']['scope'].lower()}, short name {short}. "
        f"`kubectl explain {names['singular']}` says the same.",
    ]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            lines += ["", f"## {part}", "", "| field | type | default | meaning |", "|---|---|---|---|"]
            lines += [_row(*row) for row in _fields(part, schema["properties"][part])]
            lines += _rules(part, schema["properties"][part])
    return "\n".join(lines) + "\n"


def _fields(path: str, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """(path, schema, required) of every field under an object, depth first, in the schema's order."""
    for name, field in schema.get("properties", {}).items():
        inner = f"{path}.{name}"
        yield inner, field, name in schema.get("required", [])
        yield from _fields(inner, field)
        if field.get("type") == "array":
            yield from _fields(f"{inner}[]", field["items"])


def _row(path: str, field: Schema, required: bool) -> str:
    default = "required" if required else _default(field)
    return f"| `{path}` | {_type(field)} | {_cell(default)} | {_cell(field.get('description', ''))} |"


def _default(field: Schema) -> str:
    """Objects and lists of objects get theirs field by field."""
    if "default" not in field or field.get("type") == "object":
        return ""
    return f"`{json.dumps(field['default'])}`"


def _type(field: Schema) -> str:
    if choices := field.get("enum"):
        return " or ".join(f"`{choice}`" for choice in choices)
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "type" not in field:
        return "number or string"
    kind = str(field["type"])
    if kind == "array":
        return f"list of {_type(field['items'])}"
    low, high = (_said(field.get(bound)) for bound in ("minimum", "maximum"))
    bounds = [f"≥ {low}"] * (low is not None) + [f"≤ {high}"] * (high is not None)
    return _cell(" ".join([kind, ", ".join(bounds)]).strip())


def _said(bound: float | None) -> float | None:
    """A bound that is worth saying: that a number has 32 bits is Kubernetes' habit, not the field's."""
    return None if bound is None or abs(bound) >= _INT32 else bound


def _rules(path: str, schema: Schema) -> list[str]:
    """What CEL says beyond the types, each with the path that it is about."""
    found = [f"- `{where}`: {rule['message']}" for where, rule in _all_rules(path, schema) if "message" in rule]
    return ["", "Rules:", "", *found] if found else []


def _all_rules(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    for rule in schema.get("x-kubernetes-validations", []):
        yield path, rule
    for name, field in schema.get("properties", {}).items():
        yield from _all_rules(f"{path}.{name}", field)
    if schema.get("type") == "array":
        yield from _all_rules(f"{path}[]", schema["items"])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
