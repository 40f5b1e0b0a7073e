"""deploy/dashboards: what Grafana shows, as data, and the JSON that it becomes.

A query says in `empty` where it has nothing to show with `hearth up`; a test asks every other one of a real Prometheus.
Every series of an LLMService says in its legend whose it is. What is a figure of the whole time shown ($__range) is a
number or a bar, never a line: as a line it would show the same hour again and again.
The JSON is made with Grafana's own SDK (https://github.com/grafana/grafana-foundation-sdk), which knows its schema.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import GraphThresholdsStyleMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

WIDTH, STAT_HEIGHT, GRAPH_HEIGHT = 24, 4, 8

_SELECTED = 'cluster=~"$cluster",namespace=~"$namespace",service=~"$service"'
S = f"{{{_SELECTED}}}"
BY = "by (cluster, namespace, service)"
ON = "on (cluster, namespace, service)"
SERVICE = "{{namespace}}/{{service}} {{cluster}}"
_CLUSTER = '{cluster=~"$cluster"}'
_FAILED, _DEGRADED = 'code=~"5.."', 'phase="Degraded"'

_KEDA = "KEDA's own metric; there is no KEDA in `hearth up`"
_KSM = "of kube-state-metrics, which watches a cluster"

Colour = Literal["green", "yellow", "orange", "red"]


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its series are called. `empty`: why it has nothing to show with `hearth up`."""

    expr: str
    legend: str = SERVICE
    empty: str | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """`thresholds`: from which value on it has which colour; below the first it is green, or red where `better` is
    more. A bar has one number for each series, of the whole time shown."""

    title: str
    help: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Literal["graph", "stat", "bar"] = "graph"
    width: int = 12
    thresholds: tuple[tuple[float, Colour], ...] = ()
    base: Colour = "green"


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    help: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Annotation:
    """Something that happened, as a line over every graph."""

    name: str
    expr: str
    title: str
    colour: Colour


def of(metric: str, *labels: str) -> str:
    """A metric of the selected LLMServices, with more matchers."""
    return f"{metric}{{{','.join((_SELECTED, *labels))}}}"


def _stat(
    title: str, help_: str, expr: str, unit: str = "short", *thresholds: tuple[float, Colour], base: Colour = "green"
) -> Panel:
    return Panel(title, help_, (Query(expr, ""),), unit, "stat", 4, thresholds, base)


def _rate(metric: str, *labels: str) -> str:
    return f"sum {BY} (rate({of(metric, *labels)}[$__rate_interval]))"


def _quantiles(metric: str, over: str = "$__rate_interval") -> tuple[Query, ...]:
    return tuple(
        Query(
            f"histogram_quantile({q}, sum by (le, cluster, namespace, service) (rate({of(f'{metric}_bucket')}[{over}])))",
            f"{SERVICE} p{q * 100:g}",
        )
        for q in (0.5, 0.95, 0.99)
    )


def _engines(*names: str, quantile: float | None = None) -> str:
    """A figure of engines, which each family calls by another name; the PodMonitor of engines says whose they are."""
    selector = f'{{__name__=~"{"|".join(names)}",{_SELECTED}}}'
    if quantile is None:
        return f"sum {BY} ({selector})"
    of_all = f"sum by (le, cluster, namespace, service) (rate({selector}[$__rate_interval]))"
    return f"histogram_quantile({quantile}, {of_all})"


def _theirs(expr: str, named: str = "scaledObject", pattern: str = "(.+)") -> str:
    """A metric of KEDA's or of kube-state-metrics, under the name of the LLMService. Its namespace is `namespace`, or
    `exported_namespace` where the one that scrapes says its own."""
    renamed = f'label_replace({expr}, "namespace", "$1", "exported_namespace", "(.+)")'
    renamed = f'label_replace({renamed}, "service", "$1", "{named}", "{pattern}")'
    return f"max {BY} ({renamed}) and {ON} {of('hearth_llmservice_replicas')}"


