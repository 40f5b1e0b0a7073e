"""What every API object shares: the group, the strictness, metadata, and the one shape of a rule's error."""

import re
from typing import Annotated, Any, Literal, NoReturn, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from hearth.group import API_VERSION, GROUP, VERSION

__all__ = ["API_VERSION", "GROUP", "VERSION"]

MAX_INT32 = 2**31 - 1
# What one object may hold of what we pass on as it is. etcd takes 1.5 MiB; these bound one text, list or map of it.
MAX_WORD = 317  # a label's or an extended resource's name: a prefix of 253, a slash, 63
MAX_VALUE = 32_768
MAX_ITEMS = 256
MAX_DEPTH = 16
MAX_PARTS = 1024

# RFC 1035 label, as Kubernetes asks of a Service's name: every LLMService gets a Service of its own name.
_DNS_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
# RFC 1123 label: a namespace's name.
_NAMESPACE = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
# RFC 1123 subdomain: the name of most other objects.
_DNS_SUBDOMAIN = re.compile(r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")


def refuse(field: str, found: object, allowed: str) -> NoReturn:
    """Refuse a value with the shape that every message of this API has.

    `field` is the path below the model that checks the rule ("" for the value itself), `allowed` says what to do.
    Raises PydanticCustomError, which pydantic reports with the path of that model.
    """
    # pydantic formats the message from the context, so nothing found in the manifest can be taken for a template.
    raise PydanticCustomError(
        "hearth_rule", "found {found}; {allowed}", {"field": field, "found": repr(found), "allowed": allowed}
    )


def cel(*rules: tuple[str, str]) -> ConfigDict:
    """The rules of a model as the API server checks them: (CEL expression over `self`, message or message expression).

    A message that begins with a quote is an expression; not over numbers, whose text the API server takes for endless.
    They say again what the model's validators say, since CEL is what the API server has:
    https://kubernetes.io/docs/reference/using-api/cel/
    """
    validations: list[JsonValue] = [
        {"rule": rule, ("messageExpression" if message.startswith("'") else "message"): message}
        for rule, message in rules
    ]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": validations})


def _dns_label(value: str) -> str:
    if len(value) > 63 or not _DNS_LABEL.fullmatch(value):
        refuse("", value, "expected a DNS label: at most 63 of a-z, 0-9 and '-', beginning with a letter")
    return value


def _namespace(value: str) -> str:
    if len(value) > 63 or not _NAMESPACE.fullmatch(value):
        refuse("", value, "expected a namespace: at most 63 of a-z, 0-9 and '-', no '-' at its ends")
    return value


def _dns_subdomain(value: str) -> str:
    if len(value) > 253 or not _DNS_SUBDOMAIN.fullmatch(value):
        refuse("", value, "expected a Kubernetes object name: a-z, 0-9, '-' and '.', at most 253 characters")
    return value


DnsLabel = Annotated[str, AfterValidator(_dns_label)]
Namespace = Annotated[str, AfterValidator(_namespace)]
ObjectName = Annotated[
    str, AfterValidator(_dns_subdomain), Field(json_schema_extra={"maxLength": 253, "pattern": _DNS_SUBDOMAIN.pattern})
]
Word = Annotated[str, Field(max_length=MAX_WORD)]
"""A name of somebody else's: a label's, a resource's, a metric's."""
Value = Annotated[str, Field(max_length=MAX_VALUE)]
"""An argument, a script, the value of a variable."""
LabelValue = Annotated[str, Field(max_length=63)]
Labels = Annotated[dict[Word, LabelValue], Field(max_length=64)]
Count = Annotated[int, Field(ge=0, le=MAX_INT32)]
Positive = Annotated[int, Field(ge=1, le=MAX_INT32)]
Int32 = Annotated[int, Field(ge=-MAX_INT32 - 1, le=MAX_INT32)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]


def bounded(value: dict[str, Any]) -> dict[str, Any]:
    """A part that Kubernetes reads and we don't: as deep and as large as its own objects ever are.

    No recursion: a part that is nested too deep is what this is for.
    """
    parts, level = 0, [cast("object", value)]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        parts += len(level)
        if parts > MAX_PARTS:
            refuse("", "more than that", f"expected at most {MAX_PARTS} fields and items in it")
        if not level:
            return value
    refuse("", "more than that", f"expected it nested at most {MAX_DEPTH} deep")


def _inside(part: object) -> list[object]:
    if isinstance(part, dict):
        if any(len(name) > MAX_WORD for name in part):
            refuse("", "a longer one", f"expected names of at most {MAX_WORD} characters in it")
        return list(part.values())
    if isinstance(part, str) and len(part) > MAX_VALUE:
        refuse("", "a longer one", f"expected texts of at most {MAX_VALUE} characters in it")
    return part if isinstance(part, list) else []


FreeForm = Annotated[dict[str, Any], AfterValidator(bounded)]
"""A part of a pod that is passed on as it is."""


class ApiModel(BaseModel):
    """A part of an object: camelCase outside, unknown fields refused, no silent conversion, immutable."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=True, use_enum_values=True
    )


class ObjectMeta(ApiModel):
    """metadata. What the API server adds (uid, resourceVersion, managedFields, …) is taken and not looked at."""

    model_config = ConfigDict(extra="allow")

    name: ObjectName
    namespace: Namespace | None = None
    uid: str | None = None
    generation: int | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class SecretRef(ApiModel):
    """A Secret in the LLMService's namespace."""

    name: ObjectName = Field(description="The Secret's name.")


class Resource(ApiModel):
    """The envelope of an object of this API group."""

    api_version: Literal["serving.hearth.dev/v1alpha1"] = "serving.hearth.dev/v1alpha1"
    metadata: ObjectMeta

    def to_manifest(self) -> dict[str, Any]:
        """The object as plain data with every default filled in, as the API server would store it."""
        return self.model_dump(by_alias=True, exclude_none=True)
