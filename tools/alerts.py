"""deploy/monitoring: recording and alert rules as data, plain for a Prometheus and as a PrometheusRule for its operator.

Every alert has a runbook of its name in docs/runbooks, and names the command to begin with in its description. Figures of
several activators are added up; of what several scalers or scrapes tell of one fact, the highest counts.
"""

from dataclasses import dataclass
from typing import Any, Literal

import yaml

RUNBOOKS = "https://github.com/OWNER/hearth/blob/main/docs/runbooks"
"""Where runbooks are read; the chart's prometheusRule.runbookUrl takes its place."""

_BY = "by (cluster, namespace, service)"
_ON = "on (cluster, namespace, service)"
_NOT_PAUSED = f"unless {_ON} hearth:paused == 1"
_WHO = "LLMService {{ $labels.namespace }}/{{ $labels.service }}"
_DESCRIBE = "kubectl describe llmservice {{ $labels.service }} -n {{ $labels.namespace }}"
_PODS = "kubectl get pods -n {{ $labels.namespace }} -l serving.hearth.dev/llmservice={{ $labels.service }} -o wide"
_LOGS = "kubectl logs -n hearth-system -l app.kubernetes.io/component=%s --prefix --tail=50"


def _of_engines(*names: str) -> str:
    """A selector of engines' own metrics, each of another family; their PodMonitor names the LLMService."""
    return f'{{__name__=~"{"|".join(names)}",service!=""}}'


def _gone(role: str) -> str:
    """Clusters in which something of Hearth's is scraped, or was within a day, and nothing of this role now; where there
    is no cluster at all, that one."""
    now = f'hearth_build_info{{role="{role}"}}'
    return (
        f"((count by (cluster) (hearth_build_info) or count by (cluster) (last_over_time({now}[1d]))) "
        f"unless on (cluster) {now}) or on () absent({now})"
    )


@dataclass(frozen=True, slots=True)
class Recording:
    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """`lasting`: for how long it must be so, `kept`: for how long it fires on; as Prometheus writes durations. `hurt`:
    what it does to whom; `look`: the command to begin with.

    What increase() counts is compared with half numbers: it says a little more than what happened, since no sample is
    at the very ends of the window.
    """

    name: str
    expr: str
    lasting: str
    severity: Literal["warning", "critical"]
    summary: str
    hurt: str
    look: str
    kept: str = ""


RECORDINGS = (
    Recording("hearth:queue_depth", f"max {_BY} (hearth_scaler_queue_depth)"),
    Recording("hearth:waiting_requests", f"sum {_BY} (hearth_activator_waiting_requests)"),
    Recording("hearth:keda_running", "max by (cluster) (hearth_controller_keda_running)"),
    Recording("hearth:in_flight_requests", f"sum {_BY} (hearth_activator_in_flight_requests)"),
    Recording("hearth:replicas", f"max {_BY} (hearth_llmservice_replicas)"),
    Recording("hearth:ready_replicas", f"max {_BY} (hearth_llmservice_ready_replicas)"),
    Recording("hearth:paused", f"max {_BY} (hearth_llmservice_paused)"),
    Recording("hearth:phase", "max by (cluster, namespace, service, phase) (hearth_llmservice_phase)"),
    Recording("hearth:responses:increase10m", f"sum {_BY} (increase(hearth_activator_responses_total[10m]))"),
    Recording(
        "hearth:failed_responses:increase10m",
        f'sum {_BY} (increase(hearth_activator_responses_total{{code=~"5.."}}[10m])) + '
        f"sum {_BY} (increase(hearth_activator_broken_answers_total[10m]))",
    ),
    Recording("hearth:cold_start_elapsed_seconds", f"max {_BY} (hearth_activator_cold_start_elapsed_seconds)"),
    Recording("hearth:cold_start_expected_seconds", f"max {_BY} (hearth_activator_cold_start_expected_seconds)"),
    Recording("hearth:cold_starts:increase1d", f"sum {_BY} (increase(hearth_llmservice_cold_start_seconds_count[1d]))"),
    Recording(
        "hearth:accelerator_hours:increase1d", f"sum {_BY} (increase(hearth_llmservice_accelerator_hours_total[1d]))"
    ),
    Recording(
        "hearth:accelerator_hours_saved:increase1d",
        f"sum {_BY} (increase(hearth_llmservice_accelerator_hours_saved_total[1d]))",
    ),
    Recording(
        "hearth:engine_waiting_requests",
        f"sum {_BY} ({_of_engines('vllm:num_requests_waiting', 'sglang:num_queue_reqs', 'llamacpp:requests_deferred')})",
    ),
)