def _hpa(metric: str) -> str:
    return _theirs(f"{metric}{_CLUSTER}", "horizontalpodautoscaler", "keda-hpa-(.+)")


_SAVED_STAT = _stat(
    "Accelerator-hours saved",
    "In the time shown, against max(scaling.min, 1) replicas that are always on.",
    f"sum(increase({of('hearth_llmservice_accelerator_hours_saved_total')}[$__range]))",
    "h",
)
_UNDER_WAY = Panel(
    "The cold start under way",
    "How long it has taken, beside what earlier ones took.",
    (
        Query(f"max {BY} ({of('hearth_activator_cold_start_elapsed_seconds')})", f"{SERVICE} elapsed"),
        Query(f"max {BY} ({of('hearth_activator_cold_start_expected_seconds')})", f"{SERVICE} expected"),
    ),
    "s",
)
_HELD = Panel(
    "How long requests are held",
    "Those that had to wait, for a start or for a replica with room.",
    _quantiles("hearth_activator_held_seconds"),
    "s",
)

OVERVIEW = Dashboard(
    "hearth-overview",
    "Hearth overview",
    "What is on, what is saved, who waits.",
    (
        _stat(
            "Models on",
            "LLMServices that have a replica, or are to have one.",
            f"sum(max {BY} ({of('hearth_llmservice_replicas')}) > bool 0)",
        ),
        _stat(
            "Accelerators held",
            "Of all pods that have a node, starting and ending ones too.",
            f"sum(max {BY} ({of('hearth_llmservice_placed_replicas')} * {of('hearth_llmservice_accelerators')}))",
        ),
        _SAVED_STAT,
        _stat(
            "Money saved",
            "The same, at --accelerator-price, in its currency. No data: no price was given.",
            f"sum(sum by (cluster) (increase({of('hearth_llmservice_accelerator_hours_saved_total')}[$__range])) "
            f"* on (cluster) max by (cluster) (hearth_accelerator_price_per_hour{_CLUSTER}))",
        ),
        _stat(
            "Waiting",
            "Requests held for a replica.",
            f"sum({of('hearth_activator_waiting_requests')})",
            "short",
            (1, "yellow"),
            (50, "red"),
        ),
        _stat(
            "Without server error",
            "Of all answers in the time shown, those that were no server error and not broken off. No data: no answers.",
            f"1 - (sum(increase({of('hearth_activator_responses_total', _FAILED)}[$__range])) + "
            f"sum(increase({of('hearth_activator_broken_answers_total')}[$__range]))) / "
            f"(sum(increase({of('hearth_activator_responses_total')}[$__range])) > 0)",
            "percentunit",
            (0.95, "yellow"),
            (0.99, "green"),
            base="red",
        ),
        Panel("Replicas", "Those that answer.", (Query(f"max {BY} ({of('hearth_llmservice_ready_replicas')})"),)),
        Panel(
            "Who waits",
            "Requests held, over all activators.",
            (Query(f"sum {BY} ({of('hearth_activator_waiting_requests')})"),),
        ),
        Panel(
            "Accelerators: held and saved",
            "On average over the last minutes; saved is against always-on.",
            tuple(
                Query(f"{_rate(f'hearth_llmservice_accelerator_hours_{name}total')} * 3600", f"{SERVICE} {legend}")
                for name, legend in (("", "held"), ("saved_", "saved"))
            ),
        ),
        Panel(
            "Requests a second",
            "Of every LLMService, whatever they were answered.",
            (Query(_rate("hearth_activator_responses_total")),),
            "reqps",
        ),
        Panel(
            "Server errors a second",
            "Answers of 500 and above, by code, and answers that were broken off.",
            (
                Query(
                    "sum by (cluster, namespace, service, code) "
                    f"(rate({of('hearth_activator_responses_total', _FAILED)}[$__rate_interval]))",
                    f"{SERVICE} {{{{code}}}}",
                ),
                Query(_rate("hearth_activator_broken_answers_total"), f"{SERVICE} broken off"),
            ),
            "reqps",
        ),
        Panel(
            "What is not well",
            "LLMServices that are not Ready until somebody acts, by reason, and those that are Degraded.",
            (
                Query(
                    f"max by (cluster, namespace, service, reason) ({of('hearth_llmservice_not_ready')})",
                    f"{SERVICE} {{{{reason}}}}",
                    "all is well in `hearth up`",
                ),
                Query(
                    f"max {BY} ({of('hearth_llmservice_phase', _DEGRADED)})",
                    f"{SERVICE} Degraded",
                ),
            ),
            thresholds=((1, "red"),),
        ),
        Panel(
            "Cold starts in an hour",
            "That ended with a ready replica.",
            (Query(f"sum {BY} (increase({of('hearth_llmservice_cold_start_seconds_count')}[1h]))"),),
        ),
        Panel(
            "Requests for no model",
            "That name none that is known, or ask what is not served; by the code of their error.",
            (
                Query(
                    "sum by (cluster, reason) "
                    f"(rate(hearth_activator_unrouted_requests_total{_CLUSTER}[$__rate_interval]))",
                    "{{reason}} {{cluster}}",
                ),
            ),
            "reqps",
        ),
    ),
)

