"""What the fleet, and so Prometheus, is told of an LLMService, however a look at it ends."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from hearth.controller.world import asks_for_devices
from hearth.kube.errors import Conflict, Forbidden, KubeError
from hearth.kube.objects import KubeObject, ObjectKey
from tests.unit.controller.cluster import KEY, LABEL, Cluster


class Told(Cluster):
    """A cluster whose fleet is read as Prometheus does."""

    def __init__(self, *assignments: str) -> None:
        super().__init__(*assignments)
        self.registry = CollectorRegistry()
        self.fleet.register(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        at = {"namespace": KEY.namespace, "service": KEY.name, **labels}
        return self.registry.get_sample_value(f"hearth_llmservice_{name}", at)

    def not_ready(self) -> set[str]:
        families = {family.name: family for family in self.registry.collect()}
        return {sample.labels["reason"] for sample in families["hearth_llmservice_not_ready"].samples}

    def scale(self, wanted: int, there: int = 0, ready: int = 0) -> None:
        self.get("Deployment", "qwen")["spec"]["replicas"] = wanted
        self.get("Deployment", "qwen")["status"] = {"replicas": there, "readyReplicas": ready}


def engine(pod: str, *, node: str = "", leaving: bool = False, phase: str = "Running", **owner: str) -> KubeObject:
    made_by = {"kind": "ReplicaSet", "name": "qwen-abc", "uid": "rs", "controller": True, **owner}
    labels = {LABEL: "qwen", "app.kubernetes.io/component": "engine", "pod-template-hash": "abc"}
    about: dict[str, Any] = {"name": pod, "namespace": "ai", "labels": labels, "ownerReferences": [made_by]}
    if leaving:
        about["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": about, "spec": {"nodeName": node}, "status": {"phase": phase}}


async def test_one_that_nothing_can_serve_is_told_of_from_the_first_look() -> None:
    cluster = Told("spec.runtime={name: nowhere}")
    await cluster.look()
    assert cluster.value("replicas") == 0
    assert cluster.value("phase", phase="Pending") == 1
    assert cluster.value("cold_start_seconds_count") == 0
    assert cluster.not_ready() == {"RuntimeNotFound"}
    cluster.apply()
    await cluster.look()
    cluster.keda_says()
    await cluster.look()
    assert cluster.not_ready() == set()


@pytest.mark.parametrize(
    ("error", "reason"), [(Forbidden("403: exceeded quota", 403), "Refused"), (Conflict("409: changed", 409), None)]
)
async def test_one_whose_look_fails_has_its_replicas_told_all_the_same(error: KubeError, reason: str | None) -> None:
    cluster = Told()
    await cluster.settle()
    cluster.keda_says()
    cluster.scale(3, 3, 3)
    await cluster.look()
    assert (cluster.value("replicas"), cluster.value("ready_replicas")) == (3, 3)
    cluster.scale(3, 1, 0)
    cluster.apply("spec.scaling.max=9", generation=2)

    async def refuse(path: str, item: KubeObject, manager: str) -> KubeObject:
        raise error

    applied, cluster.api.apply_object = cluster.api.apply_object, refuse  # type: ignore[method-assign]
    cluster.get("Deployment", "qwen")["metadata"]["generation"] = 9
    with pytest.raises(type(error)):
        await cluster.look()
    cluster.api.apply_object = applied  # type: ignore[method-assign]
    assert (cluster.value("replicas"), cluster.value("ready_replicas")) == (3, 0)
    assert cluster.not_ready() == ({reason} if reason else set())


async def test_one_that_can_not_be_read_any_more_is_told_of_with_what_it_asked_for() -> None:
    cluster = Told("spec.resources.accelerators=2")
    await cluster.settle()
    item = cluster.services[ObjectKey(*KEY)]
    cluster.services[ObjectKey(*KEY)] = {**item, "spec": {"strange": True}}
    await cluster.look()
    assert cluster.not_ready() == {"Invalid"}
    assert cluster.value("accelerators") == 2


async def test_what_holds_devices_are_pods_with_a_node_until_they_have_ended() -> None:
    cluster = Told("spec.cache.prewarm=true")
    await cluster.settle()
    cluster.keda_says()
    cluster.scale(2)
    (job,) = cluster.names("Job")
    owner = {"kind": "Job", "name": job, "uid": cluster.get("Job", job)["metadata"]["uid"]}
    prewarm = engine("prewarm", node="n", **owner)
    prewarm["spec"]["containers"] = [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]
    pods = {
        "waiting": engine("waiting"),
        "starting": engine("starting", node="n", phase="Pending"),
        "leaving": engine("leaving", node="n", leaving=True),
        "ended": engine("ended", node="n", phase="Failed"),
        "stray": engine("stray", node="n", name="other-abc"),
        "prewarm": prewarm,
    }
    pods["stray"]["metadata"]["ownerReferences"] = []
    for name, pod in pods.items():
        cluster.belongings.put("Pod", ObjectKey("ai", name), pod)
    await cluster.look()
    assert cluster.value("placed_replicas") == 3
    assert cluster.value("replicas") == 2
    assert cluster.status["replicas"] == 0, "of the Deployment's status, which has not seen them yet"


@pytest.mark.parametrize(
    ("resources", "asks"),
    [
        ({}, False),
        ({"limits": {"memory": "1Gi", "cpu": "1"}}, False),
        ({"limits": {"huawei.com/Ascend910": "1"}}, True),
        ({"claims": [{"name": "gpu"}]}, True),
    ],
)
def test_devices_have_a_domain_in_their_name_or_are_claimed(resources: KubeObject, asks: bool) -> None:
    assert asks_for_devices({"spec": {"containers": [{}, {"resources": resources}]}}) is asks


async def test_a_start_is_counted_when_it_brings_a_replica_and_only_then() -> None:
    cluster = Told()
    await cluster.settle()
    cluster.keda_says()
    cluster.scale(1)
    await cluster.look()
    assert cluster.status["coldStart"]["phase"] == "scheduling"
    cluster.now += timedelta(seconds=40)
    cluster.scale(1, 1, 1)
    for _ in range(3):
        await cluster.look()
    assert cluster.value("cold_start_seconds_count") == 1
    assert cluster.value("cold_start_seconds_sum") == 40
    assert cluster.value("cold_start_phase_seconds_total", phase="scheduling") == 40
    cluster.scale(0)
    await cluster.look()
    cluster.scale(1)
    await cluster.look()
    cluster.now += timedelta(hours=62)
    cluster.scale(0)
    await cluster.look()
    await cluster.look()
    assert cluster.value("cold_start_seconds_count") == 1, "a start that was given up over a weekend is none"
    assert cluster.value("cold_starts_in_vain_total") == 1


async def test_a_start_whose_status_could_not_be_written_is_counted_with_the_write() -> None:
    cluster = Told()
    await cluster.settle()
    cluster.keda_says()
    cluster.scale(1)
    await cluster.look()
    cluster.scale(1, 1, 1)
    cluster.now += timedelta(seconds=4)
    applied = cluster.api.apply_object

    async def refuse(path: str, item: KubeObject, manager: str) -> KubeObject:
        if path.endswith("/status"):
            raise Conflict("409: changed", 409)
        return await applied(path, item, manager)

    cluster.api.apply_object = refuse  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        await cluster.look()
    assert cluster.value("cold_start_seconds_count") == 0
    cluster.api.apply_object = applied  # type: ignore[method-assign]
    await cluster.look()
    assert cluster.value("cold_start_seconds_count") == 1