ALERTS = (
    # What users feel comes first; then what causes it.
    Alert(
        "HearthErrorShare",
        # Of many answers some; of few, as models that sleep have, most.
        "(hearth:failed_responses:increase10m / hearth:responses:increase10m > 0.05 "
        "and hearth:responses:increase10m > 20 and hearth:failed_responses:increase10m > 2.5 "
        "or hearth:failed_responses:increase10m / hearth:responses:increase10m > 0.5 "
        "and hearth:failed_responses:increase10m > 2.5) "
        # One that is paused and has no replica answers 503, as somebody wants it to.
        f"unless {_ON} (max_over_time(hearth:paused[10m]) == 1 and hearth:ready_replicas == 0)",
        "2m",
        "critical",
        f"{{{{ $value | humanizePercentage }}}} of the answers of {_WHO} are server errors, or were broken off.",
        "Its users see failures now.",
        "kubectl logs -n {{ $labels.namespace }} -l serving.hearth.dev/llmservice={{ $labels.service }} --prefix --tail=50",
        "10m",
    ),
    Alert(
        "HearthRequestsTimeOut",
        f'sum {_BY} (increase(hearth_activator_rejected_requests_total{{reason="activation_timeout"}}[10m])) > 1.5 '
        f"unless {_ON} max_over_time(hearth:paused[10m]) == 1",
        "0s",
        "critical",
        f"Requests for {_WHO} waited for scaling.activationTimeout and got no replica.",
        "Its users wait for minutes and then get 503.",
        _DESCRIBE,
        "10m",
    ),
    Alert(
        "HearthNoAnswers",
        # Most of the time something is in flight: clients that give up and ask again leave gaps.
        f"(avg_over_time(hearth:in_flight_requests[10m]) > 0.9 and hearth:in_flight_requests > 0) "
        f"unless {_ON} sum {_BY} (increase(hearth_activator_relayed_bytes_total[10m])) > 0",
        "2m",
        "critical",
        f"Replicas of {_WHO} have requests, and not a byte of an answer has come for ten minutes.",
        "Its users see silence.",
        _PODS,
    ),
    Alert(
        "HearthReplicasMissing",
        f"hearth:replicas > {_ON} hearth:ready_replicas",
        "30m",
        "warning",
        f"{_WHO} has had fewer ready replicas than the {{{{ $value }}}} that it wants for half an hour.",
        "Its users are served by fewer replicas, more slowly, or by none.",
        _PODS,
    ),
    Alert(
        "HearthColdStartOverdue",
        # Twice what earlier starts took; a quarter of an hour where there were none.
        "((hearth:cold_start_elapsed_seconds > 60 and hearth:cold_start_elapsed_seconds > 2 * hearth:cold_start_expected_seconds) "
        "or (hearth:cold_start_elapsed_seconds > 900 unless hearth:cold_start_expected_seconds)) "
        f"{_NOT_PAUSED}",
        "1m",
        "warning",
        f"{_WHO} has been starting for {{{{ $value | humanizeDuration }}}}; earlier starts took less than half of that, where there were any.",
        "Whoever asked for it waits, and gets 503 after scaling.activationTimeout.",
        _DESCRIBE,
    ),
    Alert(
        "HearthDemandBlind",
        # Of the last five minutes, so that one that flaps is seen too.
        "max by (cluster) (avg_over_time(hearth_scaler_blind[5m])) > 0.3",
        "1m",
        "critical",
        "A scaler does not hear an activator: nothing is scaled in or to zero, and a burst there is not seen.",
        "Accelerators stay on and cost money; new demand at that activator may wait.",
        _LOGS % "scaler",
    ),
    Alert(
        "HearthKedaNotActing",
        f"hearth:queue_depth > 0 and {_ON} hearth:replicas == 0 {_NOT_PAUSED} "
        f'unless {_ON} hearth:phase{{phase="Pending"}} == 1',
        "1m",
        "critical",
        f"{{{{ $value }}}} requests wait for {_WHO}, and KEDA starts no replica.",
        "Its users wait, and get 503 after scaling.activationTimeout.",
        "kubectl describe scaledobject {{ $labels.service }} -n {{ $labels.namespace }}",
    ),
    Alert(
        "HearthKedaDown",
        # The controller says so after 45 s of silence; it may flap with a KEDA that does.
        "avg_over_time(hearth:keda_running[5m]) < 0.7 "
        'or max by (cluster) (max_over_time(hearth_llmservice_not_ready{reason="KedaNotInstalled"}[5m])) == 1',
        "1m",
        "critical",
        "KEDA does not run{{ with $labels.cluster }} in cluster {{ . }}{{ end }}: no model is started or stopped.",
        "Users of every model that sleeps wait, and get 503; models that run keep the replicas that they have.",
        "kubectl get pods -n keda -o wide",
    ),
    Alert(
        "HearthKedaNotListening",
        f'sum {_BY} (hearth_scaler_streams) == 0 and {_ON} hearth:phase{{phase="ScaledToZero"}} == 1 {_NOT_PAUSED}',
        "5m",
        "warning",
        f"KEDA has no stream open for {_WHO}, which is at zero.",
        "Its next cold start begins up to half a minute later, when KEDA polls.",
        "kubectl describe scaledobject {{ $labels.service }} -n {{ $labels.namespace }}",
    ),
    Alert(
        "HearthQueueFull",
        # A client that is told 429 asks again: some of them are how a limit works.
        f'sum {_BY} (increase(hearth_activator_rejected_requests_total{{reason="queue_full"}}[10m])) > 5.5 and '
        f'sum {_BY} (increase(hearth_activator_rejected_requests_total{{reason="queue_full"}}[10m])) '
        "> 0.01 * hearth:responses:increase10m",
        "2m",
        "warning",
        f"{_WHO} refuses more than 1 % of its requests: its queue is full (endpoint.maxQueue).",
        "Some of its users get 429; clients that try again get through later.",
        _PODS,
        "10m",
    ),
    Alert(
        "HearthEngineCrashLoop",
        # Between two restarts the kubelet waits for up to five minutes, and the phase may say Loading for a while.
        f'max {_BY} (avg_over_time(hearth_llmservice_phase{{phase="Degraded"}}[10m])) > 0.3 '
        f"unless {_ON} max_over_time(hearth:paused[10m]) == 1 "
        # Without KEDA every one that sleeps is: one alert says so.
        f'unless {_ON} max {_BY} (max_over_time(hearth_llmservice_not_ready{{reason=~"KedaNot.+"}}[10m])) == 1',
        "1m",
        "critical",
        f"{_WHO} is Degraded: its engine keeps exiting, or can't be started.",
        "Nobody who asks for it gets an answer.",
        _DESCRIBE,
    ),
    Alert(
        "HearthServiceNotReady",
        # Degraded has an alert of its own. The series is there while it is so: its share of the looks, so that a reason
        # that comes and goes is seen, and one that was there for some minutes is not.
        "sum by (cluster, namespace, service, reason) (count_over_time(hearth_llmservice_not_ready[15m])) "
        "/ on (cluster) group_left () max by (cluster) (count_over_time(hearth_controller_leader[15m])) > 0.6 "
        "and on (cluster, namespace, service, reason) last_over_time(hearth_llmservice_not_ready[5m]) "
        f'unless {_ON} max_over_time(hearth:phase{{phase="Degraded"}}[5m]) == 1 '
        f"unless {_ON} max_over_time(hearth:paused[5m]) == 1",
        "5m",
        "warning",
        f"{_WHO} was not Ready ({{{{ $labels.reason }}}}) for most of the last quarter of an hour, and somebody has to act.",
        "Whoever asks for it may get no answer; the condition Ready says what is in the way.",
        _DESCRIBE,
    ),
    Alert(
        "HearthKeysUnreadable",
        "max by (cluster) (min_over_time(hearth_activator_unreadable_key_sources[2m])) > 0",
        "1m",
        "critical",
        "{{ $value }} Secrets of API keys are not there, have no keys or can't be read{{ with $labels.cluster }} in cluster {{ . }}{{ end }}.",
        "Every request for the models that name them is answered 503.",
        'kubectl get llmservice -A -o jsonpath=\'{range .items[*]}{.metadata.namespace}/{.metadata.name}{range .status.conditions[?(@.type=="KeysReady")]} {.status} {.message}{end}{"\\n"}{end}\'',
    ),
    Alert(
        "HearthCertificateExpiring",
        "min by (cluster, role, certificate) (hearth_certificate_expiry_timestamp_seconds - time() "
        "< hearth_certificate_lifetime_seconds / 6)",
        "10m",
        "critical",
        "The certificate {{ $labels.certificate }} of {{ $labels.role }} ends in {{ $value | humanizeDuration }} and was not renewed.",
        "When it ends, new connections fail: KEDA starts and stops no model, or clients can't connect.",
        "kubectl logs -n hearth-system -l app.kubernetes.io/component=controller --prefix --tail=-1 --since=1h | grep certificate",
    ),
    Alert(
        "HearthCertificateUnusable",
        "max by (cluster, role, certificate) (hearth_certificate_unusable) > 0",
        "10m",
        "warning",
        "The certificate {{ $labels.certificate }} of {{ $labels.role }} can't be made, or what is there can't be used.",
        "The one before stays in use until it ends; where there was none, the role is not ready.",
        "kubectl logs -n hearth-system -l app.kubernetes.io/part-of=hearth --prefix --tail=-1 --since=1h | grep certificate",
    ),
    Alert(
        "HearthActivatorDown",
        _gone("activator"),
        "1m",
        "critical",
        "No activator is scraped{{ with $labels.cluster }} in cluster {{ . }}{{ end }}: no model can be reached through Hearth, or scraping is broken.",
        "Users of every model get no connection.",
        "kubectl get pods -n hearth-system -l app.kubernetes.io/component=activator -o wide",
    ),
    Alert(
        "HearthScalerDown",
        _gone("scaler"),
        "1m",
        "critical",
        "No scaler is scraped{{ with $labels.cluster }} in cluster {{ . }}{{ end }}: KEDA can't learn of demand, or scraping is broken.",
        "Sleeping models stay asleep: their users wait, and get 503. Models that run stay as they are.",
        "kubectl get pods -n hearth-system -l app.kubernetes.io/component=scaler -o wide",
    ),
    Alert(
        "HearthFault",
        "sum by (cluster, role, where) (increase(hearth_faults_total[15m])) > 0",
        "1m",
        "warning",
        "A {{ $labels.role }} met an error of its own ({{ $labels.where }}).",
        "One object or request is not served; the others are.",
        "kubectl logs -n hearth-system -l app.kubernetes.io/component={{ $labels.role }} --prefix --tail=-1 --since=30m | grep '\"fault contained\"'",
    ),
    Alert(
        "HearthReconcileErrors",
        # One that is repeated is at once; one that fails each time fails some times in ten minutes.
        "sum by (cluster) (increase(hearth_controller_reconcile_errors_total[10m])) > 3.5",
        "10m",
        "warning",
        "The controller's looks at LLMServices fail again and again.",
        "What was changed in an LLMService is not applied; what serves goes on.",
        "kubectl logs -n hearth-system -l app.kubernetes.io/component=controller --prefix --tail=-1 --since=15m | grep '\"not reconciled\"'",
    ),
    Alert(
        "HearthNoLeader",
        "(sum by (cluster) (hearth_controller_leader) < 1) "
        "or (count by (cluster) (hearth_build_info) unless on (cluster) hearth_controller_leader) "
        "or on () absent(hearth_controller_leader)",
        "1m",
        "warning",
        "No controller works{{ with $labels.cluster }} in cluster {{ . }}{{ end }}.",
        "Changed LLMServices are not applied and no status is written; models go on serving and scaling.",
        "kubectl get lease,pods -n hearth-system",
    ),
    Alert(
        "HearthTwoLeaders",
        "sum by (cluster) (hearth_controller_leader) > 1",
        "1m",
        "critical",
        "{{ $value }} controllers lead at a time{{ with $labels.cluster }} in cluster {{ . }}{{ end }}.",
        "Each writes what the other does not know of; models go on serving.",
        "kubectl get pods -A -l app.kubernetes.io/part-of=hearth,app.kubernetes.io/component=controller -o wide",
    ),
)


def runbook(alert: Alert) -> str:
    """Where it says what to do, from the project's root."""
    return f"docs/runbooks/{alert.name}.md"


def description(alert: Alert) -> str:
    """What it does to whom, and where to begin."""
    return f"{alert.hurt} Look: {alert.look}"


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
            "annotations": {
                "summary": alert.summary,
                "description": description(alert),
                "runbook_url": f"{RUNBOOKS}/{alert.name}.md",
            },
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
