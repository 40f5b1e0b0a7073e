"""A response as whoever serves a request sees it, and the one that is written straight to the client's transport.

Through it bytes are written in the event loop's callbacks, without a task or a coroutine, and it is told at once when
the client goes away or cannot keep up. hearth/http1/asgi.py has the other one, over ASGI's `send`.
"""

import asyncio
import http
import socket
import struct
from collections.abc import Callable
from typing import Final

from hearth.http1.chunked import chunk
from hearth.http1.date import date_line
from hearth.http1.headers import Headers, add_fields, get
from hearth.http1.limits import Budget
from hearth.http1.message import Refusal, Request


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES: Final = {status: _status_line(status) for status in range(100, 600)}

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends RST


class Response:
    """`start` once, `write` any number of times, then `end` or `abort`; or `answer` alone.

    `gone`: the client has closed its connection before the response was complete; whatever is written then is dropped.
    """

    __slots__ = ("_budget", "_on_gone", "_on_pause", "_on_resume", "complete", "gone", "held", "request", "started")

    def __init__(self, request: Request, budget: Budget, held: int = 0) -> None:
        self.request = request
        self.held = held  # bytes of the budget that the request's body takes
        self._budget = budget
        self._on_gone: Callable[[], object] | None = None
        self._on_pause: Callable[[], None] | None = None
        self._on_resume: Callable[[], None] | None = None
        self.started = False
        self.gone = False
        self.complete = False

    def attach(self, on_gone: Callable[[], object]) -> None:
        """Call `on_gone` when the client goes away before the response is complete."""
        self._on_gone = on_gone

    def set_flow(self, on_pause: Callable[[], None] | None, on_resume: Callable[[], None] | None) -> None:
        """Call these when more is written than the client takes, and when it has taken most of it."""
        self._on_pause, self._on_resume = on_pause, on_resume

    def start(self, status: int, headers: Headers, body: bytes = b"", *, length: int | None = None) -> None:
        """Write the head, with `body` in the same write. Without `length` the body is chunked (or ends with the
        connection, in HTTP/1.0); headers carry neither content-length nor transfer-encoding."""
        raise NotImplementedError

    def write(self, body: bytes) -> None:
        """Write a part of the body."""
        raise NotImplementedError

    def takes_chunks(self) -> Callable[[bytes], None] | None:
        """What writes a part of the body that is a chunk already; None where this body is not chunked."""
        return None

    def end(self) -> None:
        """The response is complete."""
        raise NotImplementedError

    def abort(self) -> None:
        """Cut the response short, so that the client sees a failed one, however it is framed."""
        raise NotImplementedError

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole response at once."""
        self.start(status, headers, body, length=len(body))
        self.end()

    def hold(self, size: int) -> bool:
        """The request's body is so large from now on; False where that is over the budget."""
        held = self.held
        self._budget.give(held)
        if not self._budget.take(size, 0):
            self._budget.take_back(held)
            return False
        self.held = size
        return True

    def drop_request(self) -> None:
        """The request's body is needed no longer: what it held of the budget is free."""
        self.request.drop_body()
        self._budget.give(self.held)
        self.held = 0

    def _tell_gone(self) -> None:
        """The client is gone."""
        if self.complete or self.gone:
            return
        self.gone = True
        on_gone = self._on_gone
        self._on_gone = self._on_pause = self._on_resume = None
        if on_gone is not None:
            on_gone()

    def pause(self) -> None:
        if self._on_pause is not None:
            self._on_pause()

    def resume(self) -> None:
        if self._on_resume is not None:
            self._on_resume()


class Carrier:
    """What a response needs of the connection that carries it."""

    transport: asyncio.Transport
    budget: Budget

    @property
    def unread(self) -> bool:
        """Whether the client does not take what is written."""
        raise NotImplementedError

    @property
    def leaving(self) -> bool:
        """Whether an answer that begins now is the last one here."""
        raise NotImplementedError

    def leave(self, response: "TransportResponse") -> None:
        """This response is over."""
        raise NotImplementedError

    def response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        raise NotImplementedError

    def finish(self) -> None:
        """Close, after what was written."""
        raise NotImplementedError


class TransportResponse(Response):
    """A response on a connection of ours."""

    __slots__ = ("_bodiless", "_chunked", "_connection", "_left", "fault", "keep_alive", "whole")

    def __init__(self, connection: Carrier, request: Request, *, keep_alive: bool) -> None:
        super().__init__(request, connection.budget)
        self._connection = connection
        self._bodiless = request.method == "HEAD"
        self._chunked = False
        self._left = -1  # bytes that the announced length still allows; -1 where none was announced
        self.keep_alive = keep_alive
        self.fault: Refusal | None = None  # why the request is refused when its turn comes
        self.whole = False  # whether the request's body has come

    def set_flow(self, on_pause: Callable[[], None] | None, on_resume: Callable[[], None] | None) -> None:
        super().set_flow(on_pause, on_resume)
        if on_pause is not None and self._connection.unread:  # since an answer before this one
            on_pause()

    def start(self, status: int, headers: Headers, body: bytes = b"", *, length: int | None = None) -> None:
        if self.gone or self.started:
            return
        self.started = True
        lines = [STATUS_LINES[status] if status in STATUS_LINES else _status_line(status)]
        add_fields(lines, headers)
        if get(headers, b"date") is None:
            lines.append(date_line())
        if status in (204, 304) or status < 200:
            self._bodiless = True  # and nothing is said of one, but what a 304 says (RFC 9112, 6.3)
            if status == 304 and length is not None:
                lines.append(b"content-length: %d\r\n" % length)
        elif length is not None:
            self._left = length
            lines.append(b"content-length: %d\r\n" % length)
        elif self._bodiless:
            pass
        elif self.request.http11:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self.keep_alive = False
        if not self.keep_alive or self._connection.leaving:
            self.keep_alive = False
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        if body and not self._bodiless:
            lines.append(self._framed(body))
        self._connection.transport.write(b"".join(lines))

    def write(self, body: bytes) -> None:
        if body and not self.gone and not self._bodiless and not self.complete:
            self._connection.transport.write(self._framed(body))

    def _framed(self, body: bytes) -> bytes:
        if self._chunked:
            return chunk(body)
        if self._left >= 0:
            if len(body) > self._left:  # never more than was announced: it would be read as the next response
                body = body[: self._left]
                self.keep_alive = False
            self._left -= len(body)
        return body

    def takes_chunks(self) -> Callable[[bytes], None] | None:
        return self._connection.transport.write if self._chunked and not self.gone else None

    def end(self) -> None:
        if self.complete or self.gone:
            return
        if self._left > 0 and not self._bodiless:
            self.abort()  # less than was announced
            return
        connection = self._connection
        if self._chunked:
            connection.transport.write(b"0\r\n\r\n")
        self._finish()
        if not self.keep_alive:
            connection.finish()
        connection.response_complete()

    def abort(self) -> None:
        if self.complete or self.gone:
            return
        self._finish()
        transport = self._connection.transport
        if self.started and self._left < 0 and not self._chunked and not self._bodiless:
            # This body ends with the connection: only a reset tells that it is not whole.
            if (found := transport.get_extra_info("socket")) is not None:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        else:
            self._connection.finish()

    def lost(self) -> None:
        """The connection is gone."""
        self._tell_gone()
        self.drop_request()

    def _finish(self) -> None:
        self.complete = True
        self.drop_request()
        self._connection.leave(self)
        self._on_gone = self._on_pause = self._on_resume = None