LLMSERVICE = Dashboard(
    "hearth-llmservice",
    "LLMService",
    "Demand against replicas, latency, errors, what its engines say.",
    (
        Panel(
            "Demand against replicas",
            "queueDepth as the scalers tell it, and what it brought.",
            (
                Query(f"max {BY} ({of('hearth_scaler_queue_depth')})", f"{SERVICE} queueDepth"),
                Query(f"max {BY} ({of('hearth_llmservice_replicas')})", f"{SERVICE} replicas wanted"),
                Query(f"max {BY} ({of('hearth_llmservice_ready_replicas')})", f"{SERVICE} replicas ready"),
                Query(
                    f"max {BY} ({of('hearth_llmservice_replicas')} * {of('hearth_llmservice_target')})",
                    f"{SERVICE} queueDepth at target",
                ),
            ),
            width=24,
        ),
        Panel(
            "Waiting and in flight",
            "Over all activators.",
            (
                Query(f"sum {BY} ({of('hearth_activator_waiting_requests')})", f"{SERVICE} waiting"),
                Query(f"sum {BY} ({of('hearth_activator_in_flight_requests')})", f"{SERVICE} in flight"),
                Query(f"sum {BY} ({of('hearth_activator_max_queue')})", f"{SERVICE} maxQueue of all activators"),
            ),
        ),
        _UNDER_WAY,
        _HELD,
        Panel(
            "Time to first byte",
            "From the request to the engine's first byte, held time included.",
            _quantiles("hearth_activator_time_to_first_byte_seconds"),
            "s",
        ),
        Panel(
            "Answers",
            "By status code.",
            (
                Query(
                    "sum by (cluster, namespace, service, code) "
                    f"(rate({of('hearth_activator_responses_total')}[$__rate_interval]))",
                    f"{SERVICE} {{{{code}}}}",
                ),
            ),
            "reqps",
        ),
        Panel(
            "Errors of Hearth's",
            "Requests that got no answer of an engine, by reason.",
            (
                Query(
                    "sum by (cluster, namespace, service, reason) "
                    f"(rate({of('hearth_activator_rejected_requests_total')}[$__rate_interval]))",
                    f"{SERVICE} {{{{reason}}}}",
                ),
            ),
            "reqps",
        ),
        Panel(
            "Trouble with replicas and clients",
            "Requests tried again elsewhere, answers broken off, clients that left.",
            (
                Query(_rate("hearth_activator_retries_total"), f"{SERVICE} retries"),
                Query(_rate("hearth_activator_broken_answers_total"), f"{SERVICE} broken answers"),
                Query(_rate("hearth_activator_clients_left_total"), f"{SERVICE} clients left"),
            ),
            "ops",
        ),
        Panel(
            "Events and heartbeats",
            "Server-sent events relayed (about a token each), and signs of life to who waits.",
            (
                Query(_rate("hearth_activator_relayed_events_total"), f"{SERVICE} events"),
                Query(_rate("hearth_activator_heartbeats_total"), f"{SERVICE} heartbeats"),
            ),
            "ops",
        ),
        Panel(
            "Bytes relayed",
            "Of answers' bodies.",
            (Query(_rate("hearth_activator_relayed_bytes_total")),),
            "Bps",
        ),
        Panel(
            "Replicas that requests may go to",
            "As the activators know them, beside the pods that hold accelerators.",
            (
                Query(f"max {BY} ({of('hearth_activator_ready_endpoints')})", f"{SERVICE} may be asked"),
                Query(f"max {BY} ({of('hearth_llmservice_placed_replicas')})", f"{SERVICE} have a node"),
            ),
        ),
        Panel(
            "Engines: running and waiting",
            "Requests in the engines' batches, and in their own queues, as they count them (the PodMonitor of engines).",
            (
                Query(
                    _engines("vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing"),
                    f"{SERVICE} running",
                ),
                Query(
                    _engines("vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred"),
                    f"{SERVICE} waiting",
                ),
            ),
        ),
        Panel(
            "Engines: KV cache",
            "How full it is, in the fullest replica. Near 1 requests wait in the engine, or are thrown out of its batch.",
            (
                Query(
                    _engines(
                        "vllm:kv_cache_usage_perc",
                        "vllm:gpu_cache_usage_perc",
                        "sglang:token_usage",
                        "llamacpp:kv_cache_usage_ratio",
                    ).replace("sum", "max", 1)
                ),
            ),
            "percentunit",
            thresholds=((0.9, "yellow"), (0.98, "red")),
        ),
        Panel(
            "Engines: time to first token",
            "As the engines measure it: without the time that a request was held before it.",
            tuple(
                Query(
                    _engines(
                        "vllm:time_to_first_token_seconds_bucket",
                        "sglang:time_to_first_token_seconds_bucket",
                        quantile=quantile,
                    ),
                    f"{SERVICE} p{quantile * 100:g}",
                )
                for quantile in (0.5, 0.95)
            ),
            "s",
        ),
    ),
)

