"""A KEDA that has lost our metric, and a cluster without KEDA: both heal by themselves, on the real KEDA."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.controlplane import HOST
from tests.cluster.installed import Installed
from tests.cluster.kubectl import NAMESPACE, Cluster

SCHEDULE = "spec.scaling.schedules=[{start: 0 3 1 1 *, end: 1 3 1 1 *, timezone: UTC, replicas: 1}]"
SCALER = ("--listen", f"{HOST}:9090", "--activator", "127.0.0.1:9")


@pytest.fixture(scope="module")
def cluster(installed: Installed) -> Iterator[Cluster]:
    with installed.role("controller", "--scaler-address", f"{HOST}:9090"):
        yield Cluster(installed.plane)


def metric_names(cluster: Cluster, name: str) -> Any:
    return ((cluster.get("scaledobject", name) or {}).get("status") or {}).get("externalMetricNames") or []


def test_a_metric_that_keda_has_lost_comes_back(cluster: Cluster, installed: Installed) -> None:
    """kedacore/keda#8168: no scaler answers while KEDA makes the HPA of two triggers."""
    cluster.apply(SCHEDULE, name="lost")
    names = cluster.until(lambda: metric_names(cluster, "lost"), "KEDA made the HPA")
    assert [name.partition("-")[0] for name in names] == ["s1"], "KEDA's bug is there, or there is nothing to heal"
    with installed.role("scaler", *SCALER):
        cluster.until(lambda: "s0-queueDepth" in metric_names(cluster, "lost"), "our metric, after a nudge")
        generation = cluster.get("scaledobject", "lost")["metadata"]["generation"]
        trigger = cluster.get("scaledobject", "lost")["spec"]["triggers"][0]["metadata"]
        assert int(trigger["nudge"]) >= 1
        cluster.apply(SCHEDULE, "spec.scaling.max=2", name="lost")
        cluster.until(lambda: cluster.get("scaledobject", "lost")["spec"]["maxReplicaCount"] == 2, "the change")
        after = cluster.get("scaledobject", "lost")
        assert after["spec"]["triggers"][0]["metadata"] == trigger, "a nudge stays: taking it away would be a change"
        assert after["metadata"]["generation"] == generation + 1
    cluster.plane.kubectl("delete", "llmservice", "lost", "-n", NAMESPACE)


def test_without_keda_a_condition_says_so_until_it_is_installed(cluster: Cluster, installed: Installed) -> None:
    plane = cluster.plane
    plane.kubectl("delete", "crd", "scaledobjects.keda.sh")
    for name in ("keda-adapter", "keda-operator"):
        plane.kill(name)
    try:
        cluster.apply(name="early")
        found = cluster.until(lambda: cluster.condition("ScaledObjectReady", "early"), "a condition")
        assert (found["status"], found["reason"]) == ("False", "KedaNotInstalled")
        assert "install KEDA" in found["message"]
        assert cluster.get("deployment", "early")["spec"]["replicas"] == 0, "nothing runs that nobody would stop"
    finally:
        plane.kubectl("apply", "--server-side", "-f", str(plane.binaries / "keda-crds"))
        plane.start_keda()
    with installed.role("scaler", *SCALER):
        cluster.until(
            lambda: (cluster.condition("ScaledObjectReady", "early") or {}).get("status") == "True", "KEDA took it"
        )
    events = json.loads(plane.kubectl("get", "events.events.k8s.io", "-n", NAMESPACE, "-o", "json"))["items"]
    assert ("Warning", "KedaNotInstalled") in {(event["type"], event["reason"]) for event in events}
