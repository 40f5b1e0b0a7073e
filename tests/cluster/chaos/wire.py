"""Clients that are no clients: connections that say nothing, bodies that come slowly, requests as fast as they can be written."""

import asyncio
import contextlib
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

MODEL = b"no-such-model"


def address_of(door: str) -> tuple[str, int]:
    parts = urlsplit(door)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def descriptors(count: int) -> None:
    """Let this process have so many. Raises ValueError where the hard limit is below."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        raise ValueError(f"descriptors: this machine gives {hard}; expected {count} at least (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.asynccontextmanager
async def idle_connections(door: str, count: int) -> AsyncIterator[int]:
    """Open connections that say nothing; yields how many were taken."""
    descriptors(count + 1000)
    host, port = address_of(door)
    writers: list[asyncio.StreamWriter] = []

    async def connect(number: int) -> None:
        for _ in range(number):
            with contextlib.suppress(OSError):
                writers.append((await asyncio.open_connection(host, port))[1])

    try:
        await asyncio.gather(*(connect(count // 100) for _ in range(100)))
        yield len(writers)
    finally:
        for writer in writers:
            writer.close()


async def unknown_models(door: str, rate: int, seconds: float) -> Counter[int]:
    """Ask for a model that there is not, so many times a second over all; returns how often which status came."""
    body = b'{"model": "%s", "messages": []}' % MODEL
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    request = head % len(body) + body
    statuses: Counter[int] = Counter()
    connections = 20
    each = int(rate * seconds / connections)

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(*address_of(door))
        began = time.monotonic()
        for number in range(each):
            # So many a second and no more: the rate is the load.
            await asyncio.sleep(max(0.0, began + number * connections / rate - time.monotonic()))
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if line)
            await reader.readexactly(int(fields[b"content-length"]))
            statuses[int(answer.split(b" ", 2)[1])] += 1
        writer.close()

    await asyncio.gather(*(ask() for _ in range(connections)))
    return statuses


async def slow_upload(door: str, model: str, size: int, seconds: float) -> int:
    """Send a body of `size` bytes over so long; returns the status of the answer, 0 where the connection ended without one."""
    reader, writer = await asyncio.open_connection(*address_of(door))
    head = (
        f'{{"model": "{model}", "stream": true, "max_tokens": 1, "messages": [{{"role": "user", "content": "'.encode()
    )
    tail = b'"}]}'
    filler = size - len(head) - len(tail)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % size + head
    )
    answering = asyncio.ensure_future(reader.read(16))
    pieces = 64
    try:
        for number in range(pieces):
            piece = filler // pieces + (filler % pieces if number == 0 else 0)
            writer.write(b"x" * piece)
            await writer.drain()
            if answering.done():
                break
            await asyncio.sleep(seconds / pieces)  # slowness is what is sent
        else:
            writer.write(tail)
            await writer.drain()
        begun = await answering
    except OSError:
        begun = answering.result() if answering.done() and not answering.exception() else b""
    finally:
        answering.cancel()
        writer.close()
    return int(begun.split(b" ")[1]) if begun.startswith(b"HTTP/1.1 ") else 0
