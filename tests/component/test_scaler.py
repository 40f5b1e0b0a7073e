"""The scaler over real gRPC: streams to KEDA on one side, streams from activators on the other."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from hearth.activator.demand import Demand, DemandBoard
from hearth.activator.lane.hold import Hold
from hearth.api.key import ServiceKey
from hearth.faults import counted
from hearth.kube.endpoints import Listing
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.demand_pb2_grpc import add_DemandServicer_to_server
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub
from hearth.scaler.listener import DemandListener
from hearth.scaler.metrics import ScalerMetrics
from hearth.scaler.picture import DemandPicture, Figures
from hearth.scaler.pulses import Pulses
from hearth.scaler.server import SERVICE, ScalerConfig, scaler_server

if TYPE_CHECKING:
    from hearth.proto.externalscaler_pb2_grpc import ExternalScalerAsyncStub

KEY = ServiceKey("ai", "qwen")
REF = pb.ScaledObjectRef(name="qwen", namespace="ai", scalerMetadata={"target": "5"})
PATIENCE = 10.0


@dataclass
class Scaler:
    """A scaler's server, what it knows, and a channel to it as KEDA has one."""

    port: int
    picture: DemandPicture
    pulses: Pulses
    channel: grpc.aio.Channel

    @property
    def keda(self) -> "ExternalScalerAsyncStub":
        return ExternalScalerStub(self.channel)

    def hear(self, **figures: Figures) -> None:
        """Let the activator at "a" say so."""
        now = asyncio.get_running_loop().time()
        heard = {ServiceKey("ai", name): value for name, value in figures.items()}
        self.pulses.pulse(self.picture.hear("a", heard, snapshot=True, now=now))


