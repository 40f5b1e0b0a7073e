"""The client's end of a request: its response, written straight to the client's transport.

uvicorn parses requests; `ActivatorProtocol` is its HTTP/1.1 protocol, which hands each whole request to the door with
a `ClientResponse`. Through it the hold and the relay write without a task or a coroutine, and learn at once when the
client goes away or cannot keep up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from hearth.activator.errors import body_too_large
from hearth.activator.headers import Headers, get

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and fields; the parser itself would take any number."""

_BODY = "hearth.body"  # its place in a request's scope

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"  # RFC 6585, 5
)


class ClientResponse:
    """One response. `start` once, `write` any number of times, then `end` or `abort`."""

    __slots__ = (
        "_chunked",
        "_cycle",
        "_on_gone",
        "_on_pause",
        "_on_resume",
        "_protocol",
        "ended",
        "opened_events",
        "started",
    )

    def __init__(self, protocol: "ActivatorProtocol", cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._chunked = False
        self._on_gone: Callable[[], object] | None = None
        self._on_pause: Callable[[], None] | None = None
        self._on_resume: Callable[[], None] | None = None
        self.started = False
        self.ended = False
        self.opened_events = False

    @property
    def gone(self) -> bool:
        """Whether the client has closed its connection before the response was complete."""
        return self._cycle.disconnected

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

    def start(self, status: int, headers: Headers, body: bytes = b"", *, length: int | None = None) -> None:
        """Write the head, with `body` in the same write. Without `length` the body is chunked (or ends with the
        connection, in HTTP/1.0); headers carry neither content-length nor transfer-encoding."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        self.started = cycle.response_started = True
        self.opened_events = any(name == b"content-type" and b"event-stream" in value for name, value in headers)
        cycle.waiting_for_100_continue = False
        lines = [STATUS_LINE.get(status, b"HTTP/1.1 %d \r\n" % status)]
        lines += [b"%b: %b\r\n" % field for field in headers]
        if status == 204 or (length is None and (cycle.scope["method"] == "HEAD" or status == 304)):
            pass  # no body, and nothing said of one (RFC 9112, 6.3)
        elif length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        elif cycle.scope["http_version"] == "1.1":
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            cycle.keep_alive = False
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        if body:
            lines.append(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)
        cycle.transport.write(b"".join(lines))

    def write(self, body: bytes) -> None:
        """Write a part of the body. Nothing happens where the client is gone."""
        if not self._cycle.disconnected:
            self._cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)

    def end(self) -> None:
        """The response is complete; the connection goes on with the client's next request."""
        cycle = self._cycle
        if self.ended or cycle.disconnected:
            return
        if self._chunked:
            cycle.transport.write(b"0\r\n\r\n")
        self._finish()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def abort(self) -> None:
        """Cut the response short, so that the client sees a failed one (no last chunk, or too few bytes)."""
        if not self.ended and not self._cycle.disconnected:
            self._finish()
            self._cycle.transport.close()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole response at once."""
        self.start(status, headers, b"" if self._cycle.scope["method"] == "HEAD" else body, length=len(body))
        self.end()

    def _finish(self) -> None:
        self.ended = True
        self._cycle.response_complete = True
        self._cycle.message_event.set()
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


@dataclass(slots=True)
class Body:
    """A request's body so far, in the pieces that it came in."""

    pieces: list[bytes]
    length: int = 0


class ActivatorProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which hands the requests of an ActivatorApp's door to it: no ASGI, no task."""

    current: ClientResponse | None = None
    _head_bytes = -1  # of the head that is being read; -1 where none is
    _begun: RequestResponseCycle | None = None  # the request that is being served, or whose body is being read

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._head_bytes = -1
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def _unsupported_upgrade_warning(self) -> None:
        pass  # the door refuses it in words

    def on_headers_complete(self) -> None:
        self._head_bytes = -1
        cast("dict[str, Any]", self.scope)[_BODY] = Body([])
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            return  # refused; what else comes is read and dropped
        whole = _body_of(cycle)
        whole.pieces.append(body)
        whole.length += len(body)
        if whole.length > self.app.door.max_body_bytes and self._begun is cycle:
            self._refuse_body(cycle)

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.more_body = False
        if self._begun is cycle:
            self._take(cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """The turn of this request has come: its head is here, and more of it if it was pipelined."""
        if cycle.scope["path"] in self.app.operations:
            super()._start_asgi_task(cycle, app)
            return
        self._begun = cycle
        limit = self.app.door.max_body_bytes
        announced = get(_scope_of(cycle)["headers"], b"content-length")
        if (announced is not None and int(announced) > limit) or _body_of(cycle).length > limit:
            self._refuse_body(cycle)
        elif not cycle.more_body:
            self._take(cycle)
        elif cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _take(self, cycle: RequestResponseCycle) -> None:
        self._begun = None
        body = _body_of(cycle)
        self.app.door.take(_scope_of(cycle), ClientResponse(self, cycle), body.pieces, body.length)

    def _refuse_body(self, cycle: RequestResponseCycle) -> None:
        self._begun = None
        door = self.app.door
        error = body_too_large(door.max_body_bytes)
        door.refuse(_scope_of(cycle), ClientResponse(self, cycle), error)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._begun = None
        if self.current is not None:
            self.current.connection_lost()
            self.current = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.current is not None:
            self.current.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.current is not None:
            self.current.resume()


def _scope_of(cycle: RequestResponseCycle) -> dict[str, Any]:
    return cast("dict[str, Any]", cycle.scope)


def _body_of(cycle: RequestResponseCycle) -> Body:
    body: Body = _scope_of(cycle)[_BODY]
    return body
