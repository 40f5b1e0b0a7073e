"""deploy/monitoring: recording and alert rules as data, plain for a Prometheus and as a PrometheusRule for its operator.

Every alert has a runbook of its name in docs/runbooks. Figures of several activators are added up, those that several
scalers tell of the same thing are not.
"""

from dataclasses import dataclass
from typing import Any, Literal

import yaml

_BY = "by (cluster, namespace, service)"
_ON = "on (cluster, namespace, service)"
_NOT_PAUSED = f"unless {_ON} hearth:paused == 1"
# Of several scrapes of one fact the highest counts, of several activators' requests the sum.


@dataclass(frozen=True, slots=True)
class Recording:
    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """`lasting`: for how long it must be so, `kept`: for how long it fires on; as Prometheus writes durations."""

    name: str
    expr: str
    lasting: str
    severity: Literal["warning", "critical"]
    summary: str
    kept: str = ""


RECORDINGS = (
    Recording("hearth:queue_depth", f"max {_BY} (hearth_scaler_queue_depth)"),
    Recording("hearth:waiting_requests", f"sum {_BY} (hearth_activator_waiting_requests)"),
    Recording("hearth:replicas", f"max {_BY} (hearth_llmservice_replicas)"),
    Recording("hearth:ready_replicas", f"max {_BY} (hearth_llmservice_ready_replicas)"),
    Recording("hearth:paused", f"max {_BY} (hearth_llmservice_paused)"),
    Recording("hearth:responses:increase10m", f"sum {_BY} (increase(hearth_activator_responses_total[10m]))"),
    Recording(
        "hearth:failed_responses:increase10m",
        f'sum {_BY} (increase(hearth_activator_responses_total{{code=~"5.."}}[10m])) + '
        f"sum {_BY} (increase(hearth_activator_broken_answers_total[10m]))",
    ),
    Recording("hearth:cold_start_elapsed_seconds", f"max {_BY} (hearth_activator_cold_start_elapsed_seconds)"),
    Recording("hearth:cold_start_expected_seconds", f"max {_BY} (hearth_activator_cold_start_expected_seconds)"),
    Recording(
        "hearth:accelerator_hours:increase1d", f"sum {_BY} (increase(hearth_llmservice_accelerator_hours_total[1d]))"
    ),
    Recording(
        "hearth:accelerator_hours_saved:increase1d",
        f"sum {_BY} (increase(hearth_llmservice_accelerator_hours_saved_total[1d]))",
    ),
)

