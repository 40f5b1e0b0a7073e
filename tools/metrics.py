"""docs/metrics.md, from the metrics that the roles declare."""

import inspect

import hearth.activator.metrics
import hearth.controller.metrics
import hearth.fleet
import hearth.scaler.metrics
import hearth.tls.credentials
from hearth.metrics import BUILD_INFO, DROPPED_LINES, FAULTS, Metric

_HEAD = """# Metrics

Written by `make generate`. Each role serves `/metrics` beside `/healthz` and `/readyz` (`--operations-listen`, port
8081 in deploy/); `hearth up` serves those of its three processes on loopback and says where. `namespace` and `service`
are an LLMService's; a name that no LLMService has is never a label. Beside these every role has prometheus-client's
`process_*`.

| role | metric | kind | labels | |
|---|---|---|---|---|
"""

ROLES: dict[str, list[Metric]] = {
    "all": [BUILD_INFO, FAULTS, DROPPED_LINES, *hearth.tls.credentials.METRICS],
    "activator": hearth.activator.metrics.METRICS,
    "scaler": hearth.scaler.metrics.METRICS,
    "controller": [*hearth.controller.metrics.METRICS, *hearth.fleet.METRICS],
}


def metrics_page() -> str:
    """The page, in Markdown."""
    rows = [
        f"| {role} | `{metric.name}` | {metric.kind} | {', '.join(metric.labels)} | {inspect.cleandoc(metric.help)} |"
        for role, metrics in ROLES.items()
        for metric in metrics
    ]
    return _HEAD + "\n".join(rows) + "\n"
