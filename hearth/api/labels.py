"""Labels by which the roles find what belongs to an LLMService."""

from hearth.group import GROUP

LLMSERVICE_LABEL = f"{GROUP}/llmservice"
VERSION_ANNOTATION = f"{GROUP}/version"
"""Of engine pods: a digest of the template that they were made of."""
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_BY = {"app.kubernetes.io/managed-by": "hearth"}
ENGINE_SELECTOR = f"{LLMSERVICE_LABEL},{COMPONENT_LABEL}=engine"
"""Selects the engines of all LLMServices: their Deployments, pods and EndpointSlices."""
