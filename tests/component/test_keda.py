"""The embedded autoscaler against a scripted scaler over real gRPC: the calls that KEDA makes, in their order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from hearth.crd_translator import ClusterFacts, render
from hearth.emulators.keda import Cron, EmbeddedKeda
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerServicer, add_ExternalScalerServicer_to_server
from tests.builders import bundled_runtimes, llmservice

PATIENCE = 10.0


class ScriptedScaler(ExternalScalerServicer):
    """Answers what the test sets, and remembers who called what."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refs: list[pb.ScaledObjectRef] = []
        self.pushes: asyncio.Queue[bool | None] = asyncio.Queue()
        self.active = False
        self.depth = 0.0
        self.failing = False
        self.no_spec = False
        self.streams_specs = True
        self.answering = asyncio.Event()
        self.answering.set()

    async def _note(self, name: str, ref: pb.ScaledObjectRef, context: grpc.aio.ServicerContext) -> None:  # type: ignore[type-arg]
        self.calls.append(name)
        self.refs.append(ref)
        if self.failing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "blind")

    async def IsActive(self, request, context):  # type: ignore[no-untyped-def]
        await self._note("IsActive", request, context)
        return pb.IsActiveResponse(result=self.active)

    async def GetMetricSpec(self, request, context):  # type: ignore[no-untyped-def]
        await self._note("GetMetricSpec", request, context)
        if self.no_spec:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        return self._spec()

    async def GetMetrics(self, request, context):  # type: ignore[no-untyped-def]
        await self._note("GetMetrics", request.scaledObjectRef, context)
        await self.answering.wait()
        value = pb.MetricValue(metricName=request.metricName, metricValueFloat=self.depth)
        return pb.GetMetricsResponse(metricValues=[value])

    async def StreamIsActive(self, request, context):  # type: ignore[no-untyped-def]
        self.calls.append("StreamIsActive")
        while (result := await self.pushes.get()) is not None:
            yield pb.IsActiveResponse(result=result)

    async def StreamMetricSpec(self, request, context):  # type: ignore[no-untyped-def]
        self.calls.append("StreamMetricSpec")
        if not self.streams_specs:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "older")
        yield self._spec()
        await asyncio.Event().wait()

    def _spec(self) -> pb.GetMetricSpecResponse:
        return pb.GetMetricSpecResponse(metricSpecs=[pb.MetricSpec(metricName="queueDepth", targetSizeFloat=5.0)])


class Loop:
    """An embedded autoscaler that runs against the scripted scaler."""

    def __init__(self, scaler: ScriptedScaler, keda: EmbeddedKeda, changed: asyncio.Event) -> None:
        self.scaler = scaler
        self.keda = keda
        self.changed = changed

    async def replicas(self, wanted: int) -> None:
        await self.until(lambda: self.keda.autoscaler.replicas == wanted)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):  # the scaler's calls have no bell
                        self.changed.clear()
                        await self.changed.wait()


