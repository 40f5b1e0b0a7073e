"""Connections to upstream servers: requests out, answers parsed with httptools and handed to a `ResponseSink`.

An answer goes to its sink as it comes, in the event loop's own callbacks: no task, no queue, no copy between the socket
and whoever writes to the client. Nothing that comes behind the end of an answer is anybody's.
"""

import asyncio
import errno
import socket
from collections import deque
from typing import Any, Final, Literal, Protocol, cast

import httptools

from hearth.http1.chunked import size_of_chunks
from hearth.http1.connection import keep_alive
from hearth.http1.headers import Headers, get

_ONE_WRITE: Final = 16 * 1024  # bytes up to which one buffer costs less than several

# How far an upstream server may run ahead of a client that reads slowly, here in the kernel; one read takes no more
# than that into the process. Left to itself the kernel lets it grow to megabytes for each.
_AHEAD: Final = 64 * 1024

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of an answer's status line and fields, its trailers, its interim answers, and of a chunk's extensions."""

Why = Literal["unreached", "exhausted", "closed", "broken"]
"""No connection came to be; this process has no descriptor or memory for one; the server closed it before its answer
was whole; what it sent is no answer."""

_OURS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))


class UpstreamError(Exception):
    """An answer that did not come, or not whole. `why` says what is known of it."""

    def __init__(self, text: str, why: Why) -> None:
        super().__init__(text)
        self.why: Why = why


class ResponseSink(Protocol):
    """Takes one response: `head`, then `body` for each read (maybe empty), then `end`; or `failed` at any time. A read
    that is whole chunks and nothing else comes by `chunks` as it is, with the `size` of their data in bytes."""

    def head(self, status: int, headers: Headers) -> None: ...
    def body(self, data: bytes) -> None: ...
    def chunks(self, raw: bytes, size: int) -> None: ...
    def end(self) -> None: ...
    def failed(self, error: UpstreamError) -> None: ...


class UpstreamConnection:
    """One connection. `send` a request, and its response goes to the sink; then the connection may be used again."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._sink: ResponseSink | None = None
        self._parser: Any = None
        self._headers: Headers = []
        self._pieces: list[bytes] = []
        self._head_request = False
        self._head_given = False
        self._complete = False
        self._reusable = True
        self._between_chunks = False
        self._silent = 0  # bytes since the parser last told of the body, or of the answer's end
        self._strange = 0  # a status that is none
        self._length = 0  # bytes of the body, where the head says it
        self._left = 0  # of them, those that come without a parser
        self.used = False
        self.received = False

    @property
    def open(self) -> bool:
        """Whether another request may be sent."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._reusable and self._sink is None

    def send(self, head: bytes, body: bytes, sink: ResponseSink, *, head_request: bool = False) -> None:
        """Send a request and give the response to `sink`."""
        transport = self._transport
        assert transport is not None
        assert self._sink is None
        self._sink = sink
        if self._parser is None or self._head_request:  # a parser that has seen no end of its message is not used again
            self._parser = httptools.HttpResponseParser(self)
        self._headers, self._pieces = [], []
        self._head_request, self._head_given, self._complete = head_request, False, False
        self._silent = self._length = self._left = 0
        self.received = False
        if not body:
            transport.write(head)
        elif len(body) <= _ONE_WRITE:
            transport.write(head + body)
        else:
            transport.writelines([head, body])  # a long prompt is not copied once more

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Drop the connection and whatever is under way on it; the server sees that nobody wants the answer."""
        self._sink = None
        self._reusable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        found = transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _AHEAD)
        keep_alive(transport)

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        if sink is None or self._parser is None:
            self.close()  # a server that speaks without being asked
            return
        if self._between_chunks:
            # An event stream is mostly one chunk a read, or some that have waited for it: where they are whole the
            # parser would stand afterwards where it stands.
            size = size_of_chunks(data)
            if size:
                sink.chunks(data, size)
                return
        self.received = True
        if self._left:
            self._body_as_it_is(data)
            return
        self._between_chunks = False
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._broken("the answer changes the protocol, which nobody asked for")
            return
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error  # noqa: B904 - a mistake of ours, as it was raised
        except httptools.HttpParserError as error:
            if not self._complete:  # else it is about what comes behind the answer
                self._broken(f"the answer is not HTTP: {error}")
                return
            self._reusable = False
        if self._strange:
            self._broken(f"the answer's status is {self._strange}")
            return
        if self._silent > MAX_HEAD_BYTES and not self._complete:
            self._broken(f"the answer's fields are over {MAX_HEAD_BYTES} bytes")
            return
        if self._between_chunks and not data.endswith(b"\r\n"):
            self._between_chunks = False  # the size of the next chunk has begun
        if self._length and not self._complete:
            # What is left of a body of known length needs no parser, and no copy that one makes.
            self._left = self._length - sum(map(len, self._pieces))
        self._flush()

    def eof_received(self) -> None:
        """The transport closes itself."""

    def pause_writing(self) -> None:
        """A long prompt is written as the server takes it."""

    def resume_writing(self) -> None:
        """See pause_writing."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._reusable = False
        if self._sink is None:
            return
        self._flush()
        if self._sink is None:
            return
        if self._head_given and self._ends_with_connection() and exc is None:
            self._done()
        else:
            self._fail(UpstreamError(f"the connection was closed{f': {exc}' if exc else ''}", "closed"))

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_given:  # what comes later are trailers, or another answer's
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        sink = self._sink
        if self._head_given or sink is None:
            return  # a second answer, which nobody asked for
        parser = self._parser
        status = parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the answer is still to come
            self._headers = []
            return
        if status > 599:  # RFC 9110, 15
            self._strange = status
            return
        self._silent = 0
        self._head_given = True
        if not parser.should_keep_alive():
            self._reusable = False
        length = get(self._headers, b"content-length")
        if length is not None and get(self._headers, b"transfer-encoding") is None:
            self._length = int(length)
        sink.head(status, self._headers)
        if self._head_request:
            self._complete = True  # the parser would wait for a body that a HEAD has not
            self._reusable = False

    def on_body(self, data: bytes) -> None:
        self._silent = 0
        if not self._complete:
            self._pieces.append(data)

    def on_chunk_header(self) -> None:
        self._between_chunks = False

    def on_chunk_complete(self) -> None:
        self._between_chunks = not self._complete

    def on_message_begin(self) -> None:
        if self._complete:
            self._reusable = False

    def on_message_complete(self) -> None:
        self._between_chunks = False
        if self._head_given:
            self._complete = True

    def _body_as_it_is(self, data: bytes) -> None:
        if len(data) > self._left:
            data, self._reusable = data[: self._left], False
        self._left -= len(data)
        if self._left == 0:
            self._complete = True
            self._parser = None  # it has seen no end of its message
        self._pieces.append(data)
        self._flush()

    def _flush(self) -> None:
        """Give the sink in one piece what came in one read, so that it writes once for it."""
        sink = self._sink
        if sink is None or not self._head_given:
            return
        pieces, self._pieces = self._pieces, []
        sink.body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._complete:
            self._done()

    def _done(self) -> None:
        sink, self._sink = self._sink, None
        self.used = True
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size():
            self.close()  # it answered before it had read the request: what is left of that would be read as the next
        elif not self._reusable and transport is not None:
            transport.close()
        if sink is not None:
            sink.end()

    def _broken(self, text: str) -> None:
        self._fail(UpstreamError(text, "broken"))

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
    """Idle connections to each upstream server that is welcome, the one used last first."""

    def __init__(self, connect_timeout: float = 5.0, max_idle: int = 64) -> None:
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle
        self._idle: dict[str, deque[UpstreamConnection]] = {}

    def welcome(self, address: str) -> None:
        """Keep idle connections to this server."""
        if address not in self._idle:
            self._idle[address] = deque()

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
                _, connection = await loop.create_connection(
                    cast("Any", UpstreamConnection), host.strip("[]"), int(port)
                )
        except (OSError, TimeoutError, ValueError) as error:
            ours = isinstance(error, OSError) and error.errno in _OURS
            text = f"cannot connect to {address}: {str(error) or 'timed out'}"
            raise UpstreamError(text, "exhausted" if ours else "unreached") from error
        return cast("UpstreamConnection", connection)

    def release(self, address: str, connection: UpstreamConnection) -> None:
        """Give a connection back after its response is complete."""
        idle = self._idle.get(address)
        if connection.open and idle is not None and len(idle) < self._max_idle:
            idle.append(connection)
        else:
            connection.close()

    def forget(self, address: str) -> None:
        """Close the idle connections to a server that is gone."""
        for connection in self._idle.pop(address, ()):
            connection.close()

    def close(self) -> None:
        for address in list(self._idle):
            self.forget(address)
