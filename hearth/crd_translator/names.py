"""Names and labels of the objects that belong to an LLMService."""

from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL, MANAGED_BY
from hearth.api.llmservice import LLMService


def selector(service: LLMService) -> dict[str, str]:
    """The labels that select the engine pods, and nothing else, of an LLMService."""
    return {LLMSERVICE_LABEL: service.metadata.name, COMPONENT_LABEL: "engine"}


def labels(service: LLMService, component: str = "engine") -> dict[str, str]:
    """The recommended labels plus ours."""
    return {
        "app.kubernetes.io/name": service.metadata.name,
        **MANAGED_BY,
        COMPONENT_LABEL: component,
        LLMSERVICE_LABEL: service.metadata.name,
    }