@contextlib.asynccontextmanager
async def running_scaler() -> AsyncIterator[Scaler]:
    picture, pulses = DemandPicture(), Pulses()
    config = ScalerConfig("127.0.0.1:0", "", (), "test", grace_seconds=1.0)
    metrics = ScalerMetrics(CollectorRegistry(), picture, pulses, time.monotonic)
    async with (
        scaler_server(config, picture, pulses, metrics) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Scaler(port, picture, pulses, channel)


@pytest.fixture
async def scaler() -> AsyncIterator[Scaler]:
    async with running_scaler() as running:
        running.picture.list_activators({"a": "ready"}, 0.0)
        yield running


async def next_state(stream: grpc.aio.UnaryStreamCall[pb.ScaledObjectRef, pb.IsActiveResponse]) -> bool:
    async with asyncio.timeout(PATIENCE):
        answer = await stream.read()
    assert isinstance(answer, pb.IsActiveResponse)
    return answer.result


class TestStreamIsActive:
    async def test_it_begins_with_the_present_state(self, scaler: Scaler) -> None:
        scaler.hear(qwen=Figures(waiting=1))
        assert await next_state(scaler.keda.StreamIsActive(REF)) is True
        other = pb.ScaledObjectRef(name="other", namespace="ai", scalerMetadata={"target": "5"})
        assert await next_state(scaler.keda.StreamIsActive(other)) is False

    async def test_true_when_demand_begins_and_once_more_when_it_ends(self, scaler: Scaler) -> None:
        scaler.hear()
        stream = scaler.keda.StreamIsActive(REF)
        assert await next_state(stream) is False
        scaler.hear(qwen=Figures(waiting=1))
        assert await next_state(stream) is True
        scaler.hear(qwen=Figures(waiting=2))
        scaler.hear(qwen=Figures())
        assert await next_state(stream) is True
        scaler.hear(qwen=Figures(in_flight=1))
        assert await next_state(stream) is True

    async def test_blind_says_nothing_until_something_is_known(self, scaler: Scaler) -> None:
        stream = scaler.keda.StreamIsActive(REF)
        await stream.wait_for_connection()
        scaler.hear(qwen=Figures(waiting=1))
        assert await next_state(stream) is True

    async def test_true_many_times_is_true_once_to_a_stream_that_is_not_read(self, scaler: Scaler) -> None:
        scaler.hear()
        stream = scaler.keda.StreamIsActive(REF)
        assert await next_state(stream) is False
        for _ in range(1000):  # in one turn of the event loop, in which nothing is sent
            scaler.pulses.pulse([KEY])
        assert await next_state(stream) is True
        scaler.pulses.pulse([KEY])
        scaler.pulses.close()
        assert await next_state(stream) is True, "what waited is told before the end"
        assert await stream.read() is grpc.aio.EOF

    async def test_two_scalers_of_keda_are_both_told(self, scaler: Scaler) -> None:
        scaler.hear()
        streams = [scaler.keda.StreamIsActive(REF) for _ in range(2)]
        for stream in streams:
            assert await next_state(stream) is False
        scaler.hear(qwen=Figures(waiting=1))
        for stream in streams:
            assert await next_state(stream) is True

    async def test_a_trigger_that_cannot_be_used_is_refused(self, scaler: Scaler) -> None:
        stream = scaler.keda.StreamIsActive(pb.ScaledObjectRef(name="qwen", namespace="ai"))
        with pytest.raises(grpc.aio.AioRpcError, match="target"):
            await stream.read()
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_shutdown_ends_the_streams_with_ok() -> None:
    async with contextlib.AsyncExitStack() as stack:
        scaler = await stack.enter_async_context(running_scaler())
        scaler.picture.list_activators({"a": "ready"}, 0.0)
        scaler.hear()
        active, specs = scaler.keda.StreamIsActive(REF), scaler.keda.StreamMetricSpec(REF)
        await next_state(active)
        spec = await specs.read()
        assert isinstance(spec, pb.GetMetricSpecResponse)
        assert spec.metricSpecs[0].targetSizeFloat == 5.0

        async def to_the_end() -> list[grpc.StatusCode]:
            for stream in (active, specs):
                assert await stream.read() is grpc.aio.EOF
            return [await active.code(), await specs.code()]

        ends = asyncio.create_task(to_the_end())
        await asyncio.sleep(0)
        scaler.pulses.close()
        async with asyncio.timeout(PATIENCE):
            assert await ends == [grpc.StatusCode.OK, grpc.StatusCode.OK]


async def test_health_and_reflection(scaler: Scaler) -> None:
    health = health_pb2_grpc.HealthStub(scaler.channel)
    for service in ("", SERVICE):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(scaler.channel)

    async def ask() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async for answer in reflection.ServerReflectionInfo(ask()):
        assert SERVICE in [service.name for service in answer.list_services_response.service]


async def test_an_address_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        picture, pulses = DemandPicture(), Pulses()
        metrics = ScalerMetrics(CollectorRegistry(), picture, pulses, time.monotonic)
        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            async with scaler_server(ScalerConfig(address, "", (), "test"), picture, pulses, metrics):
                pass


def ready(*addresses: str) -> dict[str, Listing]:
    """A list of activators that are all ready."""
    return dict.fromkeys(addresses, "ready")


class Activator:
    """The demand side of an activator: a board and its gRPC server."""

    def __init__(self) -> None:
        self.board = DemandBoard(asyncio.get_running_loop().time)
        self.hold = Hold(max_queue=10, concurrency=10, activation_timeout=60.0)
        self.board.put(KEY, self.hold)
        self._server = grpc.aio.server()
        add_DemandServicer_to_server(Demand(self.board), self._server)

    async def start(self, address: str = "127.0.0.1:0") -> str:
        port = self._server.add_insecure_port(address)
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        self.board.close()
        await self._server.stop(1.0)


@contextlib.asynccontextmanager
async def listening(scaler: Scaler) -> AsyncIterator[DemandListener]:
    listener = DemandListener(scaler.picture, scaler.pulses, "test")
    task = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class TestDemandWatch:
    """From an activator's hold to KEDA, all of it over sockets."""

    async def test_the_first_request_is_pushed_and_the_metric_follows(self, scaler: Scaler) -> None:
        activator = Activator()
        async with listening(scaler) as listener:
            listener.list_activators(ready(await activator.start()))
            stream = scaler.keda.StreamIsActive(REF)
            await self._heard(scaler)
            now = asyncio.get_running_loop().time()
            ticket = activator.hold.arrive(now)
            activator.board.changed(KEY)
            while not await next_state(stream):
                pass
            metrics = await scaler.keda.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF, metricName="queueDepth"))
            assert metrics.metricValues[0].metricValueFloat == 1.0
            activator.hold.leave(ticket)
            activator.board.changed(KEY)
            await self._metric(scaler, 0.0)
            assert (await scaler.keda.IsActive(REF)).result is True, "the lease of the cold start"
        await activator.stop()

    async def test_news_of_a_service_that_nobody_asked_for_push_nothing(self, scaler: Scaler) -> None:
        """Its status changes, say, and an update with no demand follows; then another service's demand begins."""
        activator, bell = Activator(), ServiceKey("ai", "bell")
        activator.board.put(bell, ringing := Hold(max_queue=10, concurrency=10, activation_timeout=60.0))
        async with listening(scaler) as listener, contextlib.aclosing(activator.board.watch()) as updates:
            listener.list_activators(ready(await activator.start()))
            await self._heard(scaler)
            pushed: asyncio.Queue[float | None] = asyncio.Queue()
            rung: asyncio.Queue[float | None] = asyncio.Queue()
            with scaler.pulses.listen(KEY, pushed.put_nowait), scaler.pulses.listen(bell, rung.put_nowait):
                await anext(updates)
                for _ in range(3):
                    activator.board.changed(KEY)
                    await anext(updates)
                ringing.arrive(asyncio.get_running_loop().time())
                activator.board.changed(bell)
                async with asyncio.timeout(PATIENCE):
                    assert await rung.get()
                assert pushed.empty()
        await activator.stop()

    async def test_an_update_that_cannot_be_taken_is_about_its_activator_alone(
        self, scaler: Scaler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The stream is begun anew, with all that its activator knows; the other activators are heard meanwhile."""
        hear, failed = scaler.picture.hear, asyncio.Event()
        one, two = Activator(), Activator()
        strange = await one.start()

        def hear_once(address: str, *arguments: Any, **options: Any) -> Any:
            if address == strange and not failed.is_set():
                failed.set()
                raise OverflowError("too large")
            return hear(address, *arguments, **options)

        monkeypatch.setattr(scaler.picture, "hear", hear_once)
        before = counted()["update"]
        async with listening(scaler) as listener:
            listener.list_activators(ready(strange, await two.start()))
            for activator in (one, two):
                activator.hold.arrive(asyncio.get_running_loop().time())
                activator.board.changed(KEY)
            await self._metric(scaler, 2.0)
        assert failed.is_set()
        assert counted()["update"] == before + 1
        await one.stop()
        await two.stop()

    async def test_an_address_that_is_none_hides_no_other(self, scaler: Scaler) -> None:
        activator = Activator()
        async with listening(scaler) as listener:
            listener.list_activators(ready("", "no address: at all", "[::::]:x", address := await activator.start()))
            async with asyncio.timeout(PATIENCE):
                while scaler.picture.silence(asyncio.get_running_loop().time())[address] > PATIENCE:
                    await asyncio.sleep(0.01)  # the picture has no event
        await activator.stop()

    async def test_a_deleted_service_has_no_demand(self, scaler: Scaler) -> None:
        activator = Activator()
        async with listening(scaler) as listener:
            listener.list_activators(ready(await activator.start()))
            activator.hold.arrive(asyncio.get_running_loop().time())
            activator.board.changed(KEY)
            await self._metric(scaler, 1.0)
            activator.board.remove(KEY)
            await self._metric(scaler, 0.0)
            assert (await scaler.keda.IsActive(REF)).result is False
        await activator.stop()

    async def test_an_activator_that_comes_back_is_heard_again(self, scaler: Scaler) -> None:
        first, second = Activator(), Activator()
        async with listening(scaler) as listener:
            address = await first.start()
            listener.list_activators(ready(address))
            await self._heard(scaler)
            await first.stop()
            await second.start(address)
            second.hold.arrive(asyncio.get_running_loop().time())
            second.board.changed(KEY)
            await self._metric(scaler, 1.0)
        await second.stop()

    async def test_one_that_left_the_list_counts_no_more(self, scaler: Scaler) -> None:
        stays, leaves = Activator(), Activator()
        async with listening(scaler) as listener:
            addresses = [await stays.start(), await leaves.start()]
            listener.list_activators(ready(*addresses))
            for activator in (stays, leaves):
                activator.hold.arrive(asyncio.get_running_loop().time())
                activator.board.changed(KEY)
            await self._metric(scaler, 2.0)
            listener.list_activators(ready(addresses[0]))
            await self._metric(scaler, 1.0)
        await stays.stop()
        await leaves.stop()

    async def _heard(self, scaler: Scaler) -> None:
        """Wait until the activators are heard, whatever they say."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await scaler.keda.IsActive(REF)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.02)  # KEDA polls; so does this
                else:
                    return

    async def _metric(self, scaler: Scaler, expected: float) -> None:
        await self._heard(scaler)
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await scaler.keda.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF))
                if answer.metricValues[0].metricValueFloat == expected:
                    return
                await asyncio.sleep(0.02)  # KEDA polls; so does this
