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
    It names one extended resource at most: the first that nodes have.

    Where no vendor has nodes yet (accelerator pools that the cluster autoscaler keeps at zero), the user's order
    alone decides. Raises RuntimeNotResolved.
    """
    runtime = _resolved(service, runtimes, facts)
    return on_resource(runtime, first_resource(runtime, facts))


def first_resource(runtime: InferenceRuntime, facts: ClusterFacts) -> str | None:
    """Of the runtime's extended resources the first that nodes have; the first where none has any; None without one."""
    names = runtime.spec.accelerator.resources
    present = [name for name in names if name in (facts.accelerators or ())]
    return next(iter([*present, *names]), None)


def on_resource(runtime: InferenceRuntime, name: str | None) -> InferenceRuntime:
    """The runtime with this one extended resource."""
    accelerator = runtime.spec.accelerator
    if accelerator.resource_name == name and not accelerator.resource_names:
        return runtime
    accelerator = accelerator.model_copy(update={"resource_name": name, "resource_names": []})
    return runtime.model_copy(update={"spec": runtime.spec.model_copy(update={"accelerator": accelerator})})


def check_fits(service: LLMService, runtime: InferenceRuntime) -> None:
    """Raise RuntimeNotResolved where the runtime can't give what `spec.resources` asks for."""
    _fitting(service, [runtime])


def _resolved(service: LLMService, runtimes: Sequence[InferenceRuntime], facts: ClusterFacts) -> InferenceRuntime:
    choice = service.spec.runtime
    where = f"LLMService {'/'.join(service.key)}: spec.runtime"
    if choice.name is not None:
        for runtime in runtimes:
            if runtime.metadata.name == choice.name:
                return _fitting(service, [runtime])[0]
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
    matching = _fitting(service, matching)
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


def _fitting(service: LLMService, runtimes: list[InferenceRuntime]) -> list[InferenceRuntime]:
    """Those that can give what `spec.resources` asks for. Raises RuntimeNotResolved where none can."""
    return _counting(service, _sharing_if_asked(service, _with_an_image(service, runtimes)))


def _with_an_image(service: LLMService, runtimes: list[InferenceRuntime]) -> list[InferenceRuntime]:
    given = [runtime for runtime in runtimes if not runtime.spec.container.image_wanted]
    if not given:
        wanted = "; ".join(f"InferenceRuntime {it.metadata.name}: {it.spec.container.image_wanted}" for it in runtimes)
        raise RuntimeNotResolved("RuntimeInvalid", f"LLMService {'/'.join(service.key)}: spec.runtime: {wanted}")
    return given


def _counting(service: LLMService, runtimes: list[InferenceRuntime]) -> list[InferenceRuntime]:
    wanted = service.spec.resources.accelerators
    allowed = {runtime.metadata.name: _counts(runtime) for runtime in runtimes}
    fitting = [runtime for runtime in runtimes if wanted in (allowed[runtime.metadata.name] or [wanted])]
    if not fitting:
        counts = "; ".join(f"{name} has {', '.join(map(str, counts))}" for name, counts in sorted(allowed.items()))
        raise RuntimeNotResolved(
            "CountNotAllowed",
            f"LLMService {'/'.join(service.key)}: spec.resources.accelerators: found {wanted}; "
            f"InferenceRuntime {counts}",
        )
    return fitting


def _counts(runtime: InferenceRuntime) -> list[int]:
    """The counts that may be asked for; empty for any. Where no resource and no claim has the devices nothing counts
    them: an engine has one, or none, whatever it asks for."""
    accelerator = runtime.spec.accelerator
    counted = accelerator.resources or accelerator.resource_claims
    return accelerator.allowed_counts or ([] if counted else [0, 1])


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
    accelerator = runtime.spec.accelerator
    names, selector = accelerator.resources, accelerator.node_selector
    if facts.accelerators is None or any(name in facts.accelerators for name in names):
        return True
    if any(name in facts.exhausted for name in names):
        return False
    # Nothing says whether such devices are there; the runtime's nodes may be.
    if selector:
        return any(selector.items() <= labels.items() for labels in facts.node_labels)
    return not names
