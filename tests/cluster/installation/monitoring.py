"""Prometheus' operator, a Prometheus of its making and kube-state-metrics, as a cluster has them.

The operator runs as a process of the test bed; what it makes runs as pods, of images with the real programs alone.
"""

import base64
import contextlib
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.builders import ROOT
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import Cluster
from tests.cluster.node.image import load_program, provide
from tests.cluster.node.nodes import Node
from tests.cluster.node.shared import Service
from tests.monitoring.scraped import Prometheus

NAMESPACE = "monitoring"
OPERATOR = "127.0.0.1:18080"
IMAGES = {"prometheus": "local/prometheus:1", "prometheus-config-reloader": "local/reloader:1"}
UID = 65534  # of kube-state-metrics' manifests
SELECTORS = ("Selector", "NamespaceSelector")
# As the operator's documentation has it: https://prometheus-operator.dev/docs/platform/rbac/
READS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "prometheus"},
    "rules": [
        {"apiGroups": [""], "resources": ["services", "endpoints", "pods"], "verbs": ["get", "list", "watch"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ],
}
# It selects all there is; each second, so that a test need not wait for a quarter of a minute.
PROMETHEUS = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "Prometheus",
    "metadata": {"name": "k8s", "namespace": NAMESPACE},
    "spec": {
        "serviceAccountName": "prometheus",
        "image": IMAGES["prometheus"],
        "imagePullPolicy": "Never",
        **{f"{kind}{selector}": {} for kind in ("podMonitor", "serviceMonitor", "rule") for selector in SELECTORS},
        "scrapeInterval": "1s",
        "evaluationInterval": "1s",
    },
}
# As kube-prometheus has it: its labels say whose a series is, not who was asked for it.
STATE_METRICS = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "ServiceMonitor",
    "metadata": {"name": "kube-state-metrics", "namespace": NAMESPACE},
    "spec": {
        "namespaceSelector": {"matchNames": ["kube-system"]},
        "selector": {"matchLabels": {"app.kubernetes.io/name": "kube-state-metrics"}},
        "endpoints": [{"port": "http-metrics", "honorLabels": True}],
    },
}


def install_state_metrics(plane: ControlPlane, node: Node, built: Path) -> None:
    """By its own manifests, as a pod. Raises CommandFailed."""
    rendered = plane.kubectl("kustomize", str(built / "kube-state-metrics-manifests"))
    documents = [document for document in yaml.safe_load_all(rendered) if document]
    (deployment,) = [document for document in documents if document["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    provide(node, container, built / "kube-state-metrics", "/kube-state-metrics", UID)
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(documents))
    plane.kubectl("rollout", "status", "deployment/kube-state-metrics", "-n", "kube-system", "--timeout=90s")


@contextlib.contextmanager
def operated(plane: ControlPlane, node: Node, built: Path, folder: Path) -> Iterator[None]:
    """The operator at work on deploy/monitoring and the monitor of kube-state-metrics. Raises CommandFailed."""
    for name, reference in IMAGES.items():
        load_program(node, reference, built / name, f"/bin/{name}", UID)
    plane.kubectl("apply", "--server-side", "-f", str(built / "prometheus-operator-crds"))
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("create", "serviceaccount", "prometheus", "-n", NAMESPACE)
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(READS))
    account = f"--serviceaccount={NAMESPACE}:prometheus"
    plane.kubectl("create", "clusterrolebinding", "prometheus", "--clusterrole=prometheus", account)
    plane.kubectl("apply", "-k", str(ROOT / "deploy/monitoring"))
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(STATE_METRICS))
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(PROMETHEUS))
    pki = plane.state / "pki"
    operator = Service(
        "prometheus-operator",
        [
            *[str(built / "prometheus-operator"), "--apiserver=https://127.0.0.1:6443", f"--ca-file={pki}/ca.crt"],
            *[f"--cert-file={pki}/admin.crt", f"--key-file={pki}/admin.key"],
            *[
                f"--web.listen-address={OPERATOR}",
                f"--prometheus-config-reloader={IMAGES['prometheus-config-reloader']}",
            ],
        ],
        folder,
    )
    operator.start()
    try:
        yield
        assert not operator.ended, (folder / "prometheus-operator.log").read_text()[-3000:]
    finally:
        operator.stop()
        plane.kubectl("delete", "-k", str(ROOT / "deploy/monitoring"))
        plane.kubectl("delete", "clusterrole,clusterrolebinding", "prometheus")
        plane.kubectl("delete", "namespace", NAMESPACE)


def configuration(plane: ControlPlane) -> dict[str, Any]:
    """What the operator wrote for Prometheus' pod, once all monitors are in it."""
    cluster = Cluster(plane, NAMESPACE)

    def whole() -> Any:
        secret = cluster.get("secret", "prometheus-k8s")
        if secret is None:
            return None
        found = yaml.safe_load(gzip.decompress(base64.b64decode(secret["data"]["prometheus.yaml.gz"])))
        return found if len(found.get("scrape_configs") or []) >= 3 else None

    found: dict[str, Any] = cluster.until(whole, "the configuration that the operator makes of three monitors")
    return found


@contextlib.contextmanager
def running(plane: ControlPlane) -> Iterator[Prometheus]:
    """The Prometheus that the operator makes, once its pod is ready."""
    configuration(plane)
    cluster = Cluster(plane, NAMESPACE)
    cluster.until(lambda: cluster.get("statefulset", "prometheus-k8s"), "the operator's StatefulSet")
    plane.kubectl("rollout", "status", "statefulset/prometheus-k8s", "-n", NAMESPACE, "--timeout=120s")
    address = cluster.get("pod", "prometheus-k8s-0")["status"]["podIP"]
    with httpx.Client(base_url=f"http://{address}:9090", trust_env=False, timeout=30) as client:
        yield Prometheus(client)
