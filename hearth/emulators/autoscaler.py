"""What KEDA's operator and the HPA do with a ScaledObject: the rules, without clock or network.

KEDA 2.21: activation by poll and push, cooldownPeriod from the last activity, errors change nothing
(https://keda.sh/docs/latest/concepts/scaling-deployments/). HPA, autoscaling/v2: ceil(value / target) with 10 %
tolerance, stabilization windows, policies (https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/).
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """The part of a ScaledObject that decides. Seconds; policies are replicas for each period."""

    min_replicas: int
    max_replicas: int
    cooldown: float
    polling: float
    up_window: float
    up_pods: int
    up_period: float
    down_window: float
    down_pods: int
    down_period: float

    @classmethod
    def of(cls, scaled_object: dict[str, Any]) -> "ScalingRules":
        """Read a ScaledObject as the translator renders it: one Pods policy in each direction."""
        spec = scaled_object["spec"]
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        (up,), (down,) = behavior["scaleUp"]["policies"], behavior["scaleDown"]["policies"]
        return cls(
            min_replicas=spec["minReplicaCount"],
            max_replicas=spec["maxReplicaCount"],
            cooldown=float(spec["cooldownPeriod"]),
            polling=float(spec["pollingInterval"]),
            up_window=float(behavior["scaleUp"]["stabilizationWindowSeconds"]),
            up_pods=up["value"],
            up_period=float(up["periodSeconds"]),
            down_window=float(behavior["scaleDown"]["stabilizationWindowSeconds"]),
            down_pods=down["value"],
            down_period=float(down["periodSeconds"]),
        )


@dataclass(slots=True)
class Autoscaler:
    """One ScaledObject. `replicas` is what spec.replicas of its Deployment is to be."""

    rules: ScalingRules
    replicas: int = 0
    last_active: float | None = None
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def push(self, now: float) -> None:
        """StreamIsActive said true. (A pushed false is ignored: kedacore/keda#7116.)"""
        self.last_active = now
        self._from_zero()

    def poll(self, active: bool | None, now: float) -> None:
        """The poll's answer; None: the scaler answered with an error, and the replicas are left alone."""
        if active is None:
            return
        if active:
            self.push(now)
        elif self.rules.min_replicas > 0:
            self._from_zero()
        elif self.replicas > 0 and (self.last_active is None or now - self.last_active > self.rules.cooldown):
            self.replicas = 0
            self._recommended.clear()
            self._changes.clear()

    def hpa_sync(self, per_metric: list[tuple[float, float]] | None, now: float) -> None:
        """The HPA's periodic look: (value, target per replica) of each metric; None where one could not be had.

        At zero replicas the HPA is out of play.
        """
        if self.replicas == 0 or not per_metric:
            return
        current = self.replicas
        desired = max(_desired(value, target, current) for value, target in per_metric)
        desired = min(max(desired, self.rules.min_replicas, 1), self.rules.max_replicas)
        self._recommended.append((now, desired))
        keep = max(self.rules.up_window, self.rules.down_window)
        while self._recommended and self._recommended[0][0] < now - keep:
            self._recommended.popleft()
        # Stabilized: up to the lowest recommendation of its window, down to the highest of its own.
        low = min(n for at, n in self._recommended if at >= now - self.rules.up_window)
        high = max(n for at, n in self._recommended if at >= now - self.rules.down_window)
        stabilized = low if current < low else min(current, high)
        if stabilized > current:
            start = current - self._changed(now, self.rules.up_period)
            stabilized = max(current, min(stabilized, start + self.rules.up_pods))
        elif stabilized < current:
            start = current - self._changed(now, self.rules.down_period)
            stabilized = min(current, max(stabilized, start - self.rules.down_pods))
        if stabilized != current:
            self._changes.append((now, stabilized - current))
            self.replicas = stabilized

    def _from_zero(self) -> None:
        if self.replicas == 0:
            self.replicas = max(1, self.rules.min_replicas)

    def _changed(self, now: float, period: float) -> int:
        """The sum of the HPA's own changes in the last period."""
        longest = max(self.rules.up_period, self.rules.down_period)
        while self._changes and self._changes[0][0] <= now - longest:
            self._changes.popleft()
        return sum(change for at, change in self._changes if at > now - period)


def _desired(value: float, target: float, current: int) -> int:
    if abs(value / (target * current) - 1.0) <= TOLERANCE:
        return current
    return math.ceil(value / target)
