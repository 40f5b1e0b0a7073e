"""The whole translation of one LLMService."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.crd_translator.deployment import render_deployment
from hearth.crd_translator.facts import ClusterFacts
from hearth.crd_translator.networkpolicy import render_network_policy
from hearth.crd_translator.prewarm import prewarms, render_prewarm
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
    return render_on(service, resolve_runtime(service, runtimes, facts), facts)


def render_on(service: LLMService, runtime: InferenceRuntime, facts: ClusterFacts) -> Rendered:
    """Translate one LLMService for a runtime with one extended resource at most. Raises RuntimeNotResolved where its
    engine can't do what is asked."""
    objects: list[dict[str, Any]] = []
    if has_claim(service):
        objects.append(render_claim(service, runtime))
        if prewarms(service, runtime):
            objects.append(render_prewarm(service, runtime))
    if facts.engine_clients:  # before there is an engine
        objects.append(render_network_policy(service, facts))
    alias, scaled_object = render_without_runtime(service, facts)
    objects += [render_engine_service(service, runtime), alias, render_deployment(service, runtime), scaled_object]
    return Rendered(runtime, tuple(objects))


def render_without_runtime(service: LLMService, facts: ClusterFacts) -> tuple[dict[str, Any], dict[str, Any]]:
    """What no runtime has a say in: the Service of the LLMService's name, and when replicas come and go."""
    return render_alias_service(service, facts), render_scaled_object(service, facts)
