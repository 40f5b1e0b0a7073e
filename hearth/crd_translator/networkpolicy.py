"""Who reaches the engines of an LLMService. https://kubernetes.io/docs/concepts/services-networking/network-policies/"""

from typing import Any

from hearth.api.llmservice import LLMService
from hearth.api.names import engine_service
from hearth.crd_translator.facts import ClusterFacts, EngineClient
from hearth.crd_translator.names import labels, selector


def render_network_policy(service: LLMService, facts: ClusterFacts) -> dict[str, Any]:
    """The NetworkPolicy that lets `facts.engine_clients` reach the engines, and nobody else, on any port.

    Who reaches a pod's port is in no queue, needs no key, and is not seen by what decides when the pod goes. Probes of
    the kubelet come from the pod's node, which no policy keeps out.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": engine_service(service.metadata.name),
            "namespace": service.metadata.namespace,
            "labels": labels(service),
        },
        "spec": {
            "podSelector": {"matchLabels": selector(service)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [_peer(client) for client in facts.engine_clients]}],
        },
    }


def _peer(client: EngineClient) -> dict[str, Any]:
    # Every namespace has this label with its name, and nobody can change it.
    peer: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": client.namespace}}}
    if client.name:
        peer["podSelector"] = {"matchLabels": {"app.kubernetes.io/name": client.name}}
    return peer
