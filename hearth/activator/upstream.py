"""Connections to engines: HTTP/1.1 over plain asyncio transports, responses parsed with httptools.

An answer is handed to a `ResponseSink` as it comes, in the event loop's own callbacks: no task, no queue, no copy
between the socket and whoever writes to the client.
"""

import asyncio
import socket
from collections import defaultdict, deque
from typing import Protocol, cast

import httptools

from hearth.activator.chunked import size_of_chunks
from hearth.activator.headers import Headers, get

_ONE_WRITE = 16 * 1024  # bytes up to which one buffer costs less than several

# How far an engine may run ahead of a client that reads slowly, here in the kernel; one read takes no more than that
# into the process. Left to itself the kernel lets it grow to megabytes for each.
_AHEAD = 64 * 1024


class UpstreamError(Exception):
    """The engine could not be reached, or broke its connection or HTTP's rules."""


class ResponseSink(Protocol):
    """Takes one response: `head`, then `body` for each read (maybe empty), then `end`; or `failed` at any time. A read
    that is whole chunks and nothing else comes by `chunks` as it is, with the `size` of their data in bytes."""

    def head(self, status: int, headers: Headers) -> None: ...
    def body(self, data: bytes) -> None: ...
    def chunks(self, raw: bytes, size: int) -> None: ...
    def end(self) -> None: ...
    def failed(self, error: UpstreamError) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """One connection. `send` a request, and its response goes to the sink; then the connection may be used again."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._sink: ResponseSink | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: Headers = []
        self._pieces: list[bytes] = []
        self._head_request = False
        self._head_given = False
        self._complete = False
        self._reusable = True
        self._between_chunks = False
        self.used = False
        self.received = False

    @property
    def open(self) -> bool:
        """Whether another request may be sent."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._reusable and self._sink is None

    def send(self, request: list[bytes], sink: ResponseSink, *, head_request: bool = False) -> None:
        """Send a request, given as its parts, and give the response to `sink`."""
        assert self._transport is not None
        assert self._sink is None
        self._sink = sink
        if self._parser is None or self._head_request:  # a parser that has seen no end of its message is not used again
            self._parser = httptools.HttpResponseParser(self)
        self._headers, self._pieces = [], []
        self._head_request, self._head_given, self._complete = head_request, False, False
        self.received = False
        if sum(map(len, request)) <= _ONE_WRITE:
            self._transport.write(b"".join(request))
        else:
            self._transport.writelines(request)  # a long prompt is not copied once more

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Drop the connection and whatever is under way on it; the engine sees that nobody wants the answer."""
        self._sink = None
        self._reusable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _AHEAD)

    def data_received(self, data: bytes) -> None:
        if self._sink is None or self._parser is None:
            self.close()  # an engine that speaks without being asked
            return
        if self._between_chunks:
            # An event stream is mostly one chunk a read, or some that have waited for it: where they are whole the
            # parser would stand afterwards where it stands.
            size = size_of_chunks(data)
            if size:
                self._sink.chunks(data, size)
                return
        self.received = True
        self._between_chunks = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(UpstreamError(f"the engine's answer is not HTTP: {error}"))
            return
        if self._between_chunks and not data.endswith(b"\r\n"):
            self._between_chunks = False  # the size of the next chunk has begun
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._reusable = False
        if self._sink is None:
            return
        self._flush()
        if self._sink is not None and self._head_given and self._ends_with_connection():
            self._done()
        else:
            self._fail(UpstreamError(f"the engine closed its connection{f': {exc}' if exc else ''}"))

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        assert self._sink is not None
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the answer is still to come
            self._headers = []
            return
        self._head_given = True
        if not self._parser.should_keep_alive():
            self._reusable = False
        self._sink.head(status, self._headers)
        if self._head_request:
            self._complete = True  # the parser would wait for a body that a HEAD has not
            self._reusable = False

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_chunk_header(self) -> None:
        self._between_chunks = False

    def on_chunk_complete(self) -> None:
        self._between_chunks = True

    def on_message_complete(self) -> None:
        self._between_chunks = False
        if self._head_given:
            self._complete = True

    def _flush(self) -> None:
        """Give the sink in one piece what came in one read, so that it writes once for it."""
        if self._sink is None or not self._head_given:
            return
        self._sink.body(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
        self._pieces = []
        if self._complete:
            self._done()

    def _done(self) -> None:
        sink, self._sink = self._sink, None
        self.used = True
        if not self._reusable and self._transport is not None:
            self._transport.close()
        if sink is not None:
            sink.end()

    def _fail(self, error: UpstreamError) -> None:
        sink = self._sink
        self.close()
        if sink is not None:
            sink.failed(error)

    def _ends_with_connection(self) -> bool:
        """RFC 9112, 6.3: without a length and without chunks, the body ends where the connection does."""
        encoding = get(self._headers, b"transfer-encoding") or b""
        return get(self._headers, b"content-length") is None and b"chunked" not in encoding.lower()


class Pool:
    """Idle connections to each engine, the one used last first."""

    def __init__(self, connect_timeout: float = 5.0, max_idle: int = 64) -> None:
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle
        self._idle: dict[str, deque[UpstreamConnection]] = defaultdict(deque)

    def idle(self, address: str) -> UpstreamConnection | None:
        """An open connection to `address` (host:port) that nobody uses."""
        idle = self._idle.get(address)
        while idle:
            connection = idle.pop()
            if connection.open:
                return connection
        return None

    async def open(self, address: str) -> UpstreamConnection:
        """A new connection. Raises UpstreamError."""
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(UpstreamConnection, host.strip("[]"), int(port))
        except (OSError, TimeoutError) as error:
            raise UpstreamError(f"cannot connect to {address}: {error or 'timed out'}") from error
        return connection

    def release(self, address: str, connection: UpstreamConnection) -> None:
        """Give a connection back after its response is complete."""
        idle = self._idle[address]
        if connection.open and len(idle) < self._max_idle:
            idle.append(connection)
        else:
            connection.close()

    def forget(self, address: str) -> None:
        """Close the idle connections to an engine that is gone."""
        for connection in self._idle.pop(address, ()):
            connection.close()

    def close(self) -> None:
        for address in list(self._idle):
            self.forget(address)
