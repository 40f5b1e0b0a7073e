"""What every API object shares: the group, the strictness, metadata, and the one shape of a rule's error."""

import re
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

GROUP = "serving.hearth.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

# RFC 1035 label, as Kubernetes asks of a Service's name: every LLMService gets a Service of its own name.
_DNS_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
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


def _dns_subdomain(value: str) -> str:
    if len(value) > 253 or not _DNS_SUBDOMAIN.fullmatch(value):
        refuse("", value, "expected a Kubernetes object name: a-z, 0-9, '-' and '.', at most 253 characters")
    return value


DnsLabel = Annotated[str, AfterValidator(_dns_label)]
ObjectName = Annotated[
    str, AfterValidator(_dns_subdomain), Field(json_schema_extra={"maxLength": 253, "pattern": _DNS_SUBDOMAIN.pattern})
]


class ApiModel(BaseModel):
    """A part of an object: camelCase outside, unknown fields refused, no silent conversion, immutable."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=True, use_enum_values=True
    )


class ObjectMeta(ApiModel):
    """metadata. What the API server adds (uid, resourceVersion, managedFields, …) is taken and not looked at."""

    model_config = ConfigDict(extra="allow")

    name: ObjectName
    namespace: DnsLabel | None = None
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
