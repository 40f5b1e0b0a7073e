"""The whole translation of one LLMService."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.crd_translator.deployment import render_deployment
from hearth.crd_translator.facts import ClusterFacts
from hearth.crd_translator.prewarm import render_prewarm
from hearth.crd_translator.resolve import resolve_runtime
from hearth.crd_translator.scaledobject import render_scaled_object
from hearth.crd_translator.services import render_alias_service, render_engine_service
from hearth.crd_translator.storage import has_claim, render_claim


@dataclass(frozen=True, slots=True)
class Rendered:
    """What an LLMService becomes: the runtime that was chosen, and its objects in the order to apply them."""

    runtime: InferenceRuntime
    objects: tuple[dict[str, Any], ...]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The objects of one kind, in order."""
        return [rendered for rendered in self.objects if rendered["kind"] == kind]


def render(service: LLMService, runtimes: Sequence[InferenceRuntime], facts: ClusterFacts | None = None) -> Rendered:
    """Translate one LLMService. Raises RuntimeNotResolved where no runtime fits."""
    facts = facts or ClusterFacts()
    runtime = resolve_runtime(service, runtimes, facts)
    objects: list[dict[str, Any]] = []
    if has_claim(service):
        objects.append(render_claim(service, runtime))
        if service.spec.cache.prewarm:
            objects.append(render_prewarm(service, runtime))
    objects += [
        render_engine_service(service, runtime),
        render_alias_service(service, facts),
        render_deployment(service, runtime),
        render_scaled_object(service, facts),
    ]
    return Rendered(runtime, tuple(objects))