_STARTS, _PHASES = "hearth_llmservice_cold_start_seconds", "hearth_llmservice_cold_start_phase_seconds_total"


def _start_quantile(quantile: float) -> str:
    of_all = f"sum by (le) (increase({of(f'{_STARTS}_bucket')}[$__range]))"
    return f"histogram_quantile({quantile}, {of_all})"


COLDSTARTS = Dashboard(
    "hearth-coldstarts",
    "Cold starts",
    "How many, how long, in which phase, and how many requests needed none.",
    (
        _stat(
            "Cold starts",
            "In the time shown, that ended with a ready replica. Each is counted once, whoever waited for it.",
            f"round(sum(increase({of(f'{_STARTS}_count')}[$__range])))",
        ),
        _stat(
            "In vain",
            "Cold starts in the time shown that went back to zero before a replica was ready.",
            f"round(sum(increase({of('hearth_llmservice_cold_starts_in_vain_total')}[$__range])))",
            "short",
            (1, "red"),
        ),
        _stat("Typical start", "Half of those in the time shown were quicker.", _start_quantile(0.5), "s"),
        _stat("Slow start", "Of twenty in the time shown, one was slower.", _start_quantile(0.95), "s"),
        _stat(
            "Met a warm model",
            "Of the requests in the time shown, those that found a ready replica: as many cold starts were avoided at most.",
            f"1 - sum(increase({of('hearth_activator_cold_requests_total')}[$__range])) / "
            f"(sum(increase({of('hearth_activator_admitted_requests_total')}[$__range])) > 0)",
            "percentunit",
            (0.8, "yellow"),
            (0.95, "green"),
            base="red",
        ),
        _SAVED_STAT,
        Panel(
            "Cold starts in an hour",
            "By model; above them those in vain.",
            (
                Query(f"sum {BY} (increase({of(f'{_STARTS}_count')}[1h]))"),
                Query(
                    f"sum {BY} (increase({of('hearth_llmservice_cold_starts_in_vain_total')}[1h]))",
                    f"{SERVICE} in vain",
                ),
            ),
        ),
        Panel(
            "How long they took",
            "The starts of the hour before, from the scale-up to the first ready replica.",
            _quantiles(_STARTS, "1h"),
            "s",
        ),
        Panel(
            "A start, phase by phase",
            "What each phase of the starts in the time shown took on average: where to look for what makes them long.",
            (
                Query(
                    f"sum by (cluster, namespace, service, phase) (increase({of(_PHASES)}[$__range])) / {ON} "
                    f"group_left () (sum {BY} (increase({of(f'{_STARTS}_count')}[$__range])) > 0)",
                    f"{SERVICE} {{{{phase}}}}",
                ),
            ),
            "s",
            "bar",
        ),
        Panel(
            "Spent in each phase",
            "Seconds of all starts of the hour before.",
            (
                Query(
                    f"sum by (cluster, namespace, service, phase) (increase({of(_PHASES)}[1h]))",
                    f"{SERVICE} {{{{phase}}}}",
                ),
            ),
            "s",
        ),
        Panel(
            "Cold and warm requests",
            "Those that waited for a start, and those that found a ready replica.",
            (
                Query(_rate("hearth_activator_cold_requests_total"), f"{SERVICE} cold"),
                Query(
                    f"{_rate('hearth_activator_admitted_requests_total')} - {_rate('hearth_activator_cold_requests_total')}",
                    f"{SERVICE} warm",
                ),
            ),
            "reqps",
        ),
        _HELD,
        replace(_UNDER_WAY, width=24),
    ),
)

