"""One connection of a client at the server's side: requests in, one after the other, each handed over when it is whole.

It is what uvicorn makes for each connection (`uvicorn.Config(app, http=…)`): of uvicorn it knows the constructor's
arguments, `server_state.connections` and `shutdown()`. The parser's state is the parser's: what was read of a request
waits in a line of its own, and the next one is served when the one before has left, never in its stack.
"""

import asyncio
import logging
import socket
from collections import deque
from typing import Any, Final, Literal, Protocol, cast

import httptools

from hearth.http1.gathering import Gathering
from hearth.http1.headers import Headers
from hearth.http1.limits import Budget, Limits
from hearth.http1.message import OVERLOADED, Refusal, Request, body_too_large, why_refused
from hearth.http1.response import Carrier, TransportResponse

log = logging.getLogger(__name__)

Reading = Literal["nothing", "head", "body", "no more"]
"""What of a request is being read. The table says by which event one follows from another; any other is a mistake."""

READING: Final[dict[Reading, dict[str, Reading]]] = {
    "nothing": {"begin": "head", "refused": "no more"},
    "head": {"head is whole": "body", "refused": "no more"},
    "body": {"body is whole": "nothing", "refused": "no more"},
    "no more": {},  # what else comes is dropped: it came behind a request that was refused
}

_SHORT_HEAD: Final = 8 * 1024
_PIECE: Final = 16 * 1024  # what is parsed at a time: a head, or chunks of a few bytes, are work for each
_PIECES: Final = 4  # of one read in one turn of the event loop, where they are chunks

_LINGERS: Final = 9  # times `linger_seconds` that what a client goes on sending is dropped, at most
_UNREAD_OVER_TLS: Final = 64 * 1024  # as in plain text; asyncio's own limit over TLS is eight times that

_TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
)

KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""A peer that vanished without a word is noticed after two minutes."""


class Handler(Protocol):
    """Who serves the requests of all connections.

    `refused_by_head` says before a body is read why a request is not served, None where it is, and `body_limit` how
    many bytes the body may have. `take` is called with a whole request, `refuse` with one that can't be served; both
    answer through the response, now or later. `failed` is told of an exception that one of them raised (a fault of
    ours), `turned_away` of a connection over the limit. Where it is `leaving`, each answer is the last one of its
    connection.
    """

    leaving: bool

    def refused_by_head(self, request: Request) -> Refusal | None: ...
    def body_limit(self, request: Request) -> int: ...
    def take(self, request: Request, response: TransportResponse) -> None: ...
    def refuse(self, request: Request, response: TransportResponse, refusal: Refusal) -> None: ...
    def failed(self, where: str, error: BaseException) -> None: ...
    def turned_away(self) -> None: ...


class _Stop(Exception):
    """Raised in the parser's callbacks to end its work at once."""


