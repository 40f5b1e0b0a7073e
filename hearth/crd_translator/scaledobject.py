"""KEDA's ScaledObject: when replicas come and go."""

import math
from typing import Any

from hearth.api.llmservice import LLMService
from hearth.crd_translator.facts import ClusterFacts
from hearth.crd_translator.names import labels

POLLING_SECONDS = 5
# autoscaling/v2 bounds: HPAScalingPolicy.periodSeconds is at most 1800.
_MAX_PERIOD_SECONDS = 1800


def render_scaled_object(service: LLMService, facts: ClusterFacts) -> dict[str, Any]:
    """One external-push trigger, and a cron trigger for each schedule."""
    scaling = service.spec.scaling
    silence = math.ceil(scaling.scale_down_stabilization.total_seconds())
    triggers: list[dict[str, Any]] = [
        {
            "type": "external-push",
            "name": "queue-depth",
            "metricType": "AverageValue",
            "metadata": {
                "scalerAddress": facts.scaler_address,
                "namespace": service.metadata.namespace,
                "name": service.metadata.name,
                "target": str(scaling.target),
            },
        }
    ]
    if facts.scaler_authentication:
        triggers[0]["authenticationRef"] = {"kind": "ClusterTriggerAuthentication", "name": facts.scaler_authentication}
    if facts.scaler_certificate:
        # KEDA reads a certificate when the ScaledObject changes, and then when a question fails, never for its stream
        # of pushes: it would be lost (kedacore/keda#7906).
        triggers[0]["metadata"]["certificate"] = facts.scaler_certificate
    for index, schedule in enumerate(scaling.schedules):
        triggers.append(
            {
                "type": "cron",
                "name": f"schedule-{index}",
                "metadata": {
                    "timezone": schedule.timezone,
                    "start": schedule.start,
                    "end": schedule.end,
                    "desiredReplicas": str(schedule.replicas),
                },
            }
        )
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": service.metadata.name,
            "namespace": service.metadata.namespace,
            "labels": labels(service),
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.metadata.name},
            "minReplicaCount": scaling.min,
            "maxReplicaCount": scaling.max,
            "cooldownPeriod": silence,
            "pollingInterval": POLLING_SECONDS,
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        # To what the queue needs in one step, and no waiting: requests are held meanwhile.
                        "scaleUp": {
                            "stabilizationWindowSeconds": 0,
                            "policies": [{"type": "Pods", "value": max(scaling.max, 1), "periodSeconds": 1}],
                        },
                        # One replica at a time, each after as much silence as the user asked for.
                        "scaleDown": {
                            "stabilizationWindowSeconds": silence,
                            "policies": [
                                {
                                    "type": "Pods",
                                    "value": 1,
                                    "periodSeconds": min(max(silence, 1), _MAX_PERIOD_SECONDS),
                                }
                            ],
                        },
                    }
                }
            },
            "triggers": triggers,
        },
    }
