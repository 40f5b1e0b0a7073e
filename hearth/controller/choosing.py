"""Which InferenceRuntime serves an LLMService from look to look. Pure: the cluster and a clock in, a choice out.

A choice lasts (docs/decisions/0070). It is made once, and kept in the status while its runtime is there and the user
still lists its vendor. Another takes its place where the user says so, or where the cluster has said so without a
break for minutes, and no replica is there that would end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.labels import RESOURCE_ANNOTATION, RUNTIME_ANNOTATION, VENDOR_ANNOTATION
from hearth.api.llmservice import LLMService
from hearth.api.reasons import ReasonName
from hearth.controller.verdict import Verdict
from hearth.crd_translator import ClusterFacts, RuntimeNotResolved
from hearth.crd_translator.resolve import check_fits, first_resource, on_resource, resolve_runtime
from hearth.kube.objects import KubeObject, instant, mapping, number, text, written

HELD = timedelta(minutes=3)
"""How long another choice must have been the better one. A device plugin's restart takes seconds, a node's minutes."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An InferenceRuntime that can't be read: the vendor that it names, and what is wrong."""

    vendor: str
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What is decided in this look. `runtime` has one extended resource at most; None: the one called `name` can't be
    had now, and what it became stays as it is. `again`: seconds after which the clock may change the choice."""

    name: str
    runtime: InferenceRuntime | None
    verdict: Verdict
    vendor: str
    resource: str | None
    next: KubeObject | None = None
    again: float | None = None

    @property
    def status(self) -> KubeObject:
        """status.choice."""
        made: KubeObject = {"vendor": self.vendor} if self.vendor else {}
        if self.resource is not None:
            made["resourceName"] = self.resource
        if self.next is not None:
            made["next"] = self.next
        return made


def recorded(deployment: KubeObject | None) -> KubeObject:
    """The part of a status that has the choice, as the Deployment that was made of it says: an LLMService that is made
    again beside its orphaned Deployment, or restored from a backup, has no status of its own. {} where it says none."""
    notes = mapping(deployment, "metadata", "annotations")
    name, vendor, resource = (
        text(notes, each) for each in (RUNTIME_ANNOTATION, VENDOR_ANNOTATION, RESOURCE_ANNOTATION)
    )
    choice = {"vendor": vendor, "resourceName": resource}
    return {"resolvedRuntime": name, "choice": {key: value for key, value in choice.items() if value}} if name else {}


def choose(
    service: LLMService,
    status: KubeObject,
    runtimes: Sequence[InferenceRuntime],
    unreadable: Mapping[str, Unreadable],
    facts: ClusterFacts,
    *,
    idle: bool,
    now: datetime,
) -> Choice:
    """`status` is what was written of the LLMService last, or what is `recorded`; `idle`: there is no replica of
    it, and none is asked for.

    Raises RuntimeNotResolved where nothing was chosen yet, or the user chose anew, and nothing can be chosen.
    """
    name, known = text(status, "resolvedRuntime"), mapping(status, "choice")
    current = next((runtime for runtime in runtimes if runtime.metadata.name == name), None)
    vendor = text(known, "vendor") or (current.spec.vendor if current is not None else "")
    resource = text(known, "resourceName") or None
    better, refusal = _resolved(service, runtimes, facts)
    # Where no node can say that it has what nodes have named, nothing is known, and nothing is the better one.
    blind = facts.accelerators is None and bool(facts.exhausted)
    if not name or _withdrawn(service, status, vendor, current):
        if better is None:
            raise _refusal(service, unreadable, refusal)
        return _chosen(better)
    if name in unreadable:
        why = f"InferenceRuntime {name}, which serves it, can't be read: {unreadable[name].why}; what runs stays"
        return Choice(name, None, Verdict("RuntimeResolved", False, "RuntimeInvalid", why), vendor, resource)
    lost = _lost(service, current)
    kept = None if current is None or lost is not None else on_resource(current, _resource(current, resource, facts))
    next_, age = (None, timedelta()) if blind and kept is not None else _next(known, better, kept, now)
    if better is not None and next_ is not None and idle and age >= HELD:
        return _chosen(better)
    again = (HELD - age).total_seconds() if idle and next_ is not None else None
    if kept is not None:
        resource = kept.spec.accelerator.resource_name
        return Choice(name, kept, _served(kept), kept.spec.vendor, resource, next_, again)
    reason, words = lost or ("RuntimeNotFound", "")
    why = f"InferenceRuntime {name}, which serves it, {words}; what runs stays, {_then(better, refusal)}"
    return Choice(name, None, Verdict("RuntimeResolved", False, reason, why), vendor, resource, next_, again)


def _resolved(
    service: LLMService, runtimes: Sequence[InferenceRuntime], facts: ClusterFacts
) -> tuple[InferenceRuntime | None, RuntimeNotResolved | None]:
    """What would be chosen if nothing had been."""
    try:
        return resolve_runtime(service, runtimes, facts), None
    except RuntimeNotResolved as error:
        return None, error


def _withdrawn(service: LLMService, status: KubeObject, vendor: str, current: InferenceRuntime | None) -> bool:
    """Whether the user has asked for something else since: what the runtime or the cluster did is not his doing."""
    choice = service.spec.runtime
    if choice.name is not None:
        return choice.name != text(status, "resolvedRuntime")
    assert choice.selector is not None  # LLMService asks for exactly one of the two
    if vendor and vendor not in choice.selector.vendor:
        return True
    edited = service.metadata.generation != number(status, "observedGeneration")
    return edited and current is not None and _misfit(service, current) is not None


def _misfit(service: LLMService, runtime: InferenceRuntime) -> RuntimeNotResolved | None:
    try:
        check_fits(service, runtime)
    except RuntimeNotResolved as error:
        return error
    return None


def _lost(service: LLMService, current: InferenceRuntime | None) -> tuple[ReasonName, str] | None:
    """(reason, words) where the runtime that serves can't be rendered as it is now."""
    if current is None:
        return "RuntimeNotFound", "is gone"
    selector = service.spec.runtime.selector
    if selector is not None and current.spec.vendor not in selector.vendor:
        return "NoRuntimeForVendor", f"is for vendor {current.spec.vendor!r} now"
    if (misfit := _misfit(service, current)) is not None:
        return misfit.reason, f"does not give what is asked for ({misfit})"
    return None


