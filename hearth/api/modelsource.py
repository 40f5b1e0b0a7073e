"""Where a model's weights come from: the URI in `spec.model.source.uri`.

Knows the schemes and their shapes; not how an engine or a volume makes use of them.
"""

import re
from dataclasses import dataclass
from typing import Literal

Scheme = Literal["hf", "modelscope", "pvc", "oci", "s3"]

SHAPES = (
    "hf://ORG/NAME[@REVISION], modelscope://ORG/NAME[@REVISION], pvc://CLAIM[/PATH], oci://IMAGE, s3://BUCKET[/PREFIX]"
)
# The same as one expression, for a CRD's CEL rule; what it lets through is still parsed.
URI_PATTERN = (
    "^((hf|huggingface|modelscope)://[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*(@[A-Za-z0-9_][A-Za-z0-9_./-]*)?"
    "|pvc://[a-z0-9][a-z0-9.-]*(/[A-Za-z0-9_.-]+)*/?|oci://[a-z0-9][A-Za-z0-9_./:@-]*|s3://[a-z0-9][A-Za-z0-9_.=+/-]*)$"
)
_ALIASES: dict[str, Scheme] = {
    "hf": "hf",
    "huggingface": "hf",
    "modelscope": "modelscope",
    "pvc": "pvc",
    "oci": "oci",
    "s3": "s3",
}
_REPO = re.compile(r"^(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(@(?P<revision>[\w][\w./-]*))?$", re.ASCII)
_CLAIM = re.compile(r"^(?P<claim>[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(/(?P<path>[\w.-]+(/[\w.-]+)*/?))?$", re.ASCII)
_IMAGE = re.compile(r"^[a-z0-9][\w.:-]*(/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$", re.ASCII)
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.=+-]+)*/?$", re.ASCII)


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
    if ".." in rest.split("/"):
        raise ValueError("a path must not go up with '..'")
    match scheme:
        case "hf" | "modelscope":
            if found := _REPO.fullmatch(rest):
                return ModelURI(scheme, found["repo"], revision=found["revision"])
            raise ValueError(f"expected {prefix}://ORG/NAME or {prefix}://ORG/NAME@REVISION")
        case "pvc":
            if found := _CLAIM.fullmatch(rest):
                return ModelURI(scheme, found["claim"], path=(found["path"] or "").rstrip("/") or None)
            raise ValueError("expected pvc://CLAIM or pvc://CLAIM/SUB/PATH")
        case "oci":
            if _IMAGE.fullmatch(rest):
                return ModelURI(scheme, rest)
            raise ValueError("expected oci://REGISTRY/IMAGE:TAG")
        case "s3":
            if _BUCKET.fullmatch(rest):
                return ModelURI(scheme, rest.rstrip("/"))
            raise ValueError("expected s3://BUCKET or s3://BUCKET/PREFIX")
