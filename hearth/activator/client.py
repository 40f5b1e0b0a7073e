"""The client's end: requests as they come, and the response to each, written straight to the client's transport.

uvicorn owns the listening, the connection and the parser; `ActivatorProtocol` is its HTTP/1.1 protocol, which hands
each whole request to the app with a `ClientResponse`: no ASGI, no task. Through it the hold and the relay write in the
event loop's callbacks, and learn at once when the client goes away or cannot keep up.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hearth.activator.errors import ApiError, body_too_large
from hearth.activator.headers import Headers
from hearth.activator.request import Request

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and fields; the parser itself would take any number."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"  # RFC 6585, 5
)


class App(Protocol):
    """Who serves the requests; `take` is called with a whole one, `refuse` where it can't be one."""

    max_body_bytes: int

    def take(self, request: Request, client: "ClientResponse") -> None: ...
    def refuse(self, request: Request, client: "ClientResponse", error: ApiError) -> None: ...


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

    @property
    def write_paused(self) -> bool:
        """Whether the client reads slower than is written."""
        return self._protocol.flow.write_paused

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
            lines.append(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)
        self._protocol.transport.write(b"".join(lines))

    def write(self, body: bytes) -> None:
        """Write a part of the body. Nothing happens where the client is gone."""
        if not self.disconnected:
            self._protocol.transport.write(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)

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


class ActivatorProtocol(HttpToolsProtocol):
    """One connection of a client: requests one after the other, pipelined ones in their order."""

    current: ClientResponse | None = None
    _head_bytes = -1  # of the head that is being read; -1 where none is
    _idle_since: float | None = None  # when the last response was complete; None while there is a request
    _turn: ClientResponse | None = None  # the response whose turn it is and whose request is still being read

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:  # the parser wraps what a callback of ours raised
            log.error("a request failed in here", exc_info=error.__context__ or error)
            self.transport.close()
            return
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        except httptools.HttpParserUpgrade:
            pass  # the app has refused it in words
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._head_bytes = -1
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._head_bytes = -1
        parser = self.parser
        version = parser.get_http_version()
        url = httptools.parse_url(self.url)
        request = Request(
            parser.get_method().decode("ascii"),
            (url.path or b"/").decode("latin-1"),  # as it was written, so that it is passed on as it was written
            url.query or b"",
            self.headers,
            client=self.client[0] if self.client else "",
            scheme=self.scheme or "http",
        )
        before = cast("ClientResponse | None", self.cycle)
        keep_alive = version != "1.0" and parser.should_keep_alive()
        response = ClientResponse(self, request, http11=version == "1.1", keep_alive=keep_alive)
        self.cycle = cast("Any", response)
        if before is None or before.response_complete:
            self._start_asgi_task(response, None)
        else:
            self.flow.pause_reading()  # until its turn comes
            self.pipeline.appendleft(cast("Any", (response, None)))

    def on_body(self, body: bytes) -> None:
        response = cast("ClientResponse", self.cycle)
        if response.response_complete:
            return  # refused; what else comes is read and dropped
        request = response.request
        request.body.append(body)
        request.length += len(body)
        if self._turn is response and request.length > cast("App", self.app).max_body_bytes:
            self._refuse(response)

    def on_message_complete(self) -> None:
        response = cast("ClientResponse", self.cycle)
        response.whole = True
        if self._turn is response:
            self._take(response)

    # uvicorn's

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """The turn of this request has come: its head is here, and more of it if it was pipelined."""
        response = cast("ClientResponse", cycle)
        request = response.request
        self._turn = response
        announced = request.fields.get(b"content-length")
        if max(int(announced or 0), request.length) > cast("App", self.app).max_body_bytes:
            self._refuse(response)
        elif response.whole:
            self._take(response)
        elif self.expect_100_continue and not request.body:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self.flow.resume_reading()
            response, _ = self.pipeline.pop()
            self._start_asgi_task(response, None)
        else:
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        """One timer a connection, not one a request: it looks how long nothing has come."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None or self.transport.is_closing():
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.transport.close()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(left, self._look_whether_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
        for waiting, _ in self.pipeline:
            waiting.disconnected = True
        self._turn = None
        current, self.current = self.current, None
        if current is not None and not current.response_complete:
            current.disconnected = True
            current.connection_lost()
        self.parser = cast("Any", None)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.current is not None:
            self.current.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.current is not None:
            self.current.resume()

    def _take(self, response: ClientResponse) -> None:
        self._turn = None
        cast("App", self.app).take(response.request, response)

    def _refuse(self, response: ClientResponse) -> None:
        self._turn = None
        app = cast("App", self.app)
        app.refuse(response.request, response, body_too_large(app.max_body_bytes))
