"""LLMService and InferenceRuntimes in, Kubernetes objects out: pure functions, no I/O, no clock."""

from hearth.crd_translator.deployment import readiness_path
from hearth.crd_translator.facts import ClusterFacts, EngineClient
from hearth.crd_translator.render import Rendered, render, render_on, render_without_runtime
from hearth.crd_translator.resolve import RuntimeNotResolved

__all__ = [
    "ClusterFacts",
    "EngineClient",
    "Rendered",
    "RuntimeNotResolved",
    "readiness_path",
    "render",
    "render_on",
    "render_without_runtime",
]
