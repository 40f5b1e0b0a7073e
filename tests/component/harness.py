"""Both ends of the activator for tests: clients and engines on plain sockets, so that every byte can be seen and said.

An engine's handler is a coroutine of the test: it gets the request and writes what it likes, when it likes.
"""

import asyncio
import contextlib
import json
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from prometheus_client import CollectorRegistry, generate_latest

from hearth.activator.demand import DemandBoard
from hearth.activator.https import HttpsListener
from hearth.activator.journeys import Journeys
from hearth.activator.keyring import Keyring
from hearth.activator.lane.door import Door
from hearth.activator.lane.gate import Gate
from hearth.activator.origins import Origins
from hearth.activator.server import connections_of, http_server
from hearth.activator.starts import AddressStarts
from hearth.api.key import ServiceKey
from hearth.http1.connection import Connection
from hearth.http1.limits import Budget, Limits
from hearth.operations import bind
from hearth.tls.certificates import ends
from hearth.tls.credentials import Held
from tests.builders import endpoint_slice, llmservice_manifest
from tests.certificates import issue, new_authority

PATIENCE = 10.0  # seconds for something that happens in milliseconds

Server = Literal["ours", "uvicorn's", "over TLS"]
BOTH: tuple[Server, ...] = ("ours", "uvicorn's")

HELLO = {"model": "qwen", "messages": [{"role": "user", "content": "Hello"}]}


@dataclass(slots=True)
class Message:
    """A request or a response: its first line, its fields in lower case, its whole body."""

    start: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.start.split()[1])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stream:
    """One connection, read and written as HTTP/1.1 by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def write(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def head(self) -> Message:
        """Read a first line and fields. Raises IncompleteReadError at the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = text.split("\r\n")
        fields = (line.split(":", 1) for line in lines if line)
        return Message(start, {name.strip().lower(): value.strip() for name, value in fields})

    async def message(self, *, head_only: bool = False) -> Message:
        """Read a message with its body, whichever way it is framed."""
        message = await self.head()
        if head_only or message.start.split()[1:2] == ["204"]:
            return message
        if "content-length" in message.headers:
            message.body = await self.exactly(int(message.headers["content-length"]))
        elif message.headers.get("transfer-encoding") == "chunked":
            message.body = b"".join([chunk async for chunk in self.chunks()])
        elif message.start.startswith("HTTP/"):
            message.body = await self.rest()
        return message

    async def chunk(self) -> bytes:
        """One chunk of a body; b"" is the last one. Raises IncompleteReadError where the stream is cut."""
        async with asyncio.timeout(PATIENCE):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self.chunk():
            yield chunk

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(count)

    async def cut(self) -> bytes:
        """What comes of a chunked body until it is cut. Fails where the body is complete."""
        body = b""
        try:
            async for chunk in self.chunks():
                body += chunk
        except asyncio.IncompleteReadError:
            return body
        raise AssertionError(f"not cut, but complete: {body!r}")

    async def rest(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


class Client(Stream):
    """A client's connection to the activator."""

    async def send(
        self, method: str, target: str, body: object = None, *, host: str = "127.0.0.1", **headers: str
    ) -> None:
        """Write a request; a body that is no bytes is sent as JSON. `x_request_id=` becomes X-Request-Id."""
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {target} HTTP/1.1", f"host: {host}"]
        if body is not None:
            lines += [f"content-length: {len(payload)}", "content-type: application/json"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.write("\r\n".join(lines).encode(), b"\r\n\r\n", payload)

    async def ask(self, method: str, target: str, body: object = None, **headers: str) -> Message:
        """Write a request and read its whole answer."""
        await self.send(method, target, body, **headers)
        return await self.message(head_only=method == "HEAD")

    async def chat(self, *, stream: bool = False, target: str = "/v1/chat/completions", **changes: object) -> None:
        """Write a chat request."""
        await self.send("POST", target, {**HELLO, "stream": stream, **changes})


Handler = Callable[[Message, Stream], Awaitable[None]]


async def answer_ok(request: Message, stream: Stream) -> None:
    """Answer 200 with a small JSON document that says who was asked."""
    body = json.dumps({"asked": request.start.split()[1]}).encode()
    await stream.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body), body
    )


EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def answer_events(request: Message, stream: Stream) -> None:
    """Answer a streaming request with two events and [DONE]."""
    await stream.write(EVENTS_HEAD, chunked(b'data: {"n": 1}\n\n'))
    await stream.write(chunked(b'data: {"n": 2}\n\n'), chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n")


class ScriptedEngine:
    """A TCP server that reads requests and lets `handler` answer. `asked` is released once for each request."""

    def __init__(self, handler: Handler = answer_ok, host: str = "127.0.0.1") -> None:
        self.handler = handler
        self._host = host
        self.requests: list[Message] = []
        self.connections = 0
        self.asked = asyncio.Semaphore(0)
        self.dropped = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"{self._host}:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, (OSError, asyncio.CancelledError)):
                raise result

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        # Cancelled by the end of the test; asyncio.streams logs a handler that ends so as an error.
        with contextlib.suppress(asyncio.CancelledError):
            async with Stream(reader, writer) as stream:
                await self._answer_all(stream)
            self.dropped.set()

    async def _answer_all(self, stream: Stream) -> None:
        while not stream.writer.is_closing():
            try:
                text = (await stream.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            except (asyncio.IncompleteReadError, OSError):
                return
            start, *lines = text.split("\r\n")
            fields = (line.split(": ", 1) for line in lines if line)
            request = Message(start, {name.lower(): value for name, value in fields})
            request.body = await stream.exactly(int(request.headers.get("content-length", "0")))
            self.requests.append(request)
            self.asked.release()
            try:
                await self.handler(request, stream)
            except ConnectionError:
                return


@dataclass
class ActivatorHarness:
    """The activator's door on a port of 127.0.0.1. `service` and `ready` are what the API server would tell it."""

    usual: ClassVar[Server] = "ours"

    limits: Limits = field(default_factory=lambda: Limits(body_bytes=2**20))
    budget: Budget = field(default_factory=lambda: Budget(64 * 2**20))
    origins: Origins = field(default_factory=Origins)
    server: Server = field(default_factory=lambda: ActivatorHarness.usual)
    keyring: Keyring = field(default_factory=Keyring)
    addresses: AddressStarts = field(default_factory=AddressStarts)
    board: DemandBoard = field(default_factory=DemandBoard)
    journeys: Journeys = field(default_factory=Journeys)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _clients: list[Client] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.door = Door(
            self.board,
            self.registry,
            self.limits,
            self.budget,
            self.journeys,
            self.origins,
            self.keyring,
            self.addresses,
        )
        self._listening: socket.socket = bind("127.0.0.1:0")
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = http_server(self.door, lambda: True, grace_seconds=1)
        if self.server == "uvicorn's":
            self._server.config.http = "httptools"
        self.https: HttpsListener | None = None
        sockets = [self._listening]
        if self.server == "over TLS":
            authority = new_authority()
            pair = issue(authority, "127.0.0.1")
            made = partial(connections_of(self.door), self._server.config, self._server.server_state, {})
            self.https = HttpsListener(self._listening, made)
            self.https.take(Held(pair, b"", ends(pair.certificate), 0.0))
            self.trust = ssl.create_default_context(cadata=authority.bundle.decode())
            sockets = []
        self._serving = asyncio.create_task(self._server.serve(sockets=sockets))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for client in self._clients:
            await client.close()
        self._server.should_exit = True
        if self.https is not None:
            await self.https.stop()
        await self._serving
        self.board.close()
        self.door.close()
        self._listening.close()

    def stop(self) -> None:
        """What SIGTERM does to the clients' server."""
        self._server.should_exit = True

    async def stopped(self) -> None:
        """The clients' server has ended."""
        await asyncio.shield(self._serving)

    def metrics(self) -> str:
        """What Prometheus is told."""
        return generate_latest(self.registry).decode()

    def service(
        self, *assignments: str, name: str = "qwen", namespace: str = "ai", created: str = "", **status: Any
    ) -> None:
        """Create or change an LLMService."""
        manifest = llmservice_manifest(name, namespace, *assignments)
        manifest["metadata"]["creationTimestamp"] = created or "2026-01-01T00:00:00Z"
        manifest["status"] = status
        self.door.directory.put_service((namespace, name), manifest)

    def keys(self, text: str | None, name: str = "hearth-api-keys", namespace: str = "ai", entry: str = "keys") -> None:
        """Let a Secret of API keys have this text in its entry; None: there is no Secret."""
        ring = self.door.keyring
        data = None if text is None else ring.read({"data": {entry: b64encode(text.encode()).decode()}})
        ring.put_secret((namespace, name), data)

    def delete(self, name: str = "qwen", namespace: str = "ai") -> None:
        self.door.directory.put_service((namespace, name), None)

    def ready(self, *engines: "ScriptedEngine | str", name: str = "qwen", namespace: str = "ai") -> None:
        """Let exactly these be the ready replicas."""
        addresses = [engine if isinstance(engine, str) else engine.address for engine in engines]
        for number in range(8):
            item = endpoint_slice(name, namespace, addresses[number]) if number < len(addresses) else None
            self.door.directory.put_slice((namespace, f"{name}-{number}"), item)

    def starting(self, *engines: "ScriptedEngine", name: str = "qwen", namespace: str = "ai") -> None:
        """Let exactly these be replicas that are not ready yet."""
        self.ready(name=name, namespace=namespace)
        for number, engine in enumerate(engines):
            item = endpoint_slice(name, namespace, engine.address, ready=False)
            self.door.directory.put_slice((namespace, f"{name}-{number}"), item)

    def gate(self, name: str = "qwen", namespace: str = "ai") -> Gate:
        return self.door.gates[ServiceKey(namespace, name)]

    def connections(self) -> list[Connection]:
        """The activator's ends of the clients' connections."""
        return [
            connection for connection in self._server.server_state.connections if isinstance(connection, Connection)
        ]

    async def client(self) -> Client:
        """A new connection, closed at the end of the test."""
        context = self.trust if self.https is not None else None
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=context))
        self._clients.append(client)
        return client

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the demand is so, looking whenever the board says that something changed."""
        async with asyncio.timeout(PATIENCE), contextlib.aclosing(self.board.watch()) as updates:
            async for _ in updates:
                if condition():
                    return

    async def waiting(self, count: int) -> None:
        await self.until(lambda: self.gate().hold.waiting == count)

    async def idle(self) -> None:
        """Nobody waits and nobody is being answered."""
        await self.until(lambda: self.gate().hold.waiting == 0 and self.gate().hold.in_flight == 0)
