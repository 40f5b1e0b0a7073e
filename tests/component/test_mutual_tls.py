"""Demand and KEDA's protocol with certificates on both sides, over real sockets: who hears what, and what changes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry

from hearth.activator.demand import Demand, DemandBoard
from hearth.proto import demand_pb2
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.demand_pb2_grpc import DemandStub, add_DemandServicer_to_server
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub
from hearth.scaler.listener import DemandListener
from hearth.scaler.metrics import ScalerMetrics
from hearth.scaler.picture import DemandPicture
from hearth.scaler.pulses import Pulses
from hearth.scaler.server import ScalerConfig, scaler_server
from hearth.tls.certificates import Pair
from hearth.tls.credentials import CertificateFolder, Held
from hearth.tls.mutual import Mutual, add_port, channel_to, new_server
from hearth.tls.names import ACTIVATOR_NAME, KEDA_NAME, SCALER_NAME
from tests.certificates import Mounts, issue, mount, new_authority

PATIENCE = 10.0
REF = pb.ScaledObjectRef(name="qwen", namespace="ai-prod", scalerMetadata={"target": "5"})


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    return Mounts(tmp_path)


def held(pair: Pair, authorities: bytes) -> Held:
    folder = CertificateFolder(Path("/nowhere"), verifies=True)
    assert folder.held is None
    from hearth.tls.certificates import ends

    return Held(pair, authorities, ends(pair.certificate), 1.0)


@contextlib.asynccontextmanager
async def demand_port(folder: CertificateFolder) -> AsyncIterator[tuple[str, DemandBoard]]:
    board, known = DemandBoard(), asyncio.Event()
    known.set()
    mutual = Mutual(folder, SCALER_NAME)
    server = new_server(mutual)
    add_DemandServicer_to_server(Demand(board, known, mutual), server)
    port = add_port(server, "127.0.0.1:0", mutual)
    await server.start()
    try:
        yield f"127.0.0.1:{port}", board
    finally:
        board.close()
        await server.stop(0)


async def first_update(address: str, certificate: Held | None, name: str = ACTIVATOR_NAME) -> str:
    """What a scaler hears first, or gRPC's status."""
    async with channel_to(address, certificate, name) as channel:
        try:
            async for update in DemandStub(channel).Watch(demand_pb2.WatchRequest(scaler="me"), timeout=PATIENCE):
                return "heard" if update.snapshot else "what?"
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
    return "nothing"


async def test_who_has_no_certificate_of_ours_hears_nothing_of_the_demand(mounts: Mounts) -> None:
    scaler = issue(mounts.authority, SCALER_NAME)
    other = new_authority()
    ours = mounts.authority.bundle
    async with demand_port(mounts.folder(mounts.activator)) as (address, _):
        assert await first_update(address, held(scaler, ours)) == "heard"
        assert (await first_update(address, None)).startswith("UNAVAILABLE")
        assert (await first_update(address, held(issue(other, SCALER_NAME), ours))).startswith("UNAVAILABLE")
        another = await first_update(address, held(issue(mounts.authority, KEDA_NAME), ours))
        assert another == f"PERMISSION_DENIED: the client's certificate is for {KEDA_NAME}; expected {SCALER_NAME}"
        assert "CERTIFICATE_VERIFY_FAILED" in await first_update(address, held(scaler, other.bundle)), "nor he us"
        assert "Hostname Verification" in await first_update(address, held(scaler, ours), "another.svc")


