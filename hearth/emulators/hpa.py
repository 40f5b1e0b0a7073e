"""What the HPA makes of its metrics: the rules of autoscaling/v2, without clock or network.

k8s.io/kubernetes, pkg/controller/podautoscaler: ceil(value / target) where it is more than 10 % off, stabilization
windows, policies. https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

TOLERANCE = 0.1

Selection = Literal["Max", "Min", "Disabled"]
# The value of a metric and its target for each replica; None: it could not be had.
Metric = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Policy:
    """So many replicas, or so many percent of them, in a period of seconds."""

    kind: Literal["Pods", "Percent"]
    value: int
    period: float


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of an HPA's behavior."""

    window: float
    policies: tuple[Policy, ...]
    select: Selection = "Max"

    @classmethod
    def of(cls, rules: Mapping[str, Any] | None, default: "Direction") -> "Direction":
        """With the API's defaults where the object says nothing."""
        if rules is None:
            return default
        policies = tuple(
            Policy(policy["type"], policy["value"], float(policy["periodSeconds"]))
            for policy in rules.get("policies") or ()
        )
        window = rules.get("stabilizationWindowSeconds")
        return cls(
            default.window if window is None else float(window),
            policies or default.policies,
            rules.get("selectPolicy", "Max"),
        )


@dataclass(frozen=True, slots=True)
class Behavior:
    """Both directions; what it is made with are the defaults of autoscaling/v2."""

    up: Direction = Direction(0.0, (Policy("Pods", 4, 15.0), Policy("Percent", 100, 15.0)))
    down: Direction = Direction(300.0, (Policy("Percent", 100, 15.0),))

    @classmethod
    def of(cls, behavior: Mapping[str, Any] | None) -> "Behavior":
        given, default = behavior or {}, cls()
        return cls(Direction.of(given.get("scaleUp"), default.up), Direction.of(given.get("scaleDown"), default.down))


@dataclass(slots=True)
class Hpa:
    """One HPA's memory: what it recommended and what it changed."""

    behavior: Behavior = field(default_factory=Behavior)
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def replicas(self, metrics: Sequence[Metric], current: int, least: int, most: int, now: float) -> int:
        """How many replicas there shall be where there are `current`. At zero replicas the HPA is out of play."""
        if not self._recommended:
            self._recommended.append((now, current))  # its first look says that what is there is right
        known = [metric for metric in metrics if metric is not None]
        if current == 0 or not known:
            return current
        wanted = max(_wanted(value, target, current) for value, target in known)
        if len(known) < len(metrics) and wanted < current:
            return current  # a metric that could not be had might have asked for more
        stabilized = self._stabilized(wanted, current, now)
        bounded = min(max(self._limited(stabilized, current, now), least, 1), most)
        if bounded != current:
            self._changes.append((now, bounded - current))
        return bounded

    def _stabilized(self, wanted: int, current: int, now: float) -> int:
        """Up to the lowest recommendation of its window, down to the highest of its own."""
        up, down = self.behavior.up.window, self.behavior.down.window
        low = min([wanted, *(count for at, count in self._recommended if at > now - up)])
        high = max([wanted, *(count for at, count in self._recommended if at > now - down)])
        while self._recommended and self._recommended[0][0] <= now - max(up, down):
            self._recommended.popleft()
        self._recommended.append((now, wanted))
        return min(max(current, low), high)

    def _limited(self, wanted: int, current: int, now: float) -> int:
        """No further than the policies let it go."""
        up = wanted > current
        direction = self.behavior.up if up else self.behavior.down
        if wanted == current or direction.select == "Disabled":
            return current
        longest = max(policy.period for side in (self.behavior.up, self.behavior.down) for policy in side.policies)
        while self._changes and self._changes[0][0] <= now - longest:
            self._changes.popleft()
        limits = [self._limit(policy, current, now, up=up) for policy in direction.policies]
        widest = (max if up else min)(limits) if direction.select == "Max" else (min if up else max)(limits)
        return max(current, min(wanted, widest)) if up else min(current, max(wanted, widest))

    def _limit(self, policy: Policy, current: int, now: float, *, up: bool) -> int:
        """Where a policy ends, counted from the replicas at its period's beginning."""
        start = current - sum(change for at, change in self._changes if at > now - policy.period)
        sign = 1 if up else -1
        if policy.kind == "Pods":
            return start + sign * policy.value
        share = start * (1 + sign * policy.value / 100)
        return math.ceil(share) if up else int(share)


def _wanted(value: float, target: float, current: int) -> int:
    if abs(value / (target * current) - 1.0) <= TOLERANCE:
        return current
    return math.ceil(value / target)