SCALER = Dashboard(
    "hearth-scaler",
    "Scaler and KEDA",
    "What the scaler said, against what KEDA and the HPA did.",
    (
        Panel(
            "queueDepth: said and heard",
            "What the scaler would say now, what KEDA got last, and what KEDA's own metrics say of it.",
            (
                Query(f"max {BY} ({of('hearth_scaler_queue_depth')})", f"{SERVICE} said"),
                Query(f"max {BY} ({of('hearth_scaler_told_queue_depth')})", f"{SERVICE} told"),
                Query(
                    _theirs('keda_scaler_metrics_value{cluster=~"$cluster",metric=~".*queueDepth"}'),
                    f"{SERVICE} KEDA",
                    _KEDA,
                ),
            ),
            width=24,
        ),
        Panel(
            "Replicas: wanted and there",
            "What the HPA wants, beside the Deployment.",
            (
                Query(f"max {BY} ({of('hearth_llmservice_replicas')})", f"{SERVICE} Deployment"),
                Query(_hpa("kube_horizontalpodautoscaler_status_desired_replicas"), f"{SERVICE} HPA wants", _KSM),
                Query(_hpa("kube_horizontalpodautoscaler_status_current_replicas"), f"{SERVICE} HPA sees", _KSM),
            ),
        ),
        Panel(
            "Active",
            "Whether KEDA is told that there is demand, and whether it says so itself.",
            (
                Query(f"max {BY} ({of('hearth_scaler_active')})", f"{SERVICE} told"),
                Query(_theirs(f"keda_scaler_active{_CLUSTER}"), f"{SERVICE} KEDA", _KEDA),
            ),
        ),
        Panel(
            "Pushes",
            "Changes that the scalers pushed, a second.",
            (Query(_rate("hearth_scaler_pushes_total")),),
            "ops",
        ),
        Panel(
            "Push latency",
            "From a change heard to gRPC's taking the push, of all LLMServices.",
            tuple(
                Query(
                    f"histogram_quantile({q}, sum by (le, cluster) "
                    f"(rate(hearth_scaler_push_seconds_bucket{_CLUSTER}[$__rate_interval])))",
                    f"p{q * 100:g} {{{{cluster}}}}",
                )
                for q in (0.5, 0.99)
            ),
            "s",
            thresholds=((0.1, "yellow"), (1, "red")),
        ),
        Panel(
            "Streams",
            "StreamIsActive that KEDA has open: one is enough, none makes a cold start wait for the poll.",
            (Query(f"sum {BY} ({of('hearth_scaler_streams')})", f"{SERVICE} KEDA"),),
        ),
        Panel(
            "Scalers at activators",
            "Streams of demand that scalers have open: activators times scalers where all hear all.",
            (Query(f"sum by (cluster) (hearth_activator_demand_streams{_CLUSTER})", "streams {{cluster}}"),),
        ),
        Panel(
            "Age of the demand",
            "Since each activator was heard last; it beats each second, and stands for 10.",
            (
                Query(
                    f"max by (cluster, activator) (hearth_scaler_demand_age_seconds{_CLUSTER})",
                    "{{activator}} {{cluster}}",
                ),
            ),
            "s",
            thresholds=((3, "yellow"), (10, "red")),
        ),
        Panel(
            "Blind",
            "1 while a scaler can't say zero, and the questions that it answered so.",
            (
                Query(f"max by (cluster) (hearth_scaler_blind{_CLUSTER})", "blind {{cluster}}"),
                Query(
                    f"sum by (cluster) (rate(hearth_scaler_blind_answers_total{_CLUSTER}[$__rate_interval]))",
                    "answers a second {{cluster}}",
                ),
            ),
            thresholds=((1, "red"),),
        ),
        Panel(
            "KEDA's errors",
            "Of its scalers and ScaledObjects, a second.",
            (
                Query(
                    _theirs(f"rate(keda_scaler_detail_errors_total{_CLUSTER}[$__rate_interval])"),
                    f"{SERVICE} scaler",
                    _KEDA,
                ),
                Query(
                    _theirs(f"rate(keda_scaled_object_errors_total{_CLUSTER}[$__rate_interval])"),
                    f"{SERVICE} ScaledObject",
                    _KEDA,
                ),
            ),
            "ops",
        ),
        Panel(
            "Controller",
            "How many lead (one), whether KEDA's operator runs, what is to be looked at, looks that failed.",
            (
                Query(f"sum by (cluster) (hearth_controller_leader{_CLUSTER})", "leaders {{cluster}}"),
                Query(f"max by (cluster) (hearth_controller_keda_running{_CLUSTER})", "KEDA runs {{cluster}}"),
                Query(f"max by (cluster) (hearth_controller_queue_length{_CLUSTER})", "queue {{cluster}}"),
                Query(
                    f"sum by (cluster) (rate(hearth_controller_reconcile_errors_total{_CLUSTER}[$__rate_interval]))",
                    "errors a second {{cluster}}",
                ),
            ),
        ),
        Panel(
            "Reconcile duration",
            "One look at one LLMService.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (le, cluster) "
                    f"(rate(hearth_controller_reconcile_seconds_bucket{_CLUSTER}[$__rate_interval])))",
                    "p99 {{cluster}}",
                ),
            ),
            "s",
        ),
    ),
)

