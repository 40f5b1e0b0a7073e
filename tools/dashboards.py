"""deploy/monitoring/dashboards: what Grafana shows, as data, and the JSON that it becomes.

A query says in `empty` where it has nothing to show with `hearth up`; a test asks every other one of a real Prometheus.
The JSON is made with Grafana's own SDK (https://github.com/grafana/grafana-foundation-sdk), which knows its schema.
"""

from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import common, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard as DashboardBuilder
from grafana_foundation_sdk.builders.dashboard import DatasourceVariable, QueryVariable
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos, VariableRefresh

WIDTH, STAT_HEIGHT, GRAPH_HEIGHT = 24, 4, 8

S = '{namespace=~"$namespace",service=~"$service"}'
BY = "by (namespace, service)"
SERVICE = "{{namespace}}/{{service}}"

_KEDA = "KEDA's own metric; there is no KEDA in `hearth up`"
_KSM = "of kube-state-metrics, which watches a cluster"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its series are called. `empty`: why it has nothing to show with `hearth up`."""

    expr: str
    legend: str = SERVICE
    empty: str | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    help: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Literal["graph", "stat"] = "graph"
    width: int = 12


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    help: str
    panels: tuple[Panel, ...]


def _stat(title: str, help_: str, expr: str, unit: str = "short", empty: str | None = None) -> Panel:
    return Panel(title, help_, (Query(expr, "", empty),), unit, "stat", 4)


def _quantiles(metric: str, labels: str = "") -> tuple[Query, ...]:
    by = f"by (le{labels})"
    return tuple(
        Query(
            f"histogram_quantile({q}, sum {by} (rate({metric}_bucket{S}[$__rate_interval])))",
            f"p{q * 100:g}",
        )
        for q in (0.5, 0.95, 0.99)
    )


OVERVIEW = Dashboard(
    "hearth-overview",
    "Hearth overview",
    "What is on, what is saved, who waits.",
    (
        _stat("Models on", "LLMServices with a replica.", f"count(hearth_llmservice_replicas{S} > 0) or vector(0)"),
        _stat(
            "Accelerators in use",
            "Of all replicas, starting ones too.",
            f"sum(hearth_llmservice_replicas{S} * hearth_llmservice_accelerators{S})",
        ),
        _stat(
            "Accelerator-hours saved",
            "In the time shown, against max(min, 1) replicas that are always on.",
            f"sum(increase(hearth_llmservice_accelerator_hours_saved_total{S}[$__range]))",
            "h",
        ),
        _stat(
            "Money saved",
            "The same, at --accelerator-price, in its currency.",
            f"sum(increase(hearth_llmservice_accelerator_hours_saved_total{S}[$__range])) "
            "* scalar(max(hearth_accelerator_price_per_hour))",
        ),
        _stat("Waiting", "Requests held for a replica.", f"sum(hearth_activator_waiting_requests{S})"),
        _stat(
            "Without server error",
            "Of all answers in the time shown, those that were no server error.",
            f'1 - (sum(increase(hearth_activator_responses_total{{namespace=~"$namespace",service=~"$service",code=~"5.."}}'
            f"[$__range])) or vector(0)) / sum(increase(hearth_activator_responses_total{S}[$__range]))",
            "percentunit",
        ),
        Panel(
            "Replicas",
            "That KEDA and the HPA want.",
            (Query(f"max {BY} (hearth_llmservice_replicas{S})"),),
        ),
        Panel(
            "Who waits",
            "Requests held, over all activators.",
            (Query(f"sum {BY} (hearth_activator_waiting_requests{S})"),),
        ),
        Panel(
            "Accelerators: held and saved",
            "On average over the last minutes; saved is against always-on.",
            (
                Query(f"sum(rate(hearth_llmservice_accelerator_hours_total{S}[$__rate_interval])) * 3600", "held"),
                Query(
                    f"sum(rate(hearth_llmservice_accelerator_hours_saved_total{S}[$__rate_interval])) * 3600", "saved"
                ),
            ),
        ),
        Panel(
            "Requests a second",
            "By what they were answered.",
            (Query(f"sum by (code) (rate(hearth_activator_responses_total{S}[$__rate_interval]))", "{{code}}"),),
            "reqps",
        ),
        Panel(
            "Cold starts",
            "That ended with a ready replica, in an hour.",
            (Query(f"sum {BY} (increase(hearth_activator_cold_start_seconds_count{S}[1h]))"),),
        ),
        Panel(
            "What is not well",
            "LLMServices that are Degraded, and requests for models that nobody has.",
            (
                Query(
                    'sum by (namespace, service) (hearth_llmservice_phase{namespace=~"$namespace",service=~"$service",'
                    'phase="Degraded"})',
                    f"{SERVICE} degraded",
                ),
                Query(
                    "sum by (reason) (rate(hearth_activator_unrouted_requests_total[$__rate_interval]))", "{{reason}}/s"
                ),
            ),
        ),
    ),
)

LLMSERVICE = Dashboard(
    "hearth-llmservice",
    "LLMService",
    "Demand against replicas, cold starts by phase, latency, errors.",
    (
        Panel(
            "Demand against replicas",
            "queueDepth as the scalers tell it, and what it brought.",
            (
                Query(f"max {BY} (hearth_scaler_queue_depth{S})", "queueDepth"),
                Query(f"max {BY} (hearth_llmservice_replicas{S})", "replicas wanted"),
                Query(f"max {BY} (hearth_llmservice_ready_replicas{S})", "replicas ready"),
                Query(
                    f"max {BY} (hearth_llmservice_replicas{S} * hearth_llmservice_target{S})", "queueDepth at target"
                ),
            ),
            width=24,
        ),
        Panel(
            "Waiting and in flight",
            "Over all activators.",
            (
                Query(f"sum {BY} (hearth_activator_waiting_requests{S})", "waiting"),
                Query(f"sum {BY} (hearth_activator_in_flight_requests{S})", "in flight"),
                Query(f"sum {BY} (hearth_activator_max_queue{S})", "maxQueue, all activators"),
            ),
        ),
        Panel(
            "Cold start by phase",
            "What the phases of the cold starts in the time shown took on average.",
            (
                Query(
                    f"sum by (phase) (increase(hearth_activator_cold_start_phase_seconds_total{S}[$__range])) / "
                    f"scalar(sum(increase(hearth_activator_cold_start_seconds_count{S}[$__range])))",
                    "{{phase}}",
                ),
            ),
            "s",
        ),
        Panel(
            "The cold start under way",
            "How long it has taken, beside what earlier ones took.",
            (
                Query(f"max {BY} (hearth_activator_cold_start_elapsed_seconds{S})", "elapsed"),
                Query(f"max {BY} (hearth_activator_cold_start_expected_seconds{S})", "expected"),
            ),
            "s",
        ),
        Panel(
            "How long requests are held", "Those that had to wait.", _quantiles("hearth_activator_held_seconds"), "s"
        ),
        Panel(
            "Time to first byte",
            "From the request to the engine's first byte, held time included.",
            _quantiles("hearth_activator_time_to_first_byte_seconds"),
            "s",
        ),
        Panel(
            "Answers",
            "By status code.",
            (Query(f"sum by (code) (rate(hearth_activator_responses_total{S}[$__rate_interval]))", "{{code}}"),),
            "reqps",
        ),
        Panel(
            "Errors of Hearth's",
            "Requests that got no answer of an engine, by reason.",
            (
                Query(
                    f"sum by (reason) (rate(hearth_activator_rejected_requests_total{S}[$__rate_interval]))",
                    "{{reason}}",
                ),
            ),
            "reqps",
        ),
        Panel(
            "Trouble with replicas and clients",
            "Requests tried again elsewhere, answers broken off, clients that left.",
            (
                Query(f"sum(rate(hearth_activator_retries_total{S}[$__rate_interval]))", "retries"),
                Query(f"sum(rate(hearth_activator_broken_answers_total{S}[$__rate_interval]))", "broken answers"),
                Query(f"sum(rate(hearth_activator_clients_left_total{S}[$__rate_interval]))", "clients left"),
            ),
            "ops",
        ),
        Panel(
            "Events and heartbeats",
            "Server-sent events relayed (about a token each), and signs of life to who waits.",
            (
                Query(f"sum(rate(hearth_activator_relayed_events_total{S}[$__rate_interval]))", "events"),
                Query(f"sum(rate(hearth_activator_heartbeats_total{S}[$__rate_interval]))", "heartbeats"),
            ),
            "ops",
        ),
        Panel(
            "Bytes relayed",
            "Of answers' bodies.",
            (Query(f"sum {BY} (rate(hearth_activator_relayed_bytes_total{S}[$__rate_interval]))"),),
            "Bps",
        ),
        Panel(
            "Replicas that requests may go to",
            "As the activators know them.",
            (Query(f"max {BY} (hearth_activator_ready_endpoints{S})"),),
        ),
    ),
)

_HPA_S = '{namespace=~"$namespace",horizontalpodautoscaler=~"keda-hpa-($service)"}'

SCALER = Dashboard(
    "hearth-scaler",
    "Scaler and KEDA",
    "What the scaler said, against what KEDA and the HPA did.",
    (
        Panel(
            "queueDepth: said and heard",
            "What the scaler would say now, what KEDA got last, and what KEDA's own metrics say of it.",
            (
                Query(f"max {BY} (hearth_scaler_queue_depth{S})", f"{SERVICE} said"),
                Query(f"max {BY} (hearth_scaler_told_queue_depth{S})", f"{SERVICE} told"),
                Query(
                    'max by (scaledObject) (keda_scaler_metrics_value{scaledObject=~"$service",metric=~".*queueDepth"})',
                    "{{scaledObject}} KEDA",
                    _KEDA,
                ),
            ),
            width=24,
        ),
        Panel(
            "Replicas: wanted and there",
            "What the HPA wants, beside the Deployment.",
            (
                Query(f"max {BY} (hearth_llmservice_replicas{S})", f"{SERVICE} Deployment"),
                Query(
                    f"max by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_desired_replicas{_HPA_S})",
                    "{{horizontalpodautoscaler}} wants",
                    _KSM,
                ),
                Query(
                    f"max by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_current_replicas{_HPA_S})",
                    "{{horizontalpodautoscaler}} sees",
                    _KSM,
                ),
            ),
        ),
        Panel(
            "Active",
            "Whether KEDA is told that there is demand, and whether it says so itself.",
            (
                Query(f"max {BY} (hearth_scaler_active{S})", f"{SERVICE} told"),
                Query(
                    'max by (scaledObject) (keda_scaler_active{scaledObject=~"$service"})',
                    "{{scaledObject}} KEDA",
                    _KEDA,
                ),
            ),
        ),
        Panel(
            "Pushes",
            "Changes that the scalers pushed, a second.",
            (Query(f"sum {BY} (rate(hearth_scaler_pushes_total{S}[$__rate_interval]))"),),
            "ops",
        ),
        Panel(
            "Push latency",
            "From a change heard to gRPC's taking the push.",
            tuple(
                Query(
                    f"histogram_quantile({q}, sum by (le) (rate(hearth_scaler_push_seconds_bucket[$__rate_interval])))",
                    f"p{q * 100:g}",
                )
                for q in (0.5, 0.99)
            ),
            "s",
        ),
        Panel(
            "Streams",
            "StreamIsActive that KEDA has open, and scalers that listen to the activators.",
            (
                Query(f"sum {BY} (hearth_scaler_streams{S})", f"{SERVICE} KEDA"),
                Query("sum(hearth_activator_demand_streams)", "scalers at activators"),
            ),
        ),
        Panel(
            "Age of the demand",
            "Since each activator was heard last; it beats each second, and stands for 10.",
            (Query("max by (activator) (hearth_scaler_demand_age_seconds)", "{{activator}}"),),
            "s",
        ),
        Panel(
            "Blind",
            "1 while a scaler can't say zero, and the questions that it answered so.",
            (
                Query("max(hearth_scaler_blind)", "blind"),
                Query("sum(rate(hearth_scaler_blind_answers_total[$__rate_interval]))", "answers a second"),
            ),
        ),
        Panel(
            "KEDA's errors",
            "Of its scalers and ScaledObjects, a second.",
            (
                Query(
                    'sum by (scaledObject) (rate(keda_scaler_detail_errors_total{scaledObject=~"$service"}[$__rate_interval]))',
                    "{{scaledObject}} scaler",
                    _KEDA,
                ),
                Query(
                    'sum by (scaledObject) (rate(keda_scaled_object_errors_total{scaledObject=~"$service"}[$__rate_interval]))',
                    "{{scaledObject}}",
                    _KEDA,
                ),
            ),
            "ops",
        ),
        Panel(
            "Controller",
            "Who leads, what is to be looked at, looks that failed.",
            (
                Query("sum(hearth_controller_leader)", "leaders"),
                Query("max(hearth_controller_queue_length)", "queue"),
                Query(
                    "sum(rate(hearth_controller_reconcile_errors_total[$__rate_interval]))",
                    "errors a second",
                ),
            ),
        ),
        Panel(
            "Reconcile duration",
            "One look at one LLMService.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (le) (rate(hearth_controller_reconcile_seconds_bucket[$__rate_interval])))",
                    "p99",
                ),
            ),
            "s",
        ),
    ),
)

DASHBOARDS = (OVERVIEW, LLMSERVICE, SCALER)

_SOURCE = DataSourceRef("prometheus", "${datasource}")


def as_json(dashboard: Dashboard) -> str:
    """The dashboard as Grafana imports it."""
    builder = (
        DashboardBuilder(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.help)
        .tags(["hearth"])
        .refresh("30s")
        .time("now-3h", "now")
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("namespace", "label_values(hearth_llmservice_replicas, namespace)"))
        .with_variable(
            _variable("service", 'label_values(hearth_llmservice_replicas{namespace=~"$namespace"}, service)')
        )
    )
    x = y = row = 0
    for number, panel in enumerate(dashboard.panels, 1):
        height = STAT_HEIGHT if panel.kind == "stat" else GRAPH_HEIGHT
        if x + panel.width > WIDTH:
            x, y = 0, y + row
        builder.with_panel(_panel(panel, number, GridPos(h=height, w=panel.width, x=x, y=y)))
        x, row = x + panel.width, height
    return JSONEncoder(sort_keys=True, indent=2).encode(builder.build()) + "\n"


def _variable(name: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .query(query)
        .datasource(_SOURCE)
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def _panel(panel: Panel, number: int, at: GridPos) -> Any:
    made: Any = (stat if panel.kind == "stat" else timeseries).Panel()
    made.id(number).title(panel.title).description(panel.help).unit(panel.unit).datasource(_SOURCE).grid_pos(at)
    if panel.kind == "graph":
        made.min(0).fill_opacity(8).legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    else:
        made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        made.with_target(Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter))
    return made