async def test_sockets_that_say_nothing_are_closed(mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> None:
    from hearth.tls import mutual

    options = (("grpc.server_handshake_timeout_ms", 300), ("grpc.max_allowed_incoming_connections", 5))
    monkeypatch.setattr(mutual, "_OPTIONS", options)
    scaler = held(issue(mounts.authority, SCALER_NAME), mounts.authority.bundle)
    async with demand_port(mounts.folder(mounts.activator)) as (address, _), asyncio.timeout(PATIENCE):
        host, port = address.split(":")
        strangers = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
        for reader, writer in strangers:
            assert await reader.read() == b""
            writer.close()
        assert await first_update(address, scaler) == "heard"


async def test_a_renewed_certificate_and_another_authority_need_no_restart(mounts: Mounts) -> None:
    """As the controller changes them: first everybody trusts both, then one after the other shows the new one."""
    folder, other = mounts.folder(mounts.activator), new_authority()
    both = mounts.authority.bundle + other.bundle
    old, new = held(issue(mounts.authority, SCALER_NAME), both), held(issue(other, SCALER_NAME), other.bundle)
    async with demand_port(folder) as (address, _):
        assert (await first_update(address, new)).startswith("UNAVAILABLE")
        mount(mounts.activator, issue(mounts.authority, ACTIVATOR_NAME), both)
        folder.look()
        assert await first_update(address, old) == "heard"
        assert await first_update(address, held(issue(other, SCALER_NAME), both)) == "heard"
        mount(mounts.activator, issue(other, ACTIVATOR_NAME), both)
        folder.look()
        assert await first_update(address, old) == "heard"
        assert await first_update(address, new) == "heard"
        mount(mounts.activator, issue(other, ACTIVATOR_NAME), other.bundle)
        folder.look()
        assert (await first_update(address, old)).startswith("UNAVAILABLE"), "what is trusted no more is heard no more"


async def test_before_there_is_a_certificate_nobody_is_heard_and_afterwards_they_are(
    mounts: Mounts, tmp_path: Path
) -> None:
    folder = CertificateFolder(tmp_path / "later", verifies=True)
    scaler = held(issue(mounts.authority, SCALER_NAME), mounts.authority.bundle)
    async with demand_port(folder) as (address, _):
        assert (await first_update(address, scaler)).startswith("UNAVAILABLE")
        mount(tmp_path / "later", issue(mounts.authority, ACTIVATOR_NAME), mounts.authority.bundle)
        folder.look()
        assert await first_update(address, scaler) == "heard"


async def test_a_listener_goes_on_with_the_certificate_that_it_has_then(mounts: Mounts) -> None:
    """Its channel was made with one that the activator trusts no more."""
    activator, scaler, other = mounts.folder(mounts.activator), mounts.folder(mounts.scaler), new_authority()
    picture = DemandPicture()
    listener = DemandListener(picture, Pulses(), "me", mutual=Mutual(scaler, ACTIVATOR_NAME))
    running = asyncio.create_task(listener.run())

    async def heard(address: str, since: float) -> None:
        async with asyncio.timeout(PATIENCE):
            while picture.silence(time.monotonic())[address] > time.monotonic() - since:
                await asyncio.sleep(0.02)

    try:
        async with demand_port(activator) as (address, board):
            listener.list_activators({address: "ready"})
            await heard(address, time.monotonic())
            mount(mounts.activator, issue(other, ACTIVATOR_NAME), other.bundle)
            activator.look()
            mount(mounts.scaler, issue(other, SCALER_NAME), other.bundle)
            scaler.look()
            board.close()  # the stream that was open ends
            board._closing = False
            await heard(address, time.monotonic())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_listener_speaks_plain_text_to_those_alone_that_are_listed_so(mounts: Mounts) -> None:
    plain = grpc.aio.server()
    board, known = DemandBoard(), asyncio.Event()
    known.set()
    add_DemandServicer_to_server(Demand(board, known), plain)
    address = f"127.0.0.1:{add_port(plain, '127.0.0.1:0', None)}"
    await plain.start()
    picture = DemandPicture()
    listener = DemandListener(picture, Pulses(), "me", mutual=Mutual(mounts.folder(mounts.scaler), ACTIVATOR_NAME))
    running = asyncio.create_task(listener.run())
    try:
        async with demand_port(mounts.folder(mounts.activator)) as (secure, _), asyncio.timeout(PATIENCE):
            listener.list_activators({address: "ready", secure: "ready"}, {address})
            while picture.unheard(time.monotonic()):
                await asyncio.sleep(0.02)
            assert board.watchers == 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        board.close()
        await plain.stop(0)


async def test_keda_alone_asks_the_scaler_and_a_strangers_question_writes_nothing(mounts: Mounts) -> None:
    picture, pulses, known = DemandPicture(), Pulses(), asyncio.Event()
    picture.list_activators({}, 0.0)
    metrics = ScalerMetrics(CollectorRegistry(), picture, pulses, time.monotonic)
    mutual = Mutual(mounts.folder(mounts.scaler), KEDA_NAME)
    config = ScalerConfig("127.0.0.1:0", "", (), "test", grace_seconds=1.0)
    keda = held(issue(mounts.authority, KEDA_NAME), mounts.authority.bundle)
    activator = held(issue(mounts.authority, ACTIVATOR_NAME), mounts.authority.bundle)
    async with scaler_server(config, picture, pulses, metrics, known, mutual) as port:
        address, statuses = f"127.0.0.1:{port}", []
        for certificate in (None, activator, keda):
            async with channel_to(address, certificate, SCALER_NAME) as channel:
                stub = ExternalScalerStub(channel)
                for call in (
                    stub.IsActive(REF, timeout=PATIENCE),
                    stub.GetMetricSpec(REF, timeout=PATIENCE),
                    stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF), timeout=PATIENCE),
                ):
                    try:
                        await call
                        statuses.append("OK")
                    except grpc.aio.AioRpcError as error:
                        statuses.append(error.code().name)
                for stream in (stub.StreamIsActive(REF, timeout=1), stub.StreamMetricSpec(REF, timeout=1)):
                    try:
                        assert await stream.read() is not grpc.aio.EOF
                        statuses.append("OK")
                    except grpc.aio.AioRpcError as error:
                        statuses.append(error.code().name)
                    stream.cancel()
            told = list(metrics._told)
            assert bool(told) is (certificate is keda)
        assert statuses == ["UNAVAILABLE"] * 5 + ["PERMISSION_DENIED"] * 5 + ["OK"] * 5
