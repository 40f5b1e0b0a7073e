"""What KEDA says of a ScaledObject, and healing one that it has given up. Pure.

kedacore/keda#8168: where a ScaledObject has a second trigger and the scaler could not be asked while KEDA made the HPA,
status.externalMetricNames lacks our metric, and KEDA drops every later push until the ScaledObject's spec changes.
Where KEDA could not make the HPA at all (it reads the Secrets that the engine's environment names), it tries again
after ever longer whiles, up to a quarter of an hour. A number in the trigger's metadata, which no scaler reads, is a
change of the spec: a nudge.
"""

import re

from hearth.api.key import ServiceKey
from hearth.controller.verdict import Verdict
from hearth.kube.objects import KubeObject, condition, mapping, mappings, namespace_of, owners_of, text, texts
from hearth.troubles import paused

NUDGE = "nudge"
_MISSING_SECRET = re.compile(r"resolving secret name \S*LocalObjectReference\{Name:([^,]+),\},Key:([^,]+),")
_NUMBER = re.compile(r"[0-9]{1,9}")
_OURS = "s0-"  # KEDA numbers the metrics by their triggers; ours is the first


def metric_name(scaled_object: KubeObject | None) -> str | None:
    """What KEDA calls our metric in the external metrics API; None before it has one."""
    return next((name for name in _metric_names(scaled_object) if name.startswith(_OURS)), None)


def ready_verdict(scaled_object: KubeObject) -> Verdict:
    """The condition ScaledObjectReady, from KEDA's own."""
    if (pause := paused(scaled_object)) is not None:
        return Verdict("ScaledObjectReady", False, pause.reason, pause.message)
    ready = condition(scaled_object, "Ready")
    message = text(ready, "message") or "KEDA has not looked at the ScaledObject yet"
    if secret := _MISSING_SECRET.search(message):
        namespace, name, key = namespace_of(scaled_object), secret[1], secret[2]
        return Verdict(
            "ScaledObjectReady",
            False,
            "SecretNotFound",
            f"KEDA can't read key {key} of Secret {namespace}/{name}, which the engine needs, and starts nothing: "
            f"kubectl create secret generic {name} -n {namespace} --from-literal={key}=…; Hearth looks again by itself",
        )
    if not heard(scaled_object):
        return Verdict(
            "ScaledObjectReady",
            False,
            "MetricLost",
            "KEDA has lost the metric of the queue and drops every push (kedacore/keda#8168); Hearth nudges it",
        )
    match ready.get("status"), text(ready, "reason"):
        case "True", _:
            return Verdict("ScaledObjectReady", True, "ScaledObjectReady", message)
        case "False", "ScaledObjectCheckFailed":
            return Verdict("ScaledObjectReady", False, "ScaledObjectCheckFailed", message)
        case "False", reason:
            return Verdict("ScaledObjectReady", False, "ScaledObjectNotReady", f"{reason}: {message}".lstrip(": "))
        case _:
            return Verdict("ScaledObjectReady", False, "NotSeen", message)


def given_up(scaled_object: KubeObject) -> bool:
    """Whether KEDA will not act on our pushes, and does not look again soon."""
    return not heard(scaled_object) or condition(scaled_object, "Ready").get("reason") == "ScaledObjectCheckFailed"


def heard(scaled_object: KubeObject) -> bool:
    """Whether KEDA will listen to our pushes; true too while it has not made the HPA yet."""
    return not _metric_names(scaled_object) or metric_name(scaled_object) is not None


def carried_over(wanted: KubeObject, found: KubeObject) -> KubeObject:
    """`wanted` with the nudge that stands: taking it away would be a change too."""
    return _with_nudge(wanted, _nudge(found))


def nudged(wanted: KubeObject) -> KubeObject:
    """`wanted` with another nudge than it has."""
    return _with_nudge(wanted, _nudge(wanted) + 1)


def _metric_names(scaled_object: KubeObject | None) -> list[str]:
    return texts(scaled_object, "status", "externalMetricNames")


def _nudge(scaled_object: KubeObject) -> int:
    """The number that stands; 0 where somebody wrote something else there."""
    triggers = mappings(scaled_object, "spec", "triggers")
    written = text(mapping(triggers[0], "metadata"), NUDGE) if triggers else ""
    return int(written) if _NUMBER.fullmatch(written) else 0


def _with_nudge(wanted: KubeObject, number: int) -> KubeObject:
    if number == 0:
        return wanted
    first, *others = wanted["spec"]["triggers"]
    first = {**first, "metadata": {**first["metadata"], NUDGE: str(number)}}
    return {**wanted, "spec": {**wanted["spec"], "triggers": [first, *others]}}


def hpa_name(key: ServiceKey) -> str:
    """The name of the HPA that KEDA makes of this LLMService's ScaledObject."""
    return f"keda-hpa-{key.name}"


def kedas(hpa: KubeObject, key: ServiceKey) -> bool:
    """Whether KEDA made an HPA of a ScaledObject of this LLMService's name."""
    return any((owner.get("kind"), owner.get("name")) == ("ScaledObject", key.name) for owner in owners_of(hpa))
