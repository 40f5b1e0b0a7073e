"""The client's end of a request: its response, written straight to the client's transport.

Through it the hold and the relay write in the event loop's callbacks, without a task or a coroutine, and learn at once
when the client goes away or cannot keep up.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from hearth.activator.chunked import chunk
from hearth.activator.errors import ApiError
from hearth.activator.headers import Headers
from hearth.activator.request import Request

if TYPE_CHECKING:
    from hearth.activator.protocol import ActivatorProtocol


class ClientResponse:
    """One response. `start` once, `write` any number of times, then `end` or `abort`."""

    __slots__ = (
        "_chunked",
        "_head_request",
        "_http11",
        "_on_gone",
        "_on_pause",
        "_on_resume",
        "_protocol",
        "disconnected",
        "fault",
        "keep_alive",
        "opened_events",
        "request",
        "response_complete",
        "started",
        "whole",
    )

    def __init__(self, protocol: "ActivatorProtocol", request: Request, *, http11: bool, keep_alive: bool) -> None:
        self._protocol = protocol
        self._http11 = http11
        self._head_request = request.method == "HEAD"
        self._chunked = False
        self._on_gone: Callable[[], object] | None = None
        self._on_pause: Callable[[], None] | None = None
        self._on_resume: Callable[[], None] | None = None
        self.request = request
        self.keep_alive = keep_alive
        self.fault: ApiError | None = None  # why the request is refused when its turn comes
        self.whole = False  # whether the request's body has come
        self.started = False
        self.opened_events = False
        # uvicorn's names: it looks at both when a connection is lost or the server stops.
        self.disconnected = False
        self.response_complete = False

    @property
    def gone(self) -> bool:
        """Whether the client has closed its connection before the response was complete."""
        return self.disconnected

    def attach(self, on_gone: Callable[[], object]) -> None:
        """Call `on_gone` when the client goes away while this response is the connection's current one."""
        self._on_gone = on_gone
        self._protocol.current = self

    def set_flow(self, on_pause: Callable[[], None] | None, on_resume: Callable[[], None] | None) -> None:
        """Call these when the write buffer is over its high mark, and when it is below its low mark again."""
        self._on_pause, self._on_resume = on_pause, on_resume

    def start(
        self, status: int, headers: Headers, body: bytes = b"", *, length: int | None = None, events: bool = False
    ) -> None:
        """Write the head, with `body` in the same write. Without `length` the body is chunked (or ends with the
        connection, in HTTP/1.0); headers carry neither content-length nor transfer-encoding. `events`: it is a stream
        of events, to which an error can be added."""
        if self.disconnected:
            return
        self.started = True
        self.opened_events = events
        lines = [STATUS_LINE.get(status, b"HTTP/1.1 %d \r\n" % status)]
        lines += [b"%b: %b\r\n" % field for field in headers]
        if status == 204 or (length is None and (self._head_request or status == 304)):
            pass  # no body, and nothing said of one (RFC 9112, 6.3)
        elif length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        elif self._http11:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        if body:
            lines.append(chunk(body) if self._chunked else body)
        self._protocol.transport.write(b"".join(lines))

    def write(self, body: bytes) -> None:
        """Write a part of the body. Nothing happens where the client is gone."""
        if not self.disconnected:
            self._protocol.transport.write(chunk(body) if self._chunked else body)

    def takes_chunks(self) -> Callable[[bytes], None] | None:
        """What writes a part of the body that is a chunk already; None where this body is not chunked."""
        return self._protocol.transport.write if self._chunked and not self.disconnected else None

    def end(self) -> None:
        """The response is complete; the connection goes on with the client's next request."""
        if self.response_complete or self.disconnected:
            return
        protocol = self._protocol
        if self._chunked:
            protocol.transport.write(b"0\r\n\r\n")
        self._finish()
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

    def abort(self) -> None:
        """Cut the response short, so that the client sees a failed one (no last chunk, or too few bytes)."""
        if not self.response_complete and not self.disconnected:
            self._finish()
            self._protocol.transport.close()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole response at once."""
        self.start(status, headers, b"" if self._head_request else body, length=len(body))
        self.end()

    def _finish(self) -> None:
        self.response_complete = True
        self.request.body.clear()  # an idle connection keeps no prompt
        if self._protocol.current is self:
            self._protocol.current = None
        self._on_gone = self._on_pause = self._on_resume = None

    def connection_lost(self) -> None:
        if self._on_gone is not None:
            self._on_gone()

    def pause(self) -> None:
        if self._on_pause is not None:
            self._on_pause()

    def resume(self) -> None:
        if self._on_resume is not None:
            self._on_resume()
