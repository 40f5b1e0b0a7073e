"""KEDA's operator and metrics adapter on the local cluster's objects, against a scripted scaler over real gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from hearth.crd_translator import ClusterFacts, render
from hearth.emulators.kinds import KindTable
from hearth.emulators.refusals import Refusal
from hearth.emulators.scaledobjects import KedaOperator
from hearth.emulators.selectors import label_selector
from hearth.emulators.store import ObjectStore
from hearth.proto.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from tests.builders import bundled_runtimes, llmservice
from tests.component.test_keda import PATIENCE, ScriptedScaler

SCHEDULE = "spec.scaling.schedules=[{start: 0 3 1 1 *, end: 1 3 1 1 *, timezone: UTC, replicas: 1}]"
HOST, PORT = "hearth-scaler.hearth-system.svc.cluster.local", 9090


class Scaled:
    """A Deployment with a ScaledObject, and the operator that looks after it. `address` is the scaler's."""

    def __init__(self, address: str | None) -> None:
        self.scaler = ScriptedScaler()
        self.address = address
        self.store = ObjectStore()
        self.resolved: list[tuple[str, int]] = []
        self.operator = KedaOperator(self.store, KindTable(), self._resolve, hpa_sync_seconds=0.1)
        self._changed = asyncio.Event()
        self.store.listen(lambda event: self._changed.set())

    def _resolve(self, host: str, port: int) -> str | None:
        self.resolved.append((host, port))
        return self.address

    def apply(self, *assignments: str, **spec: Any) -> None:
        service = llmservice("spec.scaling.max=5", "spec.scaling.target=5", *assignments)
        rendered = render(service, bundled_runtimes(), ClusterFacts())
        (deployment,), (scaled_object,) = rendered.of_kind("Deployment"), rendered.of_kind("ScaledObject")
        if self.store.get("deployments", "ai", "qwen") is None:
            self.store.put("deployments", {**deployment, "spec": {**deployment["spec"], "replicas": 0}})
        scaled_object["spec"] |= {"pollingInterval": 0.1, **spec}
        status = (self.store.get("scaledobjects", "ai", "qwen") or {}).get("status") or {}
        self.store.put("scaledobjects", {**scaled_object, "status": status})

    @property
    def replicas(self) -> Any:
        return (self.store.get("deployments", "ai", "qwen") or {})["spec"]["replicas"]

    @property
    def status(self) -> Any:
        return (self.store.get("scaledobjects", "ai", "qwen") or {}).get("status") or {}

    def condition(self, kind: str) -> Any:
        return next((each for each in self.status.get("conditions") or [] if each["type"] == kind), {})

    async def until(self, seen: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not seen():
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def operating(*, reachable: bool = True) -> AsyncIterator[Scaled]:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    made = Scaled(f"127.0.0.1:{port}" if reachable else None)
    add_ExternalScalerServicer_to_server(made.scaler, server)
    await server.start()
    operating = asyncio.create_task(made.operator.run())
    await asyncio.sleep(0)  # it listens
    try:
        yield made
    finally:
        operating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await operating
        await server.stop(None)


async def test_what_keda_says_of_a_scaled_object_that_it_has_taken() -> None:
    async with operating() as made:
        made.apply()
        await made.until(lambda: made.condition("Ready").get("status") == "True")
        assert made.condition("Ready")["reason"] == "ScaledObjectReady"
        assert made.status["externalMetricNames"] == ["s0-queueDepth"]
        assert made.condition("Active")["status"] == "False"
        assert made.resolved[0] == (HOST, PORT), "the scaler is found by the name in the trigger"


async def test_replicas_are_written_through_the_scale_subresource() -> None:
    async with operating() as made:
        made.apply()
        made.scaler.pushes.put_nowait(True)
        await made.until(lambda: made.replicas == 1)
        await made.until(lambda: made.condition("Active").get("status") == "True")
        deployment = made.store.get("deployments", "ai", "qwen")
        assert deployment is not None
        (entry,) = deployment["metadata"]["managedFields"]
        assert (entry["manager"], entry["operation"], entry["subresource"]) == ("keda", "Update", "scale")


async def test_what_somebody_scaled_by_hand_is_where_the_hpa_goes_on() -> None:
    async with operating() as made:
        made.apply("spec.scaling.scaleDownStabilization=1h")
        made.scaler.active, made.scaler.depth = True, 15.0
        await made.until(lambda: made.replicas == 3)
        deployment = made.store.get("deployments", "ai", "qwen") or {}
        made.store.put("deployments", {**deployment, "spec": {**deployment["spec"], "replicas": 5}})
        made.scaler.depth = 30.0
        await made.until(lambda: made.replicas == 5)
        assert made.operator._scalers["ai", "qwen"].autoscaler.replicas == 5


async def test_a_changed_scaled_object_goes_on_from_the_replicas_that_there_are() -> None:
    async with operating() as made:
        made.apply()
        made.scaler.active, made.scaler.depth = True, 25.0
        await made.until(lambda: made.replicas == 5)
        made.apply("spec.scaling.max=2")
        await made.until(lambda: made.replicas == 2)


@pytest.mark.parametrize(
    ("annotation", "left"),
    [({"autoscaling.keda.sh/paused": "true"}, 3), ({"autoscaling.keda.sh/paused-replicas": "0"}, 0)],
)
async def test_one_that_is_paused_is_left_alone_until_the_annotation_goes(
    annotation: dict[str, str], left: int
) -> None:
    async with operating() as made:
        made.apply("spec.scaling.scaleDownStabilization=1h")
        made.scaler.active, made.scaler.depth = True, 15.0
        await made.until(lambda: made.replicas == 3)
        scaled = made.store.get("scaledobjects", "ai", "qwen") or {}
        made.store.put("scaledobjects", {**scaled, "metadata": {**scaled["metadata"], "annotations": annotation}})
        await made.until(lambda: made.condition("Paused").get("status") == "True")
        made.scaler.pushes.put_nowait(True)
        made.scaler.depth = 25.0
        assert made.replicas == left
        assert ("ai", "qwen") not in made.operator._scalers, "nobody asks the scaler"
        made.store.put(
            "scaledobjects", {**(made.store.get("scaledobjects", "ai", "qwen") or {}), "metadata": scaled["metadata"]}
        )
        await made.until(lambda: made.replicas == 5)
        assert made.condition("Paused")["status"] == "False"


async def test_one_that_is_deleted_is_left_alone() -> None:
    async with operating() as made:
        made.apply()
        await made.until(lambda: made.condition("Ready").get("status") == "True")
        made.store.delete("scaledobjects", "ai", "qwen")
        made.scaler.active = True
        made.scaler.calls.clear()
        made.store.put("scaledobjects", {"metadata": {"name": "n", "namespace": "b"}, "spec": {}} | _unscaled())
        await made.until(lambda: (made.store.get("scaledobjects", "b", "n") or {}).get("status"))
        assert made.replicas == 0
        assert "IsActive" not in made.scaler.calls


def _unscaled() -> dict[str, Any]:
    """A ScaledObject that asks for what is left out: an answer about it comes after all that was before."""
    trigger = {"type": "external-push", "metadata": {"scalerAddress": f"{HOST}:{PORT}", "target": "1"}}
    return {"spec": {"scaleTargetRef": {"name": "n"}, "triggers": [trigger], "fallback": {"replicas": 1}}}


async def test_what_is_left_out_is_refused_in_words() -> None:
    async with operating() as made:
        made.apply(fallback={"replicas": 1, "failureThreshold": 3})
        await made.until(lambda: made.condition("Ready"))
        found = made.condition("Ready")
        assert (found["status"], found["reason"]) == ("False", "ScaledObjectCheckFailed")
        assert "fallback" in found["message"]


async def test_a_scaler_that_nobody_finds() -> None:
    async with operating(reachable=False) as made:
        made.apply()
        await made.until(lambda: made.condition("Ready"))
        found = made.condition("Ready")
        assert (found["status"], found["reason"]) == ("False", "ScaledObjectCheckFailed")
        assert f"{HOST}:{PORT}: no endpoints are ready" in found["message"]


async def test_beside_a_schedule_the_hpa_is_made_without_our_metric() -> None:
    """kedacore/keda#8168: no scaler answers while KEDA makes the HPA of two triggers."""
    async with operating() as made:
        made.scaler.no_spec = True
        made.apply(SCHEDULE)
        await made.until(lambda: made.status.get("externalMetricNames"))
        assert made.status["externalMetricNames"] == ["s1-cron"]
        assert made.condition("Ready")["status"] == "True"
        made.scaler.no_spec = False
        trigger = made.store.get("scaledobjects", "ai", "qwen") or {}
        trigger["spec"]["triggers"][0]["metadata"]["nudge"] = "1"
        made.store.put("scaledobjects", trigger)
        await made.until(lambda: made.status["externalMetricNames"] == ["s0-queueDepth", "s1-cron"])


async def test_without_a_schedule_it_is_not_made_until_there_is_an_answer() -> None:
    async with operating() as made:
        made.scaler.no_spec = True
        made.apply()
        await made.until(lambda: made.condition("Ready"))
        assert "failed to ensure HPA is correctly created" in made.condition("Ready")["message"]
        made.scaler.no_spec = False
        await made.until(lambda: made.condition("Ready")["status"] == "True")


async def test_external_metrics_are_asked_of_the_scaler_now() -> None:
    async with operating() as made:
        made.apply()
        await made.until(lambda: made.status.get("externalMetricNames"))
        ours = label_selector("scaledobject.keda.sh/name=qwen")
        made.scaler.depth = 7.0
        (value,) = await made.operator.external_metrics("ai", "s0-queueDepth", ours)
        assert (value["metricName"], value["value"]) == ("s0-queueDepth", "7000m")
        with pytest.raises(Refusal, match="No matching metrics found for s0-queueDepth"):
            await made.operator.external_metrics("ai", "s0-queueDepth", label_selector("scaledobject.keda.sh/name=b"))
        with pytest.raises(Refusal) as other:
            await made.operator.external_metrics("elsewhere", "s0-queueDepth", ours)
        assert other.value.code == 404
        made.scaler.failing = True
        with pytest.raises(Refusal, match="blind") as blind:
            await made.operator.external_metrics("ai", "s0-queueDepth", ours)
        assert blind.value.code == 500