DASHBOARDS = (OVERVIEW, LLMSERVICE, COLDSTARTS, SCALER)


def _replicas(offset: str = "") -> str:
    return f"max {BY} ({of('hearth_llmservice_replicas')}{offset})"


# What was a minute before beside what is: each change is told once, at Grafana's step of a minute.
ANNOTATIONS = (
    Annotation(
        "Woken",
        f"{_replicas()} > 0 and {ON} {_replicas(' offset 1m')} == 0",
        "{{namespace}}/{{service}} was woken",
        "orange",
    ),
    Annotation(
        "Scaled",
        f"({_replicas()} > 0 and {ON} {_replicas(' offset 1m')} > 0) != {ON} {_replicas(' offset 1m')}",
        "{{namespace}}/{{service}} was scaled",
        "yellow",
    ),
    Annotation(
        "To zero",
        f"{_replicas()} == 0 and {ON} {_replicas(' offset 1m')} > 0",
        "{{namespace}}/{{service}} went to zero",
        "green",
    ),
    Annotation(
        "Alerts",
        'ALERTS{alertname=~"Hearth.+",alertstate="firing",cluster=~"$cluster"}',
        "{{alertname}} {{namespace}} {{service}}",
        "red",
    ),
)

_SOURCE = DataSourceRef("prometheus", "${datasource}")
_ONE_SERVICE = (
    "/d/hearth-llmservice?var-datasource=${datasource}&var-cluster=${cluster}"
    "&var-namespace=${__field.labels.namespace}&var-service=${__field.labels.service}&${__url_time_range}"
)


