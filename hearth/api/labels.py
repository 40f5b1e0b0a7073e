"""Labels by which the roles find what belongs to an LLMService."""

from hearth.group import GROUP

LLMSERVICE_LABEL = f"{GROUP}/llmservice"
VERSION_ANNOTATION = f"{GROUP}/version"
"""Of engine pods: a digest of the template that they were made of."""
RUNTIME_ANNOTATION = f"{GROUP}/runtime"
VENDOR_ANNOTATION = f"{GROUP}/vendor"
RESOURCE_ANNOTATION = f"{GROUP}/resource-name"
"""Of engines' Deployments: the InferenceRuntime that was chosen, its vendor, and its extended resource, if any."""
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_BY = {"app.kubernetes.io/managed-by": "hearth"}
ENGINE_SELECTOR = f"{LLMSERVICE_LABEL},{COMPONENT_LABEL}=engine"
"""Selects the engines of all LLMServices: their Deployments, pods and EndpointSlices."""
POD_SELECTOR = f"{LLMSERVICE_LABEL},{COMPONENT_LABEL} in (engine,prewarm)"
"""Selects the pods of all LLMServices: engines, and downloads of prewarms."""