class Connection(Carrier):
    """`current` is the response that is under way; None while the next request may begin."""

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        handler: Handler,
        limits: Limits,
        budget: Budget,
    ) -> None:
        self.transport = cast("asyncio.Transport", None)
        self.budget = budget
        self.current: TransportResponse | None = None
        self._loop = _loop or asyncio.get_running_loop()
        self._connections: set[Any] = server_state.connections
        self._handler = handler
        self._limits = limits
        self._client = ""
        self._scheme = "http"
        self._parser = httptools.HttpRequestParser(self)
        self._reading: Reading = "nothing"
        self._line: deque[TransportResponse] = deque()  # read, or being read, and not served yet
        self._serving = False  # whether `_serve` is on the stack
        self._paused = False
        self._stopping = False
        self._lingers = False  # the client may be sending still when the connection is closed
        self._backlog = b""  # of one read, what is to be parsed in the event loop's next turn
        # Of the request that is being read:
        self._url = b""
        self._headers: Headers = []
        self._head_bytes = 0  # its line and fields, then its trailers
        self._head_held = 0  # bytes of the budget that a head takes that is not whole
        self._silent = 0  # bytes since the parser last told of a head's end, a body, a message's end
        self._upgrade = False
        self._again = False  # the parser reads a body whose head another one has read
        self._body = Gathering()
        self._body_limit = 0
        self._left = 0  # bytes of its body that come without a parser
        # What the timer looks at:
        self._timer: asyncio.Handle | None = None
        self._since = 0.0  # when what is being waited for began
        self._lingers_since = 0.0
        self._waited_for: str = ""
        self._mark = 0  # bytes of the body that had come when its time began anew
        self._unread_since = 0.0  # since when the client does not read; 0 where it does

    # asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if len(self._connections) >= self._limits.connections:
            self._handler.turned_away()
            self._reading = "no more"
            self.transport.write(_TOO_MANY)
            self.transport.close()
            return
        self._connections.add(self)
        keep_alive(transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple) and peer:
            self._client = str(peer[0]).removeprefix("::ffff:")  # IPv4, on a socket of both families
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = "https"
            cast("asyncio.Transport", transport).set_write_buffer_limits(_UNREAD_OVER_TLS)
        self._wait_for("first")

    def data_received(self, data: bytes) -> None:
        if self._reading == "no more":
            if self._waited_for == "end":
                # It is sending still: an upload that was refused is not broken off, for a while.
                self._since = min(self._loop.time(), self._lingers_since + _LINGERS * self._limits.linger_seconds)
            return
        if self._backlog:
            self._backlog += data
        else:
            self._read(data)

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._reading = "no more"
        self._backlog = b""
        self._body.clear()
        self._free_head()
        self._parser = cast("Any", None)
        current, self.current = self.current, None
        if current is not None:
            try:
                current.lost()
            except Exception as error:  # noqa: BLE001 - told by `failed`; of consequence for this one alone
                self._handler.failed("connection_lost", error)
        for waiting in self._line:
            waiting.lost()
        self._line.clear()

    def pause_writing(self) -> None:
        self._unread_since = self._loop.time()
        self._look_at(self._unread_since + self._limits.write_seconds)
        if self.current is not None:
            self.current.pause()

    def resume_writing(self) -> None:
        self._unread_since = 0.0
        if self.current is not None:
            self.current.resume()
        if self._line:
            self._loop.call_soon(self._serve)

    @property
    def unread(self) -> bool:
        return self._unread_since != 0.0

    @property
    def leaving(self) -> bool:
        return self._handler.leaving

    # uvicorn's

    def shutdown(self) -> None:
        """The server stops: the answer under way is the last one, and a request that is not whole is not waited for."""
        self._stopping = True
        if self.current is not None:
            self.current.keep_alive = False
        elif self._line:
            self._refuse(self._line.popleft(), Refusal(503, "stopping", "The server stops; try again."))
        else:
            self.finish()

    # the responses'

    def leave(self, response: TransportResponse) -> None:
        if self.current is response:
            self.current = None

    def response_complete(self) -> None:
        if self._stopping:
            self.finish()
        elif self._line or self._backlog:
            if not self._serving:
                self._loop.call_soon(self._serve)
        elif self._reading != "no more":
            self._wait_for("head" if self._reading == "head" else "request")  # some of it may have come already

    def finish(self) -> None:
        """Close, after what was written; what the client may still be sending is read and dropped for a while, so that
        it reads the answer before it learns that it is not heard (RFC 9112, 9.6)."""
        self._reading = "no more"
        self._backlog = b""
        for waiting in self._line:
            waiting.lost()
        self._line.clear()
        transport = self.transport
        if transport.is_closing():
            return
        self._left = 0
        self._pause(False)
        if self._lingers:
            if transport.can_write_eof():  # TLS has no half of a close; the answer's own framing tells its end
                transport.write_eof()
            self._waited_for = "end"
            self._since = self._lingers_since = self._loop.time()
            self._look_at(self._since + self._limits.linger_seconds)
        else:
            self._close()

    def _close(self) -> None:
        """Close when what was written is read; a client that does not read has its time for it."""
        self.transport.close()
        self._unread_since = self._unread_since or self._loop.time()
        self._look_at(self._unread_since + self._limits.write_seconds)

    # reading

    def _read(self, data: bytes) -> None:
        """Take what came: a body of known length as it is, everything else through the parser in pieces."""
        pieces = 0
        while data and self._reading != "no more":
            if self._left:
                data = self._body_as_it_is(data)
                continue
            if len(data) <= _PIECE:
                self._parse(data)
                break
            self._parse(data[:_PIECE])
            data = data[_PIECE:]
            pieces += 1
            if pieces >= _PIECES and not self._left:
                self._backlog = data
                self._pause(True)
                self._loop.call_soon(self._read_on)
                break
        self._serve()

    def _read_on(self) -> None:
        data, self._backlog = self._backlog, b""
        if data and self._reading != "no more":
            self._read(data)

    def _parse(self, data: bytes) -> None:
        self._silent += len(data)
        offered = -1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            offered = upgrade.args[0]
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Stop):
                self._handler.failed("parser", error.__context__ or error)
                self._reading = "no more"
                self.transport.close()
            return
        except httptools.HttpParserError:
            self._refuse_what_is_read(Refusal(400, "bad_request", "Invalid HTTP request received."))
            return
        if offered >= 0:
            # The offer is not taken: the request goes on as if it were not there (RFC 9110, 7.8). The parser has ended
            # the message at its head; another one reads its body and what follows.
            self._read_body_again(data[offered:])
            return
        if self._reading == "head" and not self._hold_head():
            self._refuse_what_is_read(OVERLOADED)
            return
        if self._silent > self._limits.head_bytes:  # a field, a chunk's extension, a line without an end
            self._refuse_what_is_read(self._too_large())
            return
        self._body_without_parser()

    def _read_body_again(self, rest: bytes) -> None:
        if self._reading == "no more":
            return
        fields = self._line[-1].request.fields
        head = [b"POST / HTTP/1.1\r\nhost: x\r\n"]
        framing = (name for name in (b"content-length", b"transfer-encoding") if name in fields)
        head += [b"%b: %b\r\n" % (name, fields[name]) for name in framing]
        head.append(b"\r\n")
        self._upgrade, self._again = False, True
        self._parser = httptools.HttpRequestParser(self)
        self._parse(b"".join(head))
        self._again = False
        if rest:
            self._read(rest)

    def _body_without_parser(self) -> None:
        """What is left of a body of known length needs no parser, and no copy that one makes."""
        if self._reading != "body" or not self._line:
            return
        response = self._line[-1]
        announced = response.request.fields.get(b"content-length")
        if announced is not None and b"transfer-encoding" not in response.request.fields:
            self._left = int(announced) - self._body.size
            if self._left > 0:
                self._parser = httptools.HttpRequestParser(self)

    def _body_as_it_is(self, data: bytes) -> bytes:
        """Take the body's part of this, and return the rest."""
        part, rest = (data, b"") if len(data) <= self._left else (data[: self._left], data[self._left :])
        self._left -= len(part)
        self._take_body(part)
        if self._left == 0 and self._reading == "body":
            self._body_is_whole()
        return rest

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self._again:
            return
        self._step("begin")
        self._url = b""
        self._headers = []
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        if not self._again:
            self._url += url
            self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._again:
            return
        self._count_head(len(name) + len(value) + 4)
        if self._reading == "head":  # not a trailer: merged into the head it could say what the head may not
            self._headers.append((name.lower(), value))
            if len(self._headers) > self._limits.fields:
                self._refuse_what_is_read(self._too_large())
                raise _Stop

    def on_headers_complete(self) -> None:
        self._silent = 0
        self._free_head()
        if self._again:
            return
        parser = self._parser
        self._upgrade = parser.should_upgrade()
        version, method = parser.get_http_version(), parser.get_method().decode("ascii")
        request, refusal = _request(version, method, self._url, self._headers, self._client, self._scheme)
        keep = version == "1.1" and refusal is None and parser.should_keep_alive() and not self._stopping
        response = TransportResponse(self, request, keep_alive=keep)
        announced = int(request.fields.get(b"content-length") or 0)
        self._body_limit = limit = self._handler.body_limit(request) if refusal is None else 0
        if refusal is None and announced > limit:
            refusal = body_too_large(limit)
        if refusal is None:
            refusal = self._handler.refused_by_head(request)
        response.fault = refusal
        self._step("head is whole")
        if self._line or self.current is not None:
            # It waits for its turn with all its fields: they are held like a body.
            if self.budget.take(self._head_bytes, response.held):
                response.held += self._head_bytes
            else:
                refusal = response.fault = OVERLOADED
        self._line.append(response)
        if refusal is not None:
            self._step("refused")
            raise _Stop
        if len(self._line) > self._limits.pipelined:
            response.fault = Refusal(400, "bad_request", f"More than {self._limits.pipelined} requests at a time.")
            self._step("refused")
            raise _Stop

    def on_chunk_header(self) -> None:
        self._silent = 0

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        self._take_body(body)
        if self._reading == "no more":
            raise _Stop

    def on_message_complete(self) -> None:
        self._silent = 0
        if self._upgrade:
            return  # at its head, says the parser
        self._body_is_whole()

    # what the callbacks do

    def _hold_head(self) -> bool:
        """Count a long head that is not whole into the budget; a short one is not worth the count."""
        more = self._silent - self._head_held
        if self._silent <= _SHORT_HEAD or more <= 0:
            return True
        if not self.budget.take(more, self._head_held):
            return False
        self._head_held += more
        return True

    def _free_head(self) -> None:
        if self._head_held:
            self.budget.give(self._head_held)
            self._head_held = 0

    def _step(self, event: str) -> None:
        self._reading = READING[self._reading][event]

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            self._refuse_what_is_read(self._too_large())
            raise _Stop

    def _take_body(self, body: bytes) -> None:
        response = self._line[-1]
        if self._body.size + len(body) > self._body_limit:
            self._refuse_what_is_read(body_too_large(self._body_limit))
        elif not self.budget.take(len(body), response.held):
            self._refuse_what_is_read(OVERLOADED)
        else:
            response.held += len(body)
            self._body.add(body)

    def _body_is_whole(self) -> None:
        self._step("body is whole")
        if self._waited_for != "end":
            self._waited_for = ""  # what comes behind it has a time of its own
        response = self._line[-1]
        response.request.body = self._body.whole()
        response.whole = True

    def _refuse_what_is_read(self, refusal: Refusal) -> None:
        """Answer when its turn comes; what else comes is dropped."""
        if self._reading == "no more":
            return
        if self._reading == "body":
            self._line[-1].fault = refusal
        else:
            # There is no head that could be answered as whoever asks would like it.
            response = TransportResponse(
                self, Request("GET", "/", b"", [], client=self._client, scheme=self._scheme), keep_alive=False
            )
            response.fault = refusal
            self._line.append(response)
        self._left = 0
        self._body.clear()
        self._step("refused")

    def _too_large(self) -> Refusal:
        return Refusal(
            431,
            "head_too_large",
            f"A request's head has at most {self._limits.head_bytes} bytes and {self._limits.fields} fields here.",
        )

    # serving

    def _serve(self) -> None:
        """Let the requests in the line have their turns, until one is under way or not whole."""
        if self._serving:
            return
        self._serving = True
        try:
            # Not while the client does not read: what was written waits here already.
            while self._line and self.current is None and not self._unread_since and not self.transport.is_closing():
                response = self._line[0]
                if response.fault is not None:
                    self._line.popleft()
                    self._refuse(response, response.fault)
                elif response.whole:
                    self._line.popleft()
                    self.current = response
                    try:
                        self._handler.take(response.request, response)
                    except Exception as error:  # noqa: BLE001 - told by `failed`; of consequence for this one alone
                        self._failed(response, error)
                else:
                    self._continue(response)
                    break
        finally:
            self._serving = False
        # Behind a request under way reading goes on, since nothing else tells that the client has left. What may be
        # read so is bounded: `pipelined` requests, and the budget.
        self._pause(bool(self._backlog) or bool(self._unread_since and self._line))
        self._watch()

    def _refuse(self, response: TransportResponse, refusal: Refusal) -> None:
        response.keep_alive = False
        self._reading = "no more"
        self._lingers = True
        self.current = response
        try:
            self._handler.refuse(response.request, response, refusal)
        except Exception as error:  # noqa: BLE001 - told by `failed`; of consequence for this one alone
            self._failed(response, error)

    def _failed(self, response: TransportResponse, error: Exception) -> None:
        """A mistake of ours costs this one connection, and is told."""
        self._handler.failed("request", error)
        if response.started:
            response.abort()
        elif not response.gone and not response.complete:
            response.keep_alive = False
            response.answer(500, [], b"")

    def _continue(self, response: TransportResponse) -> None:
        """100 Continue for who waits for it; once, before a body, and not for HTTP/1.0 (RFC 9110, 10.1.1)."""
        request = response.request
        if not self._body.size and request.http11 and request.fields.get(b"expect", b"").lower() == b"100-continue":
            request.fields[b"expect"] = b""
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _pause(self, wanted: bool) -> None:
        if wanted != self._paused and not self.transport.is_closing():
            self._paused = wanted
            if wanted:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # deadlines

    def _watch(self) -> None:
        """After a read: what the client owes now."""
        if self.transport.is_closing() or self._reading == "no more":
            return
        if self._reading == "head":
            self._wait_for("head")
        elif self._reading == "body":
            self._wait_for("body")
            came = self._body.size
            if came - self._mark >= self._limits.body_rate * self._limits.body_seconds:
                self._mark, self._since = came, self._loop.time()

    def _wait_for(self, what: str) -> None:
        if self._waited_for == what and what != "request":
            return
        self._waited_for = what
        self._since = self._loop.time()
        self._mark = 0
        if (due := self._due()) is not None:
            self._look_at(due)

    def _due(self) -> float | None:
        """When the client must have sent what it owes."""
        limits = self._limits
        match self._waited_for:
            case "end":
                return self._since + limits.linger_seconds
            case "first":
                return self._since + limits.silent_seconds
            case "request":
                return self._since + limits.keep_alive_seconds
            case "head":
                return self._since + limits.head_seconds
            case _:
                return self._since + limits.body_seconds

    def _look_at(self, due: float) -> None:
        """One timer a connection, not one a request: it looks what is owed when it fires."""
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)
        elif self._waited_for != "request":
            self._timer.cancel()
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time() + 0.001  # uvloop's timers may be a millisecond early
        if self._unread_since and now >= self._unread_since + self._limits.write_seconds:
            self.transport.abort()
            return
        if self._waited_for == "end":
            if now < (over := self._since + self._limits.linger_seconds):
                self._look_at(over)
            else:
                self._close()
            return
        if self.transport.is_closing() or (self.current is not None and self._reading not in {"head", "body"}):
            if self._unread_since:
                self._look_at(self._unread_since + self._limits.write_seconds)
            return
        due = self._due()
        if due is not None and now < due:
            self._look_at(due)
        elif self._waited_for in ("first", "request"):
            self.finish()
        else:
            what = "head" if self._waited_for == "head" else "body"
            self._refuse_what_is_read(Refusal(408, "request_timeout", f"The request's {what} did not come in time."))
            self._serve()
            if self._unread_since and self._timer is None:  # it waits behind an answer that nobody reads
                self._look_at(self._unread_since + self._limits.write_seconds)


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the kernel look whether the peer is still there."""
    found = transport.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            found.setsockopt(socket.IPPROTO_TCP, option, value)


def _request(
    version: str, method: str, target: bytes, headers: Headers, client: str, scheme: str
) -> tuple[Request, Refusal | None]:
    """The request that this head is, and why it is not served, whatever it is about."""
    refusal = why_refused(version, method, headers)
    path, query = "/", b""
    if target == b"*" and method == "OPTIONS":
        path = "*"  # about the server as a whole (RFC 9112, 3.2.4)
    elif refusal is None:
        try:
            url = cast("Any", httptools.parse_url(target))  # its types have no None, its values do
        except httptools.HttpParserInvalidURLError:
            refusal = Refusal(400, "bad_request", f"The request's target {target[:200]!r} is no URL.")
        else:
            # As it was written, so that it is passed on as it was written.
            path, query = (url.path or b"/").decode("latin-1"), url.query or b""
            if url.host is not None:  # the target's host counts, the field's does not (RFC 9112, 3.2.2)
                authority = url.host if url.port is None else b"%b:%d" % (url.host, url.port)
                headers = [(b"host", authority), *(field for field in headers if field[0] != b"host")]
    return Request(method, path, query, headers, http11=version == "1.1", client=client, scheme=scheme), refusal
