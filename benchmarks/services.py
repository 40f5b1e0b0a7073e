"""LLMServices and a runtime for benchmarks."""

import sys
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.api.llmservice import LLMService
from hearth.api.names import engine_service
from hearth.emulators.store import ObjectStore


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


def put_engine(store: ObjectStore, service: LLMService, port: int) -> None:
    """List a ready engine of the service on 127.0.0.1, in a slice as Kubernetes' controller makes one."""
    namespace, name = service.key
    about = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": engine_service(name), "namespace": namespace}}
    owner = store.get("services", namespace, engine_service(name)) or store.put("services", {**about, "spec": {}})
    item = {
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
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": engine_service(name),
                    "controller": True,
                    "uid": owner["metadata"]["uid"],
                }
            ],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }
    store.put("endpointslices", item)


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