@contextlib.asynccontextmanager
async def running(*assignments: str, **scripted: bool) -> AsyncIterator[Loop]:
    scaler = ScriptedScaler()
    for name, value in scripted.items():
        assert hasattr(scaler, name)
        setattr(scaler, name, value)
    server = grpc.aio.server()
    add_ExternalScalerServicer_to_server(scaler, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    service = llmservice("spec.scaling.max=5", "spec.scaling.target=5", *assignments)
    (scaled_object,) = render(service, bundled_runtimes(), ClusterFacts()).of_kind("ScaledObject")
    scaled_object["spec"]["pollingInterval"] = 0.1
    changed = asyncio.Event()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        keda = EmbeddedKeda(scaled_object, channel, lambda replicas: changed.set(), hpa_sync_seconds=0.1)
        task = asyncio.create_task(keda.run())
        yield Loop(scaler, keda, changed)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await server.stop(None)


async def test_it_opens_both_streams_and_polls() -> None:
    async with running() as loop:
        expected = {"StreamIsActive", "StreamMetricSpec", "GetMetrics", "IsActive"}
        await loop.until(lambda: expected <= set(loop.scaler.calls))
        ref = loop.scaler.refs[0]
        assert (ref.namespace, ref.name) == ("ai", "qwen")
        assert dict(ref.scalerMetadata)["target"] == "5"


async def test_a_pushed_true_activates_and_a_pushed_false_does_nothing() -> None:
    async with running() as loop:
        loop.scaler.pushes.put_nowait(True)
        await loop.replicas(1)
        loop.scaler.pushes.put_nowait(False)
        calls = len(loop.scaler.calls)
        await loop.until(lambda: len(loop.scaler.calls) > calls + 4)
        assert loop.keda.autoscaler.replicas == 1


async def test_the_metric_scales_what_is_active() -> None:
    async with running() as loop:
        loop.scaler.depth, loop.scaler.active = 23.0, True
        await loop.replicas(5)


async def test_silence_goes_to_zero_by_the_poll() -> None:
    async with running("spec.scaling.scaleDownStabilization=1s") as loop:
        loop.scaler.pushes.put_nowait(True)
        await loop.replicas(1)
        await loop.replicas(0)


async def test_on_errors_the_replicas_stay() -> None:
    async with running("spec.scaling.scaleDownStabilization=1s") as loop:
        loop.scaler.depth, loop.scaler.active = 23.0, True
        await loop.replicas(5)
        loop.scaler.failing = True
        asked = len(loop.scaler.calls)
        began = asyncio.get_running_loop().time()
        await loop.until(lambda: len(loop.scaler.calls) > asked + 20)
        await loop.until(lambda: asyncio.get_running_loop().time() - began > 1.5)
        assert loop.keda.autoscaler.replicas == 5


async def test_nothing_is_asked_or_heard_before_its_hpa_is_made() -> None:
    """hpa.go, getScaledObjectMetricSpecs: no metric specs, no HPA; HandleScalableObject comes after the HPA."""
    async with running(no_spec=True) as loop:
        loop.scaler.pushes.put_nowait(True)
        await loop.until(lambda: loop.scaler.calls.count("GetMetricSpec") >= 3)
        assert set(loop.scaler.calls) == {"GetMetricSpec"}
        loop.scaler.no_spec = False
        await loop.replicas(1)


async def test_a_metric_that_was_missing_when_the_hpa_was_made_beside_a_schedule_is_lost() -> None:
    """kedacore/keda#8168: status.externalMetricNames lacks it, so every push is dropped; the poll goes on."""
    async with running(f"spec.scaling.schedules=[{window(1)}]", no_spec=True, streams_specs=False) as loop:
        await loop.until(lambda: "StreamIsActive" in loop.scaler.calls)
        loop.scaler.no_spec = False
        loop.scaler.pushes.put_nowait(True)
        polls = loop.scaler.calls.count("IsActive")
        await loop.until(lambda: loop.scaler.calls.count("IsActive") >= polls + 3)
        assert loop.keda.autoscaler.replicas == 0
        loop.scaler.active = True
        await loop.replicas(1)


async def test_a_scaler_that_hangs_holds_up_its_poll_and_every_push() -> None:
    """scale_handler.go: the poll has no deadline, and holds the scalingMutex that a push waits for."""
    async with running() as loop:
        await loop.until(lambda: "IsActive" in loop.scaler.calls)
        loop.scaler.answering.clear()
        asked = loop.scaler.calls.count("GetMetrics")
        await loop.until(lambda: loop.scaler.calls.count("GetMetrics") > asked)
        loop.scaler.pushes.put_nowait(True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await loop.replicas(1)
        assert loop.scaler.calls.count("GetMetrics") == asked + 1, "no second poll beside it"
        loop.scaler.answering.set()
        await loop.replicas(1)


async def test_a_call_that_fails_is_made_once_more() -> None:
    """scalers_cache.go, GetMetricsAndActivityForScaler: the scaler is built again and asked again."""
    async with running() as loop:
        await loop.until(lambda: "IsActive" in loop.scaler.calls)
        loop.scaler.failing = True
        await loop.until(lambda: loop.scaler.calls[-4:].count("GetMetrics") >= 2)


async def test_streamed_specs_are_kept_and_others_are_asked_for_at_each_poll() -> None:
    """scalers_cache.go, CachedMetricSpecs: only what StreamMetricSpec said is kept."""
    async with running(streams_specs=False) as loop:
        await loop.until(lambda: loop.scaler.calls.count("GetMetricSpec") >= 4)
        assert loop.scaler.calls.count("StreamMetricSpec") == 1, "UNIMPLEMENTED is never asked again"
    async with running() as loop:
        await loop.until(lambda: loop.scaler.calls.count("IsActive") >= 4)
        assert loop.scaler.calls.count("GetMetricSpec") <= 2


async def test_an_open_schedule_activates_beside_a_scaler_that_fails() -> None:
    """executor: active with an error scales from zero; the HPA takes what it has and scales up by it."""
    async with running(f"spec.scaling.schedules=[{window(-1)}]") as loop:
        loop.scaler.failing = True
        await loop.replicas(3)


def window(hours: int) -> str:
    """A schedule of 3 replicas for 4 hours that begins so many hours from now."""
    start = datetime.now(UTC) + timedelta(hours=hours)
    end = start + timedelta(hours=4)
    times = f"start: {start.minute} {start.hour} * * *, end: {end.minute} {end.hour} * * *"
    return f"{{{times}, timezone: UTC, replicas: 3}}"


@pytest.mark.parametrize(
    ("time", "replicas"), [("08:59:59", 0), ("09:00:00", 3), ("16:59:59", 3), ("17:00:00", 0), ("03:00:00", 0)]
)
def test_a_schedule_is_open_from_its_start_to_its_end(time: str, replicas: int) -> None:
    """cron_scaler.go: the next start and end are both after now; it is open where the end is not the later one."""
    cron = Cron.of({"timezone": "Europe/Berlin", "start": "0 9 * * *", "end": "0 17 * * *", "desiredReplicas": "3"})
    assert cron.wanted(datetime.fromisoformat(f"2026-07-01T{time}+02:00")) == replicas


@pytest.mark.parametrize(("hours", "replicas"), [(-1, 3), (1, 0)])
async def test_a_schedule_keeps_replicas_while_its_window_is_open(hours: int, replicas: int) -> None:
    """The window is 4 h long and began an hour ago, or begins in an hour."""
    async with running(f"spec.scaling.schedules=[{window(hours)}]") as loop:
        polls = loop.scaler.calls.count
        await loop.until(lambda: polls("IsActive") >= 3)
        if replicas:
            await loop.replicas(replicas)
        assert loop.keda.autoscaler.replicas == replicas