ALERTS = (
    # What users feel comes first; then what causes it.
    Alert(
        "HearthErrorShare",
        "hearth:failed_responses:increase10m / hearth:responses:increase10m > 0.05 "
        "and hearth:responses:increase10m > 20 and hearth:failed_responses:increase10m > 2",
        "2m",
        "critical",
        "{{ $value | humanizePercentage }} of the answers of LLMService {{ $labels.namespace }}/{{ $labels.service }} are server "
        "errors, or were broken off.",
        "10m",
    ),
    Alert(
        "HearthRequestsTimeOut",
        f'sum {_BY} (increase(hearth_activator_rejected_requests_total{{reason="activation_timeout"}}[10m])) > 1',
        "0s",
        "critical",
        "Requests for LLMService {{ $labels.namespace }}/{{ $labels.service }} got no replica within scaling.activationTimeout.",
        "10m",
    ),
    Alert(
        "HearthReplicasMissing",
        f"hearth:replicas > {_ON} hearth:ready_replicas",
        "30m",
        "warning",
        "LLMService {{ $labels.namespace }}/{{ $labels.service }} has had fewer ready replicas than it wants for half an hour "
        "({{ $value }} wanted).",
    ),
    Alert(
        "HearthColdStartOverdue",
        # Twice what earlier starts took; a quarter of an hour where there were none.
        "(hearth:cold_start_elapsed_seconds > 60 and hearth:cold_start_elapsed_seconds > 2 * hearth:cold_start_expected_seconds) "
        "or (hearth:cold_start_elapsed_seconds > 900 unless hearth:cold_start_expected_seconds)",
        "1m",
        "warning",
        "LLMService {{ $labels.namespace }}/{{ $labels.service }} has been starting for {{ $value | humanizeDuration }}, "
        "longer than its earlier starts tell.",
    ),
    Alert(
        "HearthDemandBlind",
        # Of the last five minutes, so that one that flaps is seen too.
        "max by (cluster) (avg_over_time(hearth_scaler_blind[5m])) > 0.3",
        "1m",
        "critical",
        "A scaler does not hear an activator: nothing is scaled to zero, and a burst there is not seen.",
    ),
    Alert(
        "HearthKedaNotActing",
        f"hearth:queue_depth > 0 and {_ON} hearth:replicas == 0 {_NOT_PAUSED}",
        "1m",
        "critical",
        "{{ $value }} requests wait for LLMService {{ $labels.namespace }}/{{ $labels.service }}, and KEDA starts nothing.",
    ),
    Alert(
        "HearthKedaNotListening",
        f"sum {_BY} (hearth_scaler_streams) == 0 and {_ON} hearth:replicas == 0 {_NOT_PAUSED}",
        "5m",
        "warning",
        "KEDA has no stream open for LLMService {{ $labels.namespace }}/{{ $labels.service }}: a cold start waits for its poll.",
    ),
    Alert(
        "HearthQueueFull",
        # A client that is told 429 asks again: some of them are how a limit works.
        f'sum {_BY} (increase(hearth_activator_rejected_requests_total{{reason="queue_full"}}[10m])) > 5 and '
        f'sum {_BY} (increase(hearth_activator_rejected_requests_total{{reason="queue_full"}}[10m])) '
        "> 0.01 * hearth:responses:increase10m",
        "2m",
        "warning",
        "LLMService {{ $labels.namespace }}/{{ $labels.service }} refuses requests: its queue is full (endpoint.maxQueue).",
        "10m",
    ),
    Alert(
        "HearthEngineCrashLoop",
        # Between two restarts the kubelet waits for up to five minutes, and the phase may say Loading for a while.
        f'max {_BY} (avg_over_time(hearth_llmservice_phase{{phase="Degraded"}}[10m])) > 0.3',
        "1m",
        "critical",
        "LLMService {{ $labels.namespace }}/{{ $labels.service }} is Degraded: its engine keeps exiting, or can't be started.",
    ),
    Alert(
        "HearthActivatorDown",
        'absent(hearth_build_info{role="activator"})',
        "1m",
        "critical",
        "No activator is scraped: no model can be reached through Hearth.",
    ),
    Alert(
        "HearthScalerDown",
        'absent(hearth_build_info{role="scaler"})',
        "1m",
        "critical",
        "No scaler is scraped: KEDA can't learn of demand, and sleeping models stay asleep.",
    ),
    Alert(
        "HearthFault",
        "sum by (cluster, role, where) (increase(hearth_faults_total[15m])) > 0",
        "1m",
        "warning",
        "A {{ $labels.role }} met an error of its own ({{ $labels.where }}): one object or request is not served; the others are.",
    ),
    Alert(
        "HearthReconcileErrors",
        # One that is repeated is at once; one that fails each time fails some times in ten minutes.
        "sum by (cluster) (increase(hearth_controller_reconcile_errors_total[10m])) > 3",
        "10m",
        "warning",
        "Looks of the controller at LLMServices fail again and again: what they want is not applied.",
    ),
    Alert(
        "HearthNoLeader",
        "(sum by (cluster) (hearth_controller_leader) < 1) or absent(hearth_controller_leader)",
        "1m",
        "warning",
        "No controller holds the Lease: changed LLMServices are not applied, and no status is written.",
    ),
    Alert(
        "HearthTwoLeaders",
        "sum by (cluster) (hearth_controller_leader) > 1",
        "1m",
        "critical",
        "Two controllers lead: each writes what the other does not know of.",
    ),
)


def runbook(alert: Alert) -> str:
    """Where it says what to do, from the project's root."""
    return f"docs/runbooks/{alert.name}.md"


def rules() -> dict[str, Any]:
    """The content of a rule file. https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/"""
    recordings = [{"record": recording.name, "expr": recording.expr} for recording in RECORDINGS]
    alerts = [
        {
            "alert": alert.name,
            "expr": alert.expr,
            "for": alert.lasting,
            **({"keep_firing_for": alert.kept} if alert.kept else {}),
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary, "runbook_url": runbook(alert)},
        }
        for alert in ALERTS
    ]
    # One group: its rules are evaluated one after the other, and the alerts are about what was recorded before them.
    return {"groups": [{"name": "hearth", "rules": [*recordings, *alerts]}]}


def monitoring_files() -> dict[str, str]:
    """deploy/monitoring, by file name."""
    operator = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "hearth"},
        "spec": rules(),
    }
    return {"rules.yaml": _yaml(rules()), "prometheusrule.yaml": _yaml(operator)}


def _yaml(document: dict[str, Any]) -> str:
    return "# Generated from tools/alerts.py by `make generate`.\n" + yaml.safe_dump(
        document, sort_keys=False, width=1000
    )
