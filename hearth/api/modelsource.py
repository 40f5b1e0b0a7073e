"""Where a model's weights come from: the URI in `spec.model.source.uri`.

Knows the schemes and their shapes; not how an engine or a volume makes use of them.
"""

import re
from dataclasses import dataclass
from typing import Literal

from hearth.api.base import IMAGE, SUBDOMAIN

Scheme = Literal["hf", "modelscope", "pvc", "oci", "s3"]

SHAPES = (
    "hf://ORG/NAME[@REVISION], modelscope://ORG/NAME[@REVISION], pvc://CLAIM[/PATH], oci://IMAGE, s3://BUCKET[/PREFIX]"
)
# In what RE2 and `re` have in common, since the CRD's CEL is made from them too.
_NAME = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_HUB = f"(?P<repo>{_NAME}/{_NAME})(@(?P<revision>[A-Za-z0-9_][A-Za-z0-9_./-]*))?"
_CLAIM = f"(?P<claim>{SUBDOMAIN})(/(?P<path>[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?)?)?"
_BUCKET = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_.=+-]+)*/?"
URI_PATTERN = f"^((hf|huggingface|modelscope)://{_HUB}|pvc://{_CLAIM}|oci://{IMAGE}|s3://{_BUCKET})$"
UP_PATTERN = "/[.][.](/|$)"
UP_PROBLEM = "a path must not go up with '..'"
_ALIASES: dict[str, Scheme] = {
    "hf": "hf",
    "huggingface": "hf",
    "modelscope": "modelscope",
    "pvc": "pvc",
    "oci": "oci",
    "s3": "s3",
}
_SHAPES = {"hf": _HUB, "modelscope": _HUB, "pvc": _CLAIM, "oci": IMAGE, "s3": _BUCKET}
_COMPILED = {scheme: re.compile(shape) for scheme, shape in _SHAPES.items()}


@dataclass(frozen=True, slots=True)
class ModelURI:
    """A parsed model URI.

    `location` is the repository (`org/name`) of a hub, the claim's name, the image, or `bucket/prefix`;
    `revision` is a hub's branch, tag or commit; `path` is the folder inside a claim.
    """

    scheme: Scheme
    location: str
    revision: str | None = None
    path: str | None = None

    @property
    def name(self) -> str:
        """The model's short name: the last part of its location."""
        return (self.path or self.location).rstrip("/").rsplit("/", 1)[-1]

    @property
    def hub(self) -> bool:
        """Whether the weights are downloaded from a model hub by the engine itself."""
        return self.scheme in ("hf", "modelscope")


def parse_model_uri(text: str) -> ModelURI:
    """Parse `spec.model.source.uri`.

    Raises ValueError, with the shapes that are allowed, where `text` has none of them.
    """
    prefix, separator, rest = text.partition("://")
    scheme = _ALIASES.get(prefix)
    if not separator or scheme is None:
        raise ValueError(f"expected one of {SHAPES}")
    if re.search(UP_PATTERN, text):
        raise ValueError(UP_PROBLEM)
    found = _COMPILED[scheme].fullmatch(rest)
    match scheme:
        case "hf" | "modelscope":
            if found:
                return ModelURI(scheme, found["repo"], revision=found["revision"])
            raise ValueError(f"expected {prefix}://ORG/NAME or {prefix}://ORG/NAME@REVISION")
        case "pvc":
            if found:
                return ModelURI(scheme, found["claim"], path=(found["path"] or "").rstrip("/") or None)
            raise ValueError("expected pvc://CLAIM or pvc://CLAIM/SUB/PATH")
        case "oci":
            if found:
                return ModelURI(scheme, rest)
            raise ValueError("expected oci://REGISTRY/IMAGE:TAG")
        case "s3":
            if found:
                return ModelURI(scheme, rest.rstrip("/"))
            raise ValueError("expected s3://BUCKET or s3://BUCKET/PREFIX")
