"""Builders of API objects for tests: valid ones, changed where the test says so."""

import re
from pathlib import Path
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.api.manifest import load_runtimes, parse_llmservice, set_fields

ROOT = Path(__file__).resolve().parent.parent
SEED = ROOT / "examples" / "deepseek-v3-small.yaml"


def llmservice_manifest(name: str = "qwen", namespace: str = "ai", *assignments: str) -> dict[str, Any]:
    """A small LLMService as plain data, with `path=value` assignments applied."""
    manifest = {
        "apiVersion": "serving.hearth.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"source": {"uri": "hf://Qwen/Qwen3-8B"}},
            "runtime": {"selector": {"vendor": ["nvidia"]}},
        },
    }
    return set_fields(manifest, assignments)


def llmservice(*assignments: str, name: str = "qwen", namespace: str = "ai") -> LLMService:
    return parse_llmservice(llmservice_manifest(name, namespace, *assignments))


def runtime_manifest(*assignments: str, name: str = "r") -> dict[str, Any]:
    """A small InferenceRuntime as plain data, with `path=value` assignments applied."""
    manifest = {
        "apiVersion": "serving.hearth.dev/v1alpha1",
        "kind": "InferenceRuntime",
        "metadata": {"name": name},
        "spec": {
            "family": "vllm",
            "vendor": "nvidia",
            "container": {"image": "nvidia:1", "args": ["{{ .Model.Path }}"]},
            "accelerator": {"resourceName": "nvidia.com/gpu"},
        },
    }
    return set_fields(manifest, assignments)


def runtime(name: str = "r", vendor: str = "nvidia", priority: int = 0, **spec: Any) -> InferenceRuntime:
    """An InferenceRuntime whose device has the vendor's name, as far as a device may have it."""
    word = re.sub(r"[^a-z0-9]", "", vendor.lower()) or "own"
    return InferenceRuntime.model_validate(
        {
            "apiVersion": "serving.hearth.dev/v1alpha1",
            "kind": "InferenceRuntime",
            "metadata": {"name": name},
            "spec": {
                "family": "vllm",
                "vendor": vendor,
                "priority": priority,
                "container": {"image": f"{word}:1", "args": ["{{ .Model.Path }}"]},
                "accelerator": {"resourceName": f"{word}.com/gpu"},
                **spec,
            },
        }
    )


def bundled_runtimes() -> list[InferenceRuntime]:
    return load_runtimes(ROOT / "runtimes")


def endpoint_slice(service: str, namespace: str, *addresses: str, name: str = "", ready: bool = True) -> dict[str, Any]:
    """An EndpointSlice of engines; the addresses are host:port with one port."""
    ports = {address.rpartition(":")[2] for address in addresses}
    assert len(ports) <= 1, "a slice has one list of ports"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name or f"{service}-slice",
            "namespace": namespace,
            "labels": {
                "serving.hearth.dev/llmservice": service,
                "app.kubernetes.io/component": "engine",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Service", "name": f"{service}-engine", "uid": "u", "controller": True}
            ],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": int(port)} for port in ports],
        "endpoints": [
            {"addresses": [address.rpartition(":")[0]], "conditions": {"ready": ready}} for address in addresses
        ],
    }
