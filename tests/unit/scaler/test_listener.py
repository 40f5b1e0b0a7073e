"""How a stream of demand is kept open: over gRPC, with activators that end it, break it or say nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from hearth.proto import demand_pb2 as pb
from hearth.proto.demand_pb2_grpc import DemandServicer, add_DemandServicer_to_server
from hearth.scaler import listener as module
from hearth.scaler.listener import DemandListener
from hearth.scaler.picture import DemandPicture
from hearth.scaler.pulses import Pulses
from tests.backoffs import noted_backoffs

PATIENCE = 10.0


class Scripted(DemandServicer):
    """Each stream does what is next: "end", "break" or "silence", behind an update where a "+" stands in front."""

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.scalers: list[str] = []
        self.over = asyncio.Event()

    async def Watch(self, request: pb.WatchRequest, context: Any) -> AsyncIterator[pb.DemandUpdate]:
        self.scalers.append(request.scaler)
        does = self.script.pop(0) if self.script else "over"
        if does == "over":
            self.over.set()
        if does.startswith("+"):
            yield pb.DemandUpdate(activator="a/1", snapshot=True)
        if does.endswith("break"):
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        if not does.endswith("end"):
            await asyncio.Event().wait()


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float, float]]:
    """What is asked of the back-off. Nobody waits for it."""
    monkeypatch.setattr(module, "_SILENCE_SECONDS", 2.0)  # more than a busy machine takes to connect
    return noted_backoffs(monkeypatch, module)


async def follow(servicer: Scripted) -> None:
    """Listen to it until its script is over."""
    server = grpc.aio.server()
    add_DemandServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    listener = DemandListener(DemandPicture(), Pulses(), "me")
    listener.list_activators({address: "ready"})
    task = asyncio.create_task(listener.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await servicer.over.wait()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await server.stop(None)


@pytest.mark.parametrize("how", ["end", "break", "silence"])
async def test_a_stream_that_is_over_is_opened_anew_later_and_later(
    how: str, failures: list[tuple[int, float, float]]
) -> None:
    servicer = Scripted(how, how)
    await follow(servicer)
    assert failures == [(1, 0.1, 2.0), (2, 0.1, 2.0)]
    assert servicer.scalers == ["me"] * 3


async def test_one_that_was_heard_begins_anew(failures: list[tuple[int, float, float]]) -> None:
    await follow(Scripted("end", "break", "+end", "+silence"))
    assert [count for count, _, _ in failures] == [1, 2, 1, 1]
