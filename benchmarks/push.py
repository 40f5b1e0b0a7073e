"""push: from a cold request's first byte to the scaler's StreamIsActive true, through both real processes.

The client and KEDA's side of the stream are this process, so that one clock measures both ends. Each LLMService is
asked once: only its first request is a cold start.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from benchmarks.figures import Figure, percentiles
from benchmarks.services import llmservices
from hearth.local.up import LocalHearth, UpConfig, local_roles
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub

if TYPE_CHECKING:
    from hearth.proto.externalscaler_pb2_grpc import ExternalScalerAsyncStub

COLD_STARTS = 200


async def measure() -> list[Figure]:
    """push_p50_ms and push_p99_ms of `COLD_STARTS` cold starts, one after the other."""
    services = llmservices(COLD_STARTS)
    with tempfile.TemporaryDirectory() as folder:
        config = UpConfig(services, (), Path(folder), port=0)
        async with (
            local_roles(config) as hearth,
            grpc.aio.insecure_channel(hearth.scaler_address) as channel,
        ):
            samples = [await cold_start(hearth, channel, service.metadata.name) for service in services]
    return percentiles("push", samples, "p99 ≤ 5")


async def cold_start(hearth: LocalHearth, channel: grpc.aio.Channel, name: str) -> float:
    """Seconds from the first byte of bench/NAME's first request to the scaler's push."""
    ref = reference(name)
    scaler = ExternalScalerStub(channel)
    while not await idle(scaler, ref):
        await asyncio.sleep(0.05)  # KEDA polls; so does this, until the scaler has heard the activator
    stream = aiter(scaler.StreamIsActive(ref))
    await _state(stream, expected=False)
    request = request_to(name)
    _, writer = await asyncio.open_connection("127.0.0.1", hearth.port)
    began = time.perf_counter()
    writer.write(request)
    await _state(stream, expected=True)
    took = time.perf_counter() - began
    writer.close()
    await writer.wait_closed()
    return took


def reference(name: str) -> pb.ScaledObjectRef:
    """How KEDA names bench/NAME."""
    return pb.ScaledObjectRef(name=name, namespace="bench", scalerMetadata={"target": "5"})


def request_to(name: str) -> bytes:
    """A short chat request, as a client sends it."""
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "x"}]}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body


async def idle(scaler: "ExternalScalerAsyncStub", ref: pb.ScaledObjectRef) -> bool:
    try:
        return not (await scaler.IsActive(ref)).result
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False


async def _state(stream: AsyncIterator[pb.IsActiveResponse], *, expected: bool) -> None:
    if (await anext(stream)).result is not expected:
        raise RuntimeError(f"the scaler said {not expected} where {expected} was to come")
