"""What operators look at, in a cluster: doctor, status and top; the controller's and KEDA's own metrics."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.builders import ROOT
from tests.cluster.deployed import Deployed
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.monitoring.scraped import Prometheus, expanded, prometheus
from tools.dashboards import SCALER, Query

NAME = "watched"
KEDA_METRICS = "127.0.0.1:8090"


def command(hearth: Deployed, *words: str) -> tuple[int, Any]:
    """(exit code, data) of a `hearth` command."""
    done = subprocess.run(
        [sys.executable, "-m", "hearth", *words, "--kubeconfig", str(hearth.plane.kubeconfig), "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


def has_data(running: Prometheus, query: Query, began: float) -> bool:
    return bool(running.query_range(expanded(query.expr), began, time.time(), 1))


async def test_a_cluster_that_is_well_and_one_that_is_not(hearth: Deployed, tmp_path: Path) -> None:
    cluster, began = hearth.cluster, time.time()
    hearth.engines(watched=["--start-seconds=0.2", "--load-seconds=0.5"])
    cluster.apply(name=NAME)
    cluster.until(lambda: cluster.asleep(NAME), "asleep")
    addresses = [pod["status"]["podIP"] for role in ("controller", "activator", "scaler") for pod in hearth.pods(role)]
    with prometheus(tmp_path, [*(f"{address}:8081" for address in addresses), KEDA_METRICS]) as running:
        async with new_client() as client:
            assert (await Conversation(NAME, tokens=5).run(client)).whole
        running.until(f'hearth_llmservice_ready_replicas{{service="{NAME}"}} == 1')

        code, checks = command(hearth, "doctor")
        assert (code, [check for check in checks if not check["well"]]) == (0, [])
        assert {"Kubernetes", "KEDA", "external metrics", "CRDs", "accelerators"} <= {check["what"] for check in checks}
        assert sum(check["found"] == "hears the activators" for check in checks) == 2
        code, status = command(hearth, "status", NAME, "-n", NAMESPACE)
        assert (code, status["phase"]) == (0, "Ready")
        assert [link["kind"] for link in status["links"]] == [
            *("LLMService", "ScaledObject", "HorizontalPodAutoscaler", "Deployment", "Pod")
        ]
        assert "Active True" in status["links"][1]["says"]
        _, rows = command(hearth, "top", "-n", NAMESPACE)
        (row,) = [row for row in rows if row["name"] == NAME]
        assert (row["phase"], row["ready"]) == ("Ready", 1)

        running.until("sum(hearth_controller_leader) == 1")
        running.until(f'keda_scaler_metrics_value{{scaledObject="{NAME}"}}')
        series = running.query("count by (role) (hearth_build_info)")
        assert {line["metric"]["role"]: line["value"][1] for line in series} == {
            **dict.fromkeys(("controller", "activator", "scaler"), "2")
        }
        queries = [query for panel in SCALER.panels for query in panel.queries]
        for query in queries:
            # kube-state-metrics is not here; KEDA's counters of errors begin with the first one.
            excused = "kube-state-metrics" in (query.empty or "") or re.search("keda_[a-z_]+_errors_total", query.expr)
            assert excused or has_data(running, query, began), query.expr

    hearth.plane.kubectl("delete", "clusterrolebinding", "hearth-activator")
    code, checks = command(hearth, "doctor")
    assert code == 1
    (lost,) = [check for check in checks if not check["well"]]
    assert lost["what"] == "rights of activator"
    assert "may not list llmservices" in lost["found"]
    hearth.plane.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy"))
    cluster.apply("spec.resources.accelerators=64", name="stuck")
    hearth.plane.kubectl(
        "patch", "llmservice", "stuck", "-n", NAMESPACE, "--type=merge", "-p", '{"spec":{"scaling":{"min":1}}}'
    )
    cluster.until(lambda: (cluster.condition("Ready", "stuck") or {}).get("reason") == "Unschedulable", "Unschedulable")
    code, status = command(hearth, "status", "stuck", "-n", NAMESPACE)
    assert code == 1
    assert "Insufficient nvidia.com/gpu" in status["links"][-1]["says"]
    hearth.plane.kubectl("delete", "llmservice", "stuck", NAME, "-n", NAMESPACE)
