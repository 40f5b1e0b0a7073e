"""The two Services of an LLMService: the engines' own, and the name that clients use."""

from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.api.names import engine_service
from hearth.crd_translator.facts import ClusterFacts
from hearth.crd_translator.names import labels, selector


def render_engine_service(service: LLMService, runtime: InferenceRuntime) -> dict[str, Any]:
    """The headless Service whose EndpointSlices the activators watch."""
    port = runtime.spec.container.port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": engine_service(service.metadata.name),
            "namespace": service.metadata.namespace,
            "labels": labels(service),
        },
        "spec": {
            "clusterIP": "None",
            "selector": selector(service),
            "ports": [{"name": port.name, "port": port.container_port, "targetPort": port.name}],
        },
    }


def render_alias_service(service: LLMService, facts: ClusterFacts) -> dict[str, Any]:
    """The ExternalName Service that makes http://NAME.NAMESPACE.svc/v1 lead to the activators."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service.metadata.name,
            "namespace": service.metadata.namespace,
            "labels": labels(service, "alias"),
        },
        "spec": {"type": "ExternalName", "externalName": facts.activator_host},
    }