def _resource(runtime: InferenceRuntime, was: str | None, facts: ClusterFacts) -> str | None:
    """Of its extended resources the one that was asked for until now, while it is among them."""
    return was if was in runtime.spec.accelerator.resources else first_resource(runtime, facts)


def _next(
    known: KubeObject, better: InferenceRuntime | None, kept: InferenceRuntime | None, now: datetime
) -> tuple[KubeObject | None, timedelta]:
    """status.choice.next, and for how long it has been the same."""
    if better is None or (kept is not None and _name(better) == _name(kept)):
        return None, timedelta()
    wanted = _name(better)
    was = mapping(known, "next")
    since = instant(was.get("since")) if {**was, "since": ""} == {**wanted, "since": ""} else None
    if since is None or since > now:
        since = now
    return {**wanted, "since": written(since)}, now - since


def _name(runtime: InferenceRuntime) -> KubeObject:
    """What tells one choice from another."""
    resource = runtime.spec.accelerator.resource_name
    return {"runtime": runtime.metadata.name} | ({"resourceName": resource} if resource is not None else {})


def _chosen(runtime: InferenceRuntime) -> Choice:
    name, vendor = runtime.metadata.name, runtime.spec.vendor
    return Choice(name, runtime, _served(runtime), vendor, runtime.spec.accelerator.resource_name)


def _served(runtime: InferenceRuntime) -> Verdict:
    return Verdict("RuntimeResolved", True, "Resolved", f"served by InferenceRuntime {runtime.metadata.name}")


def _then(better: InferenceRuntime | None, refusal: RuntimeNotResolved | None) -> str:
    if better is None:
        return f"and no other can take its place: {refusal}"
    minutes = HELD.total_seconds() / 60
    return (
        f"and {better.metadata.name} takes its place once that has been so for {minutes:g} min and no replica is there"
    )


def _refusal(
    service: LLMService, unreadable: Mapping[str, Unreadable], refusal: RuntimeNotResolved | None
) -> RuntimeNotResolved:
    """Why nothing can be chosen. One that is there and can't be read is not missing: what is wrong with it is said."""
    assert refusal is not None  # nothing was chosen
    choice = service.spec.runtime
    wanted = {
        name: found.why
        for name, found in sorted(unreadable.items())
        if name == choice.name or (choice.selector is not None and found.vendor in choice.selector.vendor)
    }
    if refusal.reason not in ("RuntimeNotFound", "NoRuntimeForVendor") or not wanted:
        return refusal
    where = f"LLMService {'/'.join(service.key)}: spec.runtime"
    told = "; ".join(f"InferenceRuntime {name} is there and cannot be read: {why}" for name, why in wanted.items())
    return RuntimeNotResolved("RuntimeInvalid", f"{where}: {told}")
