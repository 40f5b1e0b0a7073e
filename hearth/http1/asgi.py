"""Between connections and ASGI applications, both ways: https://asgi.readthedocs.io/en/latest/specs/www.html

`serve` runs an application for a request that a connection of ours has read. `AsgiResponse` is a response whose bytes
go to an application's `send`, for whoever serves requests in callbacks under another server.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import unquote

from hearth.http1.gathering import Gathering
from hearth.http1.headers import Headers, first_of_each
from hearth.http1.limits import Budget
from hearth.http1.message import OVERLOADED, Refusal, Request, body_too_large, why_refused
from hearth.http1.response import Response, TransportResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_HIGH_WATER: Final = 64 * 1024  # bytes that wait for the server to take them
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection"))


class CutShort(Exception):
    """An answer that has begun and is not completed. The server closes the connection, so that the client sees it."""


async def serve(app: App, request: Request, response: TransportResponse) -> None:
    """Let an ASGI application answer a whole request. Raises what it raises, RuntimeError where it answers nothing."""
    gone = asyncio.Event()
    readable = asyncio.Event()
    readable.set()
    response.attach(gone.set)
    response.set_flow(readable.clear, readable.set)
    body = request.body
    response.drop_request()
    given = False
    started: tuple[int, Headers, int | None] | None = None

    async def receive() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal started
        if message["type"] == "http.response.start":
            headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers") or ()]
            length = next((int(value) for name, value in headers if name == b"content-length"), None)
            passed = [field for field in headers if field[0] not in _FRAMING]
            started = (int(message["status"]), passed, length)
            return
        data, more = bytes(message.get("body") or b""), bool(message.get("more_body"))
        if started is not None:
            status, headers, length = started
            started = None
            response.start(status, headers, data, length=length if length is not None or more else len(data))
        else:
            response.write(data)
        if not more:
            response.end()
        elif not readable.is_set() and not gone.is_set():
            await _either(readable, gone)

    await app(_scope(request), receive, send)
    if not response.complete and not response.gone:
        raise RuntimeError("the application ended without a whole answer")


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _scope(request: Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1" if request.http11 else "1.0",
        "method": request.method,
        "scheme": request.scheme,
        "path": unquote(request.path),
        "raw_path": request.path.encode("latin-1"),
        "query_string": request.query,
        "root_path": "",
        "headers": [field for field in request.headers if field[0] != b"transfer-encoding"],
        "client": (request.client, 0) if request.client else None,
        "server": None,
        "state": {},
    }


def request_of(scope: MutableMapping[str, Any]) -> Request:
    """The request of an ASGI scope, without its body."""
    raw_path = scope.get("raw_path")
    path = raw_path.decode("latin-1") if raw_path else scope["path"]
    client = scope.get("client")
    return Request(
        scope["method"],
        path.partition("?")[0],
        scope.get("query_string") or b"",
        _headers(scope),
        http11=scope.get("http_version", "1.1") != "1.0",
        client=str(client[0]) if client else "",
        scheme=scope.get("scheme") or "http",
    )


def header_fields(scope: MutableMapping[str, Any]) -> dict[bytes, bytes]:
    """The first value of each field of an ASGI scope, by its name in lower case."""
    return first_of_each(_headers(scope))


def _headers(scope: MutableMapping[str, Any]) -> Headers:
    return [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]


async def read_request(scope: MutableMapping[str, Any], receive: Receive, limit: int, budget: Budget) -> Request:
    """The whole request of an ASGI scope. Raises Refused, ClientGone."""
    request = request_of(scope)
    if (refusal := why_refused(scope.get("http_version", "1.1"), request.method, request.headers)) is not None:
        raise Refused(refusal)
    body = Gathering()
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            data = message.get("body") or b""
            if body.size + len(data) > limit:
                raise Refused(body_too_large(limit))
            if not budget.take(len(data), body.size):
                raise Refused(OVERLOADED)
            body.add(data)
            if not message.get("more_body"):
                request.body = body.whole()
                return request
    except BaseException:
        budget.give(body.size)
        raise


class Refused(Exception):
    """A request that is not served, whatever it is about."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class ClientGone(Exception):
    """The client closed its connection before its request was whole."""


class AsgiResponse(Response):
    """A response over ASGI. Whoever serves writes in callbacks; `run` sends it on, in the application's task."""

    __slots__ = ("_bodiless", "_cut", "_paused", "_queue", "_queued", "_wake")

    def __init__(self, request: Request, budget: Budget) -> None:
        """`budget` has the request's body already."""
        super().__init__(request, budget, len(request.body))
        self._bodiless = request.method == "HEAD"
        self._queue: deque[Message] = deque()
        self._queued = 0
        self._paused = False
        self._cut = False
        self._wake = asyncio.Event()

    async def run(self, receive: Receive, send: Send) -> None:
        """Send what is written until the response is complete, or the client gone. Raises CutShort."""
        watching = asyncio.ensure_future(self._watch(receive))
        try:
            while True:
                while self._queue:
                    message = self._queue.popleft()
                    self._queued -= len(message.get("body") or b"")
                    await send(message)
                if self._paused and self._queued == 0:
                    self._paused = False
                    self.resume()
                if self._cut:
                    raise CutShort
                if self.complete or self.gone:
                    return
                await self._wake.wait()
                self._wake.clear()
        finally:
            watching.cancel()
            self._tell_gone()  # where this task was cancelled; nothing where it is complete
            self.drop_request()

    async def _watch(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._tell_gone()
                self._wake.set()
                return

    def start(self, status: int, headers: Headers, body: bytes = b"", *, length: int | None = None) -> None:
        if self.gone or self.started:
            return
        self.started = True
        if status in (204, 304):
            self._bodiless = True
        elif length is not None:
            headers = [*headers, (b"content-length", b"%d" % length)]
        self._put({"type": "http.response.start", "status": status, "headers": headers})
        self.write(body)

    def write(self, body: bytes) -> None:
        if not body or self.gone or self._bodiless or self.complete:
            return
        self._put({"type": "http.response.body", "body": body, "more_body": True})
        if self._queued > _HIGH_WATER and not self._paused:
            self._paused = True
            self.pause()

    def end(self) -> None:
        if self.complete or self.gone:
            return
        self._finish()
        self._put({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self) -> None:
        if self.complete or self.gone:
            return
        self._finish()
        self._cut = True
        self._wake.set()

    def _finish(self) -> None:
        self.complete = True
        self.drop_request()
        self._on_gone = self._on_pause = self._on_resume = None

    def _put(self, message: Message) -> None:
        self._queue.append(message)
        self._queued += len(message.get("body") or b"")
        self._wake.set()