def as_json(board: Dashboard) -> str:
    """The dashboard as Grafana imports it."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.help)
        .tags(["hearth"])
        .refresh("30s")
        .time("now-3h", "now")
        .link(
            dashboard.DashboardLink("Hearth's dashboards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["hearth"])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("cluster", "label_values(hearth_build_info, cluster)"))
        # Of the activators: they know every LLMService, the controller being away too.
        .with_variable(_variable("namespace", f"label_values(hearth_activator_waiting_requests{_CLUSTER}, namespace)"))
        .with_variable(
            _variable(
                "service",
                'label_values(hearth_activator_waiting_requests{cluster=~"$cluster",namespace=~"$namespace"}, service)',
            )
        )
    )
    for annotation in ANNOTATIONS:
        builder.annotation(
            dashboard.AnnotationQuery()
            .name(annotation.name)
            .datasource(_SOURCE)
            .enable(True)
            .icon_color(annotation.colour)
            .expr(annotation.expr)
        )
    x = y = row = 0
    for number, panel in enumerate(board.panels, 1):
        height = STAT_HEIGHT if panel.kind == "stat" else GRAPH_HEIGHT
        if x + panel.width > WIDTH:
            x, y = 0, y + row
        builder.with_panel(_panel(panel, number, GridPos(h=height, w=panel.width, x=x, y=y)))
        x, row = x + panel.width, height
    made = json.loads(JSONEncoder(sort_keys=True, indent=2).encode(builder.build()))
    # The data source's own fields, which the SDK has no words for.
    for annotation, written in zip(ANNOTATIONS, made["annotations"]["list"], strict=True):
        written |= {"titleFormat": annotation.title, "step": "60s"}
    return json.dumps(made, sort_keys=True, indent=2) + "\n"


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .query(query)
        .datasource(_SOURCE)
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def _panel(panel: Panel, number: int, at: GridPos) -> Any:
    kinds: dict[str, Any] = {"graph": timeseries, "stat": stat, "bar": bargauge}
    made: Any = kinds[panel.kind].Panel()
    made.id(number).title(panel.title).description(panel.help).unit(panel.unit).datasource(_SOURCE).grid_pos(at)
    if panel.kind == "graph":
        made.min(0).fill_opacity(8).legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    else:
        made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).no_value("No data")
    if panel.thresholds:
        steps = [Threshold(None, panel.base), *(Threshold(value, colour) for value, colour in panel.thresholds)]
        made.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        if panel.kind == "graph":
            made.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if any(query.legend.startswith(SERVICE) for query in panel.queries):
        made.data_links([dashboard.DashboardLink("This LLMService").url(_ONE_SERVICE)])
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter)
        made.with_target(target if panel.kind == "graph" else target.instant())
    return made
