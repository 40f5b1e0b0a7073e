"""What KEDA's operator does with a ScaledObject, and its HPA beside it: the rules, without clock or network.

KEDA 2.21, pkg/scaling/executor: activation by poll and push, cooldownPeriod from the last activity, what stays as it
is beside an error. https://keda.sh/docs/latest/concepts/scaling-deployments/ What is not reproduced is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hearth.emulators.hpa import Behavior, Hpa, Metric

# Fields of a ScaledObject that change what it does and that no rule here stands for.
_LEFT_OUT = ("fallback", "idleReplicaCount", "initialCooldownPeriod")


class NotReproduced(ValueError):
    """A ScaledObject asks for something that is left out here."""


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """The part of a ScaledObject that decides. Seconds."""

    min_replicas: int
    max_replicas: int
    cooldown: float
    polling: float
    behavior: Behavior

    @classmethod
    def of(cls, scaled_object: dict[str, Any]) -> "ScalingRules":
        """Read a ScaledObject, with KEDA's defaults. Raises NotReproduced."""
        spec = scaled_object["spec"]
        advanced = spec.get("advanced") or {}
        found = [name for name in _LEFT_OUT if name in spec]
        found += [f"advanced.{name}" for name in ("scalingModifiers",) if name in advanced]
        if found:
            name = "/".join(scaled_object["metadata"][part] for part in ("namespace", "name"))
            raise NotReproduced(f"ScaledObject {name}: spec.{found[0]}: found it; the embedded KEDA does not have it")
        return cls(
            min_replicas=spec.get("minReplicaCount", 0),
            max_replicas=spec.get("maxReplicaCount", 100),
            cooldown=float(spec.get("cooldownPeriod", 300)),
            polling=float(spec.get("pollingInterval", 30)),
            behavior=Behavior.of((advanced.get("horizontalPodAutoscalerConfig") or {}).get("behavior")),
        )


@dataclass(slots=True)
class Autoscaler:
    """One ScaledObject. `replicas` is what spec.replicas of its Deployment is to be."""

    rules: ScalingRules
    replicas: int = 0
    last_active: float | None = None
    hpa: Hpa = field(init=False)

    def __post_init__(self) -> None:
        self.hpa = Hpa(self.rules.behavior)

    def push(self, now: float) -> None:
        """StreamIsActive said true. (A pushed false is ignored: kedacore/keda#7116.)"""
        self.poll(True, False, now)

    def poll(self, active: bool, failed: bool, now: float) -> None:
        """What the triggers said together: whether one is active, and whether one failed."""
        if active:
            if self.replicas == 0:
                self.replicas = max(1, self.rules.min_replicas)
                self.last_active = now
            elif not failed:
                self.last_active = now  # beside an error, activity does not count (PartialTriggerError)
        elif failed:
            return  # nobody knows: the replicas stay (TriggerError)
        elif self.replicas > 0 and self.rules.min_replicas == 0:
            if self.last_active is None or now - self.last_active > self.rules.cooldown:
                self.replicas = 0
        else:
            self.replicas = max(self.replicas, self.rules.min_replicas)

    def hpa_sync(self, metrics: Sequence[Metric], now: float) -> None:
        """The HPA's periodic look at its metrics."""
        self.replicas = self.hpa.replicas(metrics, self.replicas, self.rules.min_replicas, self.rules.max_replicas, now)
