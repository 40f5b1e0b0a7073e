"""deploy/monitoring as Prometheus' operator takes it, and what dashboards ask of kube-state-metrics."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.builders import ROOT
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.installation import monitoring
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.node.settings import NODES
from tests.cluster.real.deployed import Deployed, built
from tests.monitoring.scraped import Prometheus, expanded
from tools.dashboards import DASHBOARDS

NAME = "watched"
SCRAPE = yaml.safe_load((ROOT / "deploy/monitoring/scrape.yaml").read_text())["scrape_configs"]
# What the operator says of its own affairs beside what a monitor says.
OPERATORS = {"__tmp_hash", "__tmp_prometheus_job_name", "job", "endpoint"}
BY_STATE_METRICS = [
    query for board in DASHBOARDS for panel in board.panels for query in panel.queries if "kube_" in query.expr
]


@pytest.fixture(scope="module")
def prometheus(hearth: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    programs = built("HEARTH_INSTALLATION")
    node = hearth.nodes[NODES[0].name]
    monitoring.install_state_metrics(hearth.plane, node, programs)
    with monitoring.operated(hearth.plane, node, programs, folder), monitoring.running(hearth.plane) as made:
        yield made


@pytest.mark.usefixtures("prometheus")
@pytest.mark.parametrize("ours", SCRAPE, ids=lambda config: config["job_name"])
def test_what_is_generated_for_others_is_what_the_operator_makes(hearth: Deployed, ours: dict[str, Any]) -> None:
    """deploy/monitoring/scrape.yaml and the PodMonitors say the same: which targets, with which labels."""
    name = f"podMonitor/hearth-system/{ours['job_name']}/0"
    (theirs,) = [c for c in monitoring.configuration(hearth.plane)["scrape_configs"] if c["job_name"] == name]
    assert theirs["honor_labels"] == ours["honor_labels"]
    for said in ("relabel_configs", "metric_relabel_configs"):
        assert steps(theirs.get(said, [])) == steps(ours.get(said, []))


def steps(relabel: list[dict[str, Any]]) -> list[str]:
    """What is kept, dropped and named, without the operator's own labels and in one spelling: beside a label that must
    have a value the operator asks whether it is there."""
    return sorted(
        repr(
            (
                step.get("action", "replace"),
                step.get("source_labels", [])[:1],
                step.get("target_label", ""),
                str(step.get("regex", "")).removesuffix(";true").strip("()"),
                step.get("replacement", ""),
            )
        )
        for step in relabel
        if step.get("target_label") not in OPERATORS and not OPERATORS & set(step.get("source_labels", ()))
    )


async def test_every_role_and_engine_is_scraped(hearth: Deployed, prometheus: Prometheus) -> None:
    """Through the NetworkPolicies: the namespace `monitoring` may reach engines."""
    await asyncio.to_thread(hearth.cluster.apply, "spec.scaling.min=1", name=NAME)
    async with new_client() as client:
        assert (await Conversation(NAME).run(client)).whole
    pods = {pod["metadata"]["name"] for role in ("activator", "scaler", "controller") for pod in hearth.pods(role)}
    up = await asyncio.to_thread(prometheus.until, f"count(up == 1) by () >= {len(pods) + 2}")
    assert up
    found = {line["metric"]["pod"] for line in prometheus.query("hearth_build_info")}
    assert found == pods
    engine = await asyncio.to_thread(prometheus.until, f'vllm:num_requests_running{{service="{NAME}"}}')
    assert {line["metric"]["namespace"] for line in engine} == {NAMESPACE}


def test_every_rule_is_taken(prometheus: Prometheus) -> None:
    (ours,) = yaml.safe_load((ROOT / "deploy/monitoring/rules.yaml").read_text())["groups"]
    assert prometheus.rules() == {rule.get("record") or rule["alert"] for rule in ours["rules"]}


@pytest.mark.parametrize("query", BY_STATE_METRICS, ids=lambda query: query.legend)
def test_what_dashboards_ask_of_kube_state_metrics_has_data(prometheus: Prometheus, query: Any) -> None:
    series = prometheus.until(expanded(query.expr))
    assert {"namespace": NAMESPACE, "service": NAME}.items() <= series[0]["metric"].items()
