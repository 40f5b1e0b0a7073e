"""Names and labels of the objects that belong to an LLMService."""

import hashlib

from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.api.llmservice import LLMService


def child_name(service: LLMService, suffix: str) -> str:
    """`NAME-suffix`, at most 63 characters; a longer one is cut and made unique by a hash of the whole."""
    whole = f"{service.metadata.name}-{suffix}"
    if len(whole) <= 63:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{service.metadata.name[: 63 - len(suffix) - 10].rstrip('-')}-{digest}-{suffix}"


def selector(service: LLMService) -> dict[str, str]:
    """The labels that select the engine pods, and nothing else, of an LLMService."""
    return {LLMSERVICE_LABEL: service.metadata.name, COMPONENT_LABEL: "engine"}


def labels(service: LLMService, component: str = "engine") -> dict[str, str]:
    """The recommended labels plus ours."""
    return {
        "app.kubernetes.io/name": service.metadata.name,
        "app.kubernetes.io/managed-by": "hearth",
        COMPONENT_LABEL: component,
        LLMSERVICE_LABEL: service.metadata.name,
    }
