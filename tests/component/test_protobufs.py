"""Any bytes, and any message of the right shape, at the ports that speak gRPC: what can't be read is refused, what can is answered, and
the next question gets its true answer. HEARTH_STEPS says how far it goes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from hypothesis import given
from hypothesis import strategies as st

from hearth.activator.demand import Demand, DemandBoard
from hearth.activator.lane.hold import Hold
from hearth.proto import demand_pb2
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.demand_pb2_grpc import DemandStub, add_DemandServicer_to_server
from hearth.scaler.listener import DemandListener
from hearth.scaler.picture import DemandPicture, Figures
from hearth.scaler.pulses import Pulses
from tests.component.test_scaler import KEY, REF, running_scaler
from tests.machines import examples_enough

PATIENCE = 20.0
UNARY = {"IsActive": pb.ScaledObjectRef, "GetMetricSpec": pb.ScaledObjectRef, "GetMetrics": pb.GetMetricsRequest}
STREAMS = {"StreamIsActive": pb.ScaledObjectRef, "StreamMetricSpec": pb.ScaledObjectRef}

words = st.text(max_size=12) | st.sampled_from(["ai", "qwen", "queueDepth", "target", "name", "namespace"])
targets = words | st.floats().map(str) | st.integers().map(str)
references = st.builds(
    pb.ScaledObjectRef, name=words, namespace=words, scalerMetadata=st.dictionaries(words, targets, max_size=3)
)
questions = references | st.builds(pb.GetMetricsRequest, scaledObjectRef=references, metricName=words)
services = st.builds(
    demand_pb2.ServiceDemand,
    namespace=words,
    name=words,
    waiting=st.integers(0, 2**32 - 1),
    in_flight=st.integers(0, 2**32 - 1),
    lease=st.booleans(),
    requests=st.integers(0, 2**64 - 1),
    gone=st.booleans(),
)
updates = st.builds(
    demand_pb2.DemandUpdate, activator=words, snapshot=st.booleans(), services=st.lists(services, max_size=5)
)


def broken(data: bytes, at: int, changed: bytes) -> bytes:
    at %= len(data) + 1
    return data[:at] + changed + data[at + len(changed) :]


def on_the_wire(messages: "st.SearchStrategy[Any]") -> "st.SearchStrategy[bytes]":
    """A message, one with some bytes of it cut or overwritten, or any bytes."""
    whole = messages.map(lambda message: message.SerializeToString())
    return whole | st.builds(broken, whole, st.integers(0, 200), st.binary(max_size=3)) | st.binary(max_size=60)


def readable(kind: Callable[[], Any], data: bytes) -> bool:
    try:
        kind().ParseFromString(data)
    except Exception:  # noqa: BLE001 - of protobuf's own, which differ between its implementations
        return False
    return True


async def answered(channel: grpc.aio.Channel, path: str, data: bytes, *, stream: bool) -> grpc.StatusCode:
    """How a call ends, or that it was answered: of a stream the first message is enough."""
    async with asyncio.timeout(PATIENCE):
        try:
            if not stream:
                asked: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
                await asked(data)
            else:
                asking: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
                call = asking(data)
                await call.read()
                call.cancel()
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


@examples_enough(10)
@given(st.lists(st.tuples(st.sampled_from([*UNARY, *STREAMS]), on_the_wire(questions)), min_size=1, max_size=30))
async def test_a_scaler_answers_what_it_can_read_and_goes_on(calls: list[tuple[str, bytes]]) -> None:
    async with running_scaler() as scaler:
        scaler.picture.list_activators({"a": "ready"}, 0.0)
        scaler.hear(qwen=Figures(waiting=3))
        for method, data in calls:
            kind = {**UNARY, **STREAMS}[method]
            path = f"/externalscaler.ExternalScaler/{method}"
            code = await answered(scaler.channel, path, data, stream=method in STREAMS)
            if readable(kind, data):
                assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), (method, data)
            else:
                assert code is grpc.StatusCode.UNKNOWN, (method, data)
        found = await scaler.keda.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF, metricName="queueDepth"))
        assert [value.metricValueFloat for value in found.metricValues] == [3.0]


@contextlib.asynccontextmanager
async def activator_that_says(said: list[bytes]) -> AsyncIterator[str]:
    """An activator's address: its first stream says that and ends, the others say that two wait."""
    left = [said]
    true = demand_pb2.ServiceDemand(namespace=KEY.namespace, name=KEY.name, waiting=2)
    snapshot = demand_pb2.DemandUpdate(activator="later", snapshot=True, services=[true]).SerializeToString()

    async def watch(request: bytes, context: Any) -> AsyncIterator[bytes]:
        if left:
            for data in left.pop():
                yield data
            return
        while True:
            yield snapshot
            await asyncio.sleep(0.5)  # its sign of life

    server = grpc.aio.server()
    handler: Any = grpc.unary_stream_rpc_method_handler(watch)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("hearth.demand.v1.Demand", {"Watch": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not seen():
            await asyncio.sleep(0.01)  # a picture has no event


@examples_enough(10)
@given(st.lists(on_the_wire(updates), min_size=1, max_size=10))
async def test_a_listener_takes_what_it_can_and_hears_the_next_snapshot(said: list[bytes]) -> None:
    picture = DemandPicture()
    listener = DemandListener(picture, Pulses(), "test")
    clock = asyncio.get_running_loop().time
    async with activator_that_says(said) as address:
        listener.list_activators({address: "ready", "honest": "ready"})
        honest = demand_pb2.ServiceDemand(namespace=KEY.namespace, name=KEY.name, waiting=3)
        listener.hear("honest", demand_pb2.DemandUpdate(activator="honest", snapshot=True, services=[honest]))
        listening = asyncio.create_task(listener.run())
        try:
            await until(lambda: address in picture.silence(clock()) and picture.demand(KEY, clock()).waiting == 5)
            assert not listening.done()
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening


@examples_enough(10)
@given(st.lists(on_the_wire(st.builds(demand_pb2.WatchRequest, scaler=st.text(max_size=20))), min_size=1, max_size=30))
async def test_an_activator_tells_who_asks_and_goes_on(asked: list[bytes]) -> None:
    board, known = DemandBoard(), asyncio.Event()
    board.put(KEY, Hold(max_queue=10, concurrency=10, activation_timeout=60.0))
    known.set()
    server = grpc.aio.server()
    add_DemandServicer_to_server(Demand(board, known), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for data in asked:
                code = await answered(channel, "/hearth.demand.v1.Demand/Watch", data, stream=True)
                fits = readable(demand_pb2.WatchRequest, data)
                assert code is (grpc.StatusCode.OK if fits else grpc.StatusCode.UNKNOWN), data
            update = await anext(aiter(DemandStub(channel).Watch(demand_pb2.WatchRequest(scaler="true"))))
            assert [(service.namespace, service.name) for service in update.services] == [tuple(KEY)]
    finally:
        board.close()
        await server.stop(None)
