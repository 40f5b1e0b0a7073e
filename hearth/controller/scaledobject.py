"""Healing a ScaledObject whose metric KEDA has lost. Pure.

kedacore/keda#8168: where a ScaledObject has a second trigger and the scaler could not be asked while KEDA made the HPA,
status.externalMetricNames lacks our metric, and KEDA drops every later push until the ScaledObject's spec changes. A
number in the trigger's metadata, which no scaler reads, is such a change.
"""

from hearth.controller.world import KubeObject

NUDGE = "nudge"
_OURS = "s0-"  # KEDA numbers the metrics by their triggers; ours is the first


def metric_name(scaled_object: KubeObject | None) -> str | None:
    """What KEDA calls our metric in the external metrics API; None before it has one."""
    names = ((scaled_object or {}).get("status") or {}).get("externalMetricNames") or []
    return next((name for name in names if name.startswith(_OURS)), None)


def heard(scaled_object: KubeObject) -> bool:
    """Whether KEDA will listen to our pushes; true too while it has not made the HPA yet."""
    names = (scaled_object.get("status") or {}).get("externalMetricNames") or []
    return not names or metric_name(scaled_object) is not None


def carried_over(wanted: KubeObject, found: KubeObject) -> KubeObject:
    """`wanted` with the nudge that stands: taking it away would be a change too."""
    return _with_nudge(wanted, _nudge(found))


def nudged(wanted: KubeObject) -> KubeObject:
    """`wanted` with another nudge than it has."""
    return _with_nudge(wanted, _nudge(wanted) + 1)


def _nudge(scaled_object: KubeObject) -> int:
    text = str(scaled_object["spec"]["triggers"][0]["metadata"].get(NUDGE, "0"))
    return int(text) if text.isdecimal() else 0


def _with_nudge(wanted: KubeObject, number: int) -> KubeObject:
    if number == 0:
        return wanted
    first, *others = wanted["spec"]["triggers"]
    first = {**first, "metadata": {**first["metadata"], NUDGE: str(number)}}
    return {**wanted, "spec": {**wanted["spec"], "triggers": [first, *others]}}
