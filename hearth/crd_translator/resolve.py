"""Which InferenceRuntime serves an LLMService."""

from collections.abc import Sequence

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.api.reasons import ReasonName
from hearth.crd_translator.facts import ClusterFacts


class RuntimeNotResolved(Exception):
    """No runtime can be chosen. `reason` is a condition's CamelCase reason, the text says what to do."""

    def __init__(self, reason: ReasonName, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def resolve_runtime(service: LLMService, runtimes: Sequence[InferenceRuntime], facts: ClusterFacts) -> InferenceRuntime:
    """The runtime by name; or by the user's order of vendors, among those the cluster has nodes for, then priority.

    Where no vendor has nodes yet (accelerator pools that the cluster autoscaler keeps at zero), the user's order
    alone decides. Raises RuntimeNotResolved.
    """
    choice = service.spec.runtime
    where = f"LLMService {'/'.join(service.key)}: spec.runtime"
    if choice.name is not None:
        for runtime in runtimes:
            if runtime.metadata.name == choice.name:
                return _sharing_if_asked(service, [runtime])[0]
        known = ", ".join(sorted(runtime.metadata.name for runtime in runtimes)) or "none"
        raise RuntimeNotResolved(
            "RuntimeNotFound", f"{where}.name: found {choice.name!r}; there is no such InferenceRuntime, only {known}"
        )
    assert choice.selector is not None  # LLMService asks for exactly one of the two
    vendors = choice.selector.vendor
    matching = [runtime for runtime in runtimes if runtime.spec.vendor in vendors]
    if not matching:
        known = ", ".join(sorted({runtime.spec.vendor for runtime in runtimes})) or "none"
        raise RuntimeNotResolved(
            "NoRuntimeForVendor",
            f"{where}.selector.vendor: found {', '.join(vendors)}; the InferenceRuntimes are for: {known}",
        )
    matching = _sharing_if_asked(service, matching)
    present = [runtime for runtime in matching if _has_nodes(runtime, facts)] or matching
    first = min(vendors.index(runtime.spec.vendor) for runtime in present)
    candidates = [runtime for runtime in present if runtime.spec.vendor == vendors[first]]
    top = max(runtime.spec.priority for runtime in candidates)
    best = [runtime for runtime in candidates if runtime.spec.priority == top]
    if len(best) > 1:
        names = " and ".join(sorted(runtime.metadata.name for runtime in best))
        raise RuntimeNotResolved(
            "AmbiguousPriority",
            f"{where}.selector.vendor: InferenceRuntimes {names} for vendor {vendors[first]!r} both have priority "
            f"{top}; give one a higher spec.priority, or choose it with spec.runtime.name",
        )
    return best[0]


def _sharing_if_asked(service: LLMService, runtimes: list[InferenceRuntime]) -> list[InferenceRuntime]:
    fraction = service.spec.resources.fraction
    if fraction is None:
        return runtimes
    sharing: list[InferenceRuntime] = []
    for runtime in runtimes:
        offered = runtime.spec.accelerator.sharing
        if (
            offered.supported
            and (fraction.memory is None or offered.resource_names.memory is not None)
            and (fraction.cores is None or offered.resource_names.cores is not None)
        ):
            sharing.append(runtime)
    if not sharing:
        names = ", ".join(sorted(runtime.metadata.name for runtime in runtimes))
        raise RuntimeNotResolved(
            "SharingNotSupported",
            f"LLMService {'/'.join(service.key)}: spec.resources.fraction: InferenceRuntime {names} does not share a "
            "device this way; drop the fraction or choose a runtime with spec.accelerator.sharing.supported",
        )
    return sharing


def _has_nodes(runtime: InferenceRuntime, facts: ClusterFacts) -> bool:
    resource = runtime.spec.accelerator.resource_name
    return facts.accelerators is None or resource is None or resource in facts.accelerators
