"""The commands of runbooks and alerts, as somebody pastes them, on a real API server: kubectl takes each, and every kind and
label that they name is there."""

import os
import re
import subprocess

import pytest

from tests.builders import ROOT
from tests.cluster.installed import Installed
from tests.cluster.kubectl import NAME, NAMESPACE, Cluster
from tools.alerts import ALERTS, runbook

# What this cluster has not: Prometheus' operator, and a pod of KEDA's.
_NOT_HERE = ("podmonitor", "-n keda")


def commands() -> dict[str, None]:
    """kubectl's command lines, each once, without what their output is piped into."""
    found = [re.sub(r"\{\{ \$labels\.role \}\}", "activator", alert.look) for alert in ALERTS]
    for alert in ALERTS:
        text = (ROOT / runbook(alert)).read_text()
        (look,) = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        found += [line for line in look.splitlines() if line.startswith("kubectl")]
    lines = {re.sub(r"\{\{ \$labels\.service \}\}", "NAME", line) for line in found}
    lines = {re.sub(r"\{\{ \$labels\.namespace \}\}", "NAMESPACE", line) for line in lines}
    return dict.fromkeys(sorted(re.split(r"\s+[|#] ", line)[0] for line in lines))


@pytest.fixture(scope="module")
def served(installed: Installed) -> Installed:
    """An LLMService whose objects are there."""
    cluster = Cluster(installed.plane)
    with installed.role("controller", "--lease", "hearth-system/hearth-controller"):
        cluster.apply()
        cluster.until(lambda: cluster.get("scaledobject") and cluster.get("deployment"), "rendered")
    return installed


@pytest.mark.parametrize("command", commands())
def test_kubectl_takes_it(served: Installed, command: str) -> None:
    words = re.sub(r"\bNAMESPACE\b", NAMESPACE, re.sub(r"\bNAME\b", NAME, command))
    plane = served.plane
    path = f"{plane.binaries}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(plane.kubeconfig)}
    done = subprocess.run(["sh", "-c", words], env=environment, capture_output=True, text=True, check=False, timeout=60)
    if not any(word in command for word in _NOT_HERE):
        assert done.returncode == 0, done.stderr
    assert "unknown" not in done.stderr, done.stderr


@pytest.mark.parametrize("role", ["controller", "activator", "scaler"])
def test_the_roles_pods_have_the_labels_that_runbooks_select_by(served: Installed, role: str) -> None:
    selector = f"app.kubernetes.io/part-of=hearth,app.kubernetes.io/component={role}"
    found = served.plane.kubectl("get", "pods", "-n", "hearth-system", "-l", selector, "-o", "name")
    assert len(found.split()) == 2
