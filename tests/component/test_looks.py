"""Engines that start, while requests wait for them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from hearth.activator import looks
from hearth.activator.looks import is_ready
from tests.component.harness import PATIENCE, ActivatorHarness, Message, ScriptedEngine, Stream, answer_ok

PATH = "/health"


@contextlib.asynccontextmanager
async def engine_that_says(said: bytes | None) -> AsyncIterator[str]:
    """Its host:port; None: it says nothing. It has seen the end of each connection when the context is left."""
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if said is not None:
            writer.write(said)
            writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()
        over.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield "{}:{}".format(*server.sockets[0].getsockname())
        async with asyncio.timeout(PATIENCE):
            await over.wait()
        await asyncio.sleep(0)  # the transport closes its socket in the next turn


class Starting:
    """An engine that answers its readiness probe with 503 until it is `ready`, and what else is asked as it is asked."""

    def __init__(self) -> None:
        self.ready = False
        self.looks = 0
        self.looked = asyncio.Event()

    async def __call__(self, request: Message, stream: Stream) -> None:
        if request.start.split()[1] != PATH:
            await answer_ok(request, stream)
            return
        self.looks += 1
        self.looked.set()
        status = b"200 OK" if self.ready else b"503 Service Unavailable"
        await stream.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


async def test_a_held_request_goes_on_when_the_engine_says_that_it_is_ready(
    activator: ActivatorHarness, engine: ScriptedEngine
) -> None:
    engine.handler = starting = Starting()
    activator.service(readinessPath=PATH)
    activator.starting(engine)
    client = await activator.client()
    await client.chat()
    await activator.waiting(1)
    async with asyncio.timeout(PATIENCE):
        await starting.looked.wait()
    assert activator.gate().hold.waiting == 1, "503 is not ready"
    starting.ready = True
    answer = await client.message()
    assert answer.json == {"asked": "/v1/chat/completions"}
    assert answer.headers["x-hearth-cold-start"] == "true"
    looked = starting.looks
    activator.ready(engine)
    await client.chat()
    assert (await client.message()).status == 200
    assert starting.looks == looked, "who is ready is not looked at"


async def test_nobody_is_looked_at_while_nobody_waits(
    activator: ActivatorHarness, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.001)
    engine.handler = starting = Starting()
    activator.service(readinessPath=PATH)
    activator.starting(engine)
    await asyncio.sleep(0.1)  # a hundred looks' time: that nothing happens has no event
    assert starting.looks == 0
    client = await activator.client()
    await client.chat()
    async with asyncio.timeout(PATIENCE):
        await starting.looked.wait()


@pytest.mark.parametrize("path", [None, "health", "/health HTTP/1.1\r\nx: y", "/a b"])
async def test_an_engine_whose_probe_is_no_plain_get_is_not_looked_at(
    activator: ActivatorHarness, engine: ScriptedEngine, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.001)
    engine.handler = starting = Starting()
    activator.service(**({} if path is None else {"readinessPath": path}))
    activator.starting(engine)
    client = await activator.client()
    await client.chat()
    await activator.waiting(1)
    await asyncio.sleep(0.1)  # a hundred looks' time: that nothing happens has no event
    assert starting.looks == 0
    activator.ready(engine)
    assert (await client.message()).status == 200


@pytest.mark.parametrize(
    ("said", "ready"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 204 \r\n\r\n", True),
        (b"HTTP/1.1 307 Elsewhere\r\n\r\n", True),
        (b"HTTP/1.1 503 Loading\r\n\r\n", False),
        (b"HTTP/1.1 400 Bad\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"HTTP/1.1 2000 OK\r\n\r\n", False),
        (b"SSH-2.0-200\r\n", False),
        (b"", False),
        (b"x" * 2**17, False),
    ],
)
async def test_what_a_kubelet_takes_for_ready(said: bytes, ready: bool) -> None:
    async with engine_that_says(said) as address:
        assert await is_ready(address, PATH) is ready


async def test_one_that_takes_too_long_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "ANSWER_SECONDS", 0.05)
    async with engine_that_says(None) as address:
        assert not await is_ready(address, PATH)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "[::1]:x"])
async def test_one_that_is_not_there_is_not_ready(address: str) -> None:
    assert not await is_ready(address, PATH)
