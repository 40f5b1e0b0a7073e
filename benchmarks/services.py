"""LLMServices and a runtime for benchmarks."""

import sys
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.api.llmservice import LLMService
from hearth.api.names import engine_service


def llmservices(count: int) -> list[LLMService]:
    """bench/bench-0 …, served by any runtime of the vendor "none"."""
    return [llmservice(f"bench-{number}") for number in range(count)]


def llmservice(name: str, **endpoint: Any) -> LLMService:
    """bench/NAME, with these fields of spec.endpoint."""
    return LLMService.model_validate(
        {
            "apiVersion": "serving.hearth.dev/v1alpha1",
            "kind": "LLMService",
            "metadata": {"name": name, "namespace": "bench"},
            "spec": {
                "model": {"source": {"uri": "hf://hearth/bench"}},
                "runtime": {"selector": {"vendor": ["none"]}},
                "cache": {"strategy": "None"},
                "endpoint": endpoint,
            },
        }
    )


def endpoint_slice(service: LLMService, port: int) -> dict[str, Any]:
    """A ready engine of the service on 127.0.0.1."""
    namespace, name = service.key
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-{port}",
            "namespace": namespace,
            "labels": {
                LLMSERVICE_LABEL: name,
                COMPONENT_LABEL: "engine",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [{"kind": "Service", "name": engine_service(name), "uid": name, "controller": True}],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }


def stopwatch_runtime() -> InferenceRuntime:
    """The engine of benchmarks/stopwatch.py."""
    return InferenceRuntime.model_validate(
        {
            "apiVersion": "serving.hearth.dev/v1alpha1",
            "kind": "InferenceRuntime",
            "metadata": {"name": "stopwatch"},
            "spec": {
                "family": "stopwatch",
                "vendor": "none",
                "container": {
                    "image": "none",
                    "command": [sys.executable, "-m", "benchmarks.stopwatch"],
                    "port": {"containerPort": 8000},
                    "args": ["0.0.0.0:8000"],  # the pod's own address
                },
                "lifecycle": {"preStopDrain": False},
            },
        }
    )
