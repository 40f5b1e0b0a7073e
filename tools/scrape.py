"""deploy/monitoring/scrape.yaml: what a Prometheus without its operator scrapes, from the same PodMonitors.

Translated as the operator does it, as far as our PodMonitors go:
https://github.com/prometheus-operator/prometheus-operator/blob/main/pkg/prometheus/promcfg.go. A Prometheus that
scrapes by both counts everything twice.
"""

import re
from pathlib import Path
from typing import Any

import yaml

NAMESPACE = "hearth-system"
_POD = "__meta_kubernetes_pod"
_HEAD = """# Generated from podmonitors.yaml by `make generate`: for a Prometheus without its operator, which names this
# file in scrape_config_files.
"""


def scrape_page(monitors: Path) -> str:
    """The file, from that of the PodMonitors."""
    return _HEAD + yaml.safe_dump({"scrape_configs": scrape_configs(monitors)}, sort_keys=False, width=1000)


def scrape_configs(monitors: Path) -> list[dict[str, Any]]:
    """https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config"""
    return [_scrape_config(monitor) for monitor in yaml.safe_load_all(monitors.read_text())]


def _scrape_config(monitor: dict[str, Any]) -> dict[str, Any]:
    name, spec = monitor["metadata"]["name"], monitor["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    discovery: dict[str, Any] = {"role": "pod"}
    if not spec.get("namespaceSelector", {}).get("any"):
        discovery["namespaces"] = {"names": [NAMESPACE]}
    made: dict[str, Any] = {
        "job_name": name,
        "honor_labels": endpoint.get("honorLabels", False),
        "scrape_interval": endpoint["interval"],
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [
            *_selected(spec["selector"]),
            _keep(f"{_POD}_container_port_name", endpoint["port"]),
            {"action": "drop", "source_labels": [f"{_POD}_phase"], "regex": "(Failed|Succeeded)"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": [f"{_POD}_container_name"], "target_label": "container"},
            {"source_labels": [f"{_POD}_name"], "target_label": "pod"},
            *map(_relabelling, endpoint.get("relabelings", [])),
        ],
    }
    if "metricRelabelings" in endpoint:
        made["metric_relabel_configs"] = [*map(_relabelling, endpoint["metricRelabelings"])]
    return made


def _selected(selector: dict[str, Any]) -> list[dict[str, Any]]:
    made = [_keep(_label(name), value) for name, value in selector.get("matchLabels", {}).items()]
    for each in selector.get("matchExpressions", []):
        match each["operator"]:
            case "In":
                made.append(_keep(_label(each["key"]), "|".join(each["values"])))
            case "Exists":
                made.append(_keep(_label(each["key"]).replace("_label_", "_labelpresent_", 1), "true"))
            case other:
                raise ValueError(f"operator {other}: not translated")
    return made


def _keep(label: str, regex: str) -> dict[str, Any]:
    return {"action": "keep", "source_labels": [label], "regex": regex}


def _label(name: str) -> str:
    return f"{_POD}_label_" + re.sub(r"\W", "_", name)


def _relabelling(given: dict[str, Any]) -> dict[str, Any]:
    """The operator's words as those of Prometheus: sourceLabels is source_labels."""
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name): value for name, value in given.items()}
