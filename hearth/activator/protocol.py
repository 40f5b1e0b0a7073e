"""One connection of a client: HTTP/1.1 requests, each handed to the app when it is whole.

uvicorn owns the listening, the connection and the parser; this is its protocol without ASGI and without tasks, which
would cost more than everything else that is done for a request.
"""

import logging
from typing import Any, Protocol, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hearth.activator.client import ClientResponse
from hearth.activator.errors import (
    ApiError,
    bad_request,
    body_too_large,
    http_version_not_supported,
    method_not_allowed,
)
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
            if not self.transport.is_closing():  # what follows a refused request means nothing
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
        version, method = parser.get_http_version(), parser.get_method().decode("ascii")
        # What the parser adds to its list from here on are trailers, which are dropped: merged into the head they
        # could say what the head may not (RFC 9110, 6.5.1).
        headers, self.headers = self.headers, []
        fault = _fault(version, method, headers)
        path, query = "/", b""
        if fault is None:
            try:
                url = cast("Any", httptools.parse_url(self.url))  # its types have no None, its values do
            except httptools.HttpParserInvalidURLError:
                fault = bad_request(f"The request's target {self.url[:200]!r} is no URL.")
            else:
                # As it was written, so that it is passed on as it was written.
                path, query = (url.path or b"/").decode("latin-1"), url.query or b""
                if url.host is not None:  # the target's host counts, the field's does not (RFC 9112, 3.2.2)
                    authority = url.host if url.port is None else b"%b:%d" % (url.host, url.port)
                    headers = [(b"host", authority), *(field for field in headers if field[0] != b"host")]
        request = Request(
            method,
            path,
            query,
            headers,
            client=self.client[0] if self.client else "",
            scheme=self.scheme or "http",
        )
        before = cast("ClientResponse | None", self.cycle)
        keep_alive = version != "1.0" and parser.should_keep_alive()
        response = ClientResponse(self, request, http11=version == "1.1", keep_alive=keep_alive and fault is None)
        response.fault = fault
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
        if self._turn is response and request.length > self._limit:
            self._refuse(response, body_too_large(self._limit))

    def on_message_complete(self) -> None:
        response = cast("ClientResponse", self.cycle)
        response.whole = True
        if self._turn is response:
            self._take(response)

    # uvicorn's

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """The turn of this request has come: its head is here, and more of it if it was pipelined."""
        if self.transport.is_closing():
            return  # it came behind one that was refused, and nobody would hear its answer
        response = cast("ClientResponse", cycle)
        request = response.request
        self._turn = response
        announced = request.fields.get(b"content-length")
        if response.fault is not None:
            self._refuse(response, response.fault)
        elif max(int(announced or 0), request.length) > self._limit:
            self._refuse(response, body_too_large(self._limit))
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

    def _refuse(self, response: ClientResponse, error: ApiError) -> None:
        self._turn = None
        cast("App", self.app).refuse(response.request, response, error)

    @property
    def _limit(self) -> int:
        return cast("App", self.app).max_body_bytes


def _fault(version: str, method: str, headers: Headers) -> ApiError | None:
    """Why a request that the parser could read is not served, whatever it is about."""
    if version not in {"1.1", "1.0"}:
        return http_version_not_supported(version)
    if method in {"CONNECT", "TRACE"}:  # no tunnels; and an echo of the fields would show keys (RFC 9110, 9.3.8)
        return method_not_allowed(method)
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):  # RFC 9112, 3.2
        return bad_request(f"A request has one Host field, this one has {hosts}.")
    return None
