"""What every API object shares: the group, the strictness, metadata, and the one shape of a rule's error."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from hearth.group import API_VERSION, GROUP, VERSION

__all__ = ["API_VERSION", "GROUP", "VERSION"]

MAX_INT32 = 2**31 - 1
# What one object may hold of what we pass on as it is. etcd takes 1.5 MiB; these bound one text, list or map of it.
MAX_WORD = 317  # a label's or an extended resource's name: a prefix of 253, a slash, 63
MAX_VALUE = 32_768
MAX_ITEMS = 256
MAX_DEPTH = 16
MAX_PARTS = 1024

# RFC 1123 label: a namespace's name; and a Service's, since Kubernetes 1.36.
_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
# RFC 1123 subdomain, as k8s.io/apimachinery/pkg/util/validation has it: the name of most other objects.
_LABEL_1123 = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = f"{_LABEL_1123}([.]{_LABEL_1123})*"
# The part of a label's or a resource's name behind the slash.
_NAME_PART = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_QUALIFIED_NAME = f"^({SUBDOMAIN}/)?{_NAME_PART}$"
_LABEL_VALUE = f"^({_NAME_PART})?$"
# An extended resource has a domain that is not Kubernetes' own; quotas call it requests.NAME.
_RESOURCE_NAME = f"^{SUBDOMAIN}/{_NAME_PART}$"
# A repository with a tag, a digest or both, as github.com/distribution/reference reads it.
_IMAGE_PART = "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*"
_HOST_PART = "[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
_IMAGE_HOST = rf"({_HOST_PART}([.]{_HOST_PART})*|\[[0-9A-Fa-f:]+\])(:[0-9]+)?"
_DIGEST = "@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})"
IMAGE = f"({_IMAGE_HOST}/)?{_IMAGE_PART}(/{_IMAGE_PART})*(:[A-Za-z0-9_][-A-Za-z0-9_.]{{0,127}})?({_DIGEST})?"


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


@dataclass(frozen=True, slots=True)
class Matches:
    """Makes an Annotated str match a pattern: in the models with words, in the CRD as its `pattern`.

    The pattern is written in what RE2 and `re` have in common; it begins with ^ and ends with $.
    """

    pattern: str
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        compiled = re.compile(self.pattern)

        def check(value: str) -> str:
            if not compiled.fullmatch(value):
                refuse("", value, f"expected {self.expected}")
            return value

        return no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.pattern}


def _dns_label(value: str) -> str:
    if len(value) > 63 or not _DNS_LABEL.fullmatch(value):
        refuse("", value, "expected a DNS label: at most 63 of a-z, 0-9 and '-', no '-' at its ends")
    return value


def _namespace(value: str) -> str:
    if len(value) > 63 or not _DNS_LABEL.fullmatch(value):
        refuse("", value, "expected a namespace: at most 63 of a-z, 0-9 and '-', no '-' at its ends")
    return value


_FOREIGN = "a domain that is not Kubernetes' own, and no quota's requests."
_FOREIGN_CEL = "!self.contains('kubernetes.io/') && !self.startsWith('requests.')"


def _foreign_domain(value: str) -> str:
    if "kubernetes.io/" in value or value.startswith("requests."):
        refuse("", value, f"expected {_FOREIGN}")
    return value


DnsLabel = Annotated[str, AfterValidator(_dns_label)]
Namespace = Annotated[str, AfterValidator(_namespace)]
ObjectName = Annotated[
    str,
    Field(max_length=253),
    Matches(f"^{SUBDOMAIN}$", "a Kubernetes object name: a-z, 0-9 and '-', with '.' between such labels"),
]
Word = Annotated[str, Field(max_length=MAX_WORD)]
"""A name of somebody else's: a label's, a resource's, a metric's."""
Value = Annotated[str, Field(max_length=MAX_VALUE)]
"""An argument, a script, the value of a variable."""
LabelValue = Annotated[
    str,
    Field(max_length=63),
    Matches(_LABEL_VALUE, "a label's value: A-Z, a-z, 0-9, '-', '_' and '.', no sign at its ends"),
]
QualifiedName = Annotated[
    str,
    Field(max_length=MAX_WORD),
    Matches(_QUALIFIED_NAME, "a label's name: at most 63 characters, perhaps DOMAIN/ before"),
]
Labels = Annotated[
    dict[QualifiedName, LabelValue],
    Field(
        max_length=64,
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": f"self.all(name, name.size() <= {MAX_WORD} && name.matches('{_QUALIFIED_NAME}'))",
                    "message": "expected labels' names: at most 63 characters, perhaps DOMAIN/ before",
                }
            ]
        },
    ),
]
ResourceName = Annotated[
    str,
    Field(max_length=MAX_WORD),
    Matches(_RESOURCE_NAME, "an extended resource: DOMAIN/NAME, such as nvidia.com/gpu"),
    AfterValidator(_foreign_domain),
    Field(json_schema_extra={"x-kubernetes-validations": [{"rule": _FOREIGN_CEL, "message": f"expected {_FOREIGN}"}]}),
]
"""An extended resource's name: https://kubernetes.io/docs/tasks/administer-cluster/extended-resource-node/"""
ImageName = Annotated[
    str, Field(min_length=1, max_length=1024), Matches(f"^{IMAGE}$", "an image: [REGISTRY/]NAME[:TAG][@DIGEST]")
]
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

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """What is null is not there, as for the API server: `scaling:` with nothing but comments below it.

        https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting-and-nullable
        """
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None}


class ObjectMeta(ApiModel):
    """metadata. What the API server adds (uid, resourceVersion, managedFields, …) is taken and not looked at."""

    model_config = ConfigDict(extra="allow")

    name: ObjectName
    namespace: Namespace | None = None
    uid: str | None = None
    generation: int | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


SecretKey = Annotated[
    str,
    Field(max_length=253),
    Matches("^[-._a-zA-Z0-9]+$", "the name of a Secret's entry: A-Z, a-z, 0-9, '-', '_', '.'"),
]
"""An entry of a Secret: https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data"""


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
