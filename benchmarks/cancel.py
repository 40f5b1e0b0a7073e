"""cancel: from the moment when a client of a stream is gone until the engine sees that nobody wants its answer."""

import asyncio
import contextlib
import json
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, percentiles
from benchmarks.services import llmservice, put_engine
from hearth.local.up import UpConfig, local_roles

CLIENTS = 200
_EVENT = b"data: 1\n\n"
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\n" + _EVENT + b"\r\n"
)


async def measure() -> list[Figure]:
    """cancel_p50_ms and cancel_p99_ms of `CLIENTS` clients that leave in a stream, one after the other."""
    gone: asyncio.Queue[float] = asyncio.Queue()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        with contextlib.suppress(ConnectionError):  # a reset is an end too
            await reader.read()  # the prompt, and then the end
        gone.put_nowait(time.monotonic())
        writer.close()

    engine = await asyncio.start_server(stream, "127.0.0.1", 0)
    service, samples = llmservice("bench-0"), []
    body = json.dumps({"model": "bench-0", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    ask = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with tempfile.TemporaryDirectory() as folder:
        async with local_roles(UpConfig([service], (), Path(folder), port=0)) as hearth:
            put_engine(hearth.store, service, engine.sockets[0].getsockname()[1])
            for _ in range(CLIENTS):
                reader, writer = await asyncio.open_connection("127.0.0.1", hearth.port)
                writer.write(ask)
                await reader.readuntil(_EVENT)
                left = time.monotonic()
                writer.close()
                samples.append(await gone.get() - left)
    engine.close()
    return percentiles("cancel", samples, "p99 ≤ 50")
