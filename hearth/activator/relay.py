"""The relay: an engine's answer to the client, byte for byte, whatever heartbeats have said before.

Everything here runs in the event loop's callbacks; the one await is for the end.
"""

import asyncio
from typing import Literal

from hearth.activator.client import ClientResponse
from hearth.activator.errors import Dialect, engine_died, error_event, not_an_event_stream
from hearth.activator.headers import Headers, end_to_end, for_engine, get
from hearth.activator.request import Request
from hearth.activator.upstream import Pool, UpstreamConnection, UpstreamError

Opened = Literal["no", "events", "white space"]
"""What heartbeats made of the response: nothing yet, an event stream, or a JSON document that begins with space."""

# An answer that can't be relayed as it is (an error after heartbeats) is put into an event; errors are short.
_MAX_ERROR_BODY = 64 * 1024


class Relay:
    """The sink of one answer. `answered` is set once a byte of it went to the client: from then on nobody retries."""

    def __init__(self, service: str, client: ClientResponse, opened: Opened, request_id: str, dialect: Dialect) -> None:
        self._service = service
        self._request_id = request_id
        self._dialect: Dialect = dialect
        self._client = client
        self._opened = opened
        self._pending: tuple[int, Headers, int | None] | None = None
        self._status = 0
        self._content_type = ""
        self._error_body: list[bytes] | None = None
        self._at_event_end = True
        self.answered = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Headers) -> None:
        self._status = status
        self._content_type = (get(headers, b"content-type") or b"").decode("latin-1").split(";")[0].strip().lower()
        if self._opened == "no":
            length = get(headers, b"content-length")
            passed = [field for field in end_to_end(headers) if field[0] != b"content-length"]
            if get(passed, b"x-request-id") is None:
                passed.append((b"x-request-id", self._request_id.encode()))
            self._pending = (status, passed, int(length) if length is not None and length.isdigit() else None)
        elif self._opened == "events" and (status != 200 or self._content_type != "text/event-stream"):
            self._error_body = []

    def body(self, data: bytes) -> None:
        if self._pending is not None:
            status, headers, length = self._pending
            self._pending = None
            self.answered = True
            self._client.start(status, headers, data, length=length)
        elif self._error_body is not None:
            if sum(map(len, self._error_body)) < _MAX_ERROR_BODY:
                self._error_body.append(data)
            return
        elif data:
            self.answered = True
            self._client.write(data)
        if data:
            self._at_event_end = data.endswith((b"\n\n", b"\r\n\r\n"))

    def end(self) -> None:
        if self._error_body is not None:
            self._client.write(self._as_event(b"".join(self._error_body)))
            self._client.end()
        elif self._opened == "white space" and self._status >= 400:
            # The status line said 200 long ago; only a cut tells the client that this is no success.
            self._client.abort()
        else:
            self._client.end()
        self.answered = True
        if not self.done.done():
            self.done.set_result(None)

    def failed(self, error: UpstreamError) -> None:
        if self.answered:
            if self._content_type == "text/event-stream" and self._at_event_end:
                self._client.write(engine_died(self._service).event(self._dialect))
                self._client.end()
            else:
                self._client.abort()
        if not self.done.done():
            if self.answered:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)

    def _as_event(self, body: bytes) -> bytes:
        """The engine's error as the event that the SDKs raise on."""
        text = body.strip()
        if self._status >= 400 and text.startswith(b"{") and b'"error"' in text:
            return error_event(b" ".join(text.split(b"\n")), self._dialect)
        return not_an_event_stream(self._service, f"status {self._status}, {self._content_type}").event(self._dialect)


async def relay(service: str, request: Request, client: ClientResponse, address: str, pool: Pool) -> None:
    """Send the request to the engine at `address` and its answer to the client; returns when the answer is complete.

    Raises UpstreamError where no byte of an answer reached the client, so that another replica may be asked. When
    cancelled, the engine's connection is dropped at once, so that it stops working for nobody.
    """
    opened: Opened = "no"
    if client.started:
        opened = "events" if request.stream else "white space"
    headers = for_engine(request.headers, address, request.length, request.client, request.scheme, request.request_id)
    head = b"%b %b HTTP/1.1\r\n%b\r\n" % (
        request.method.encode(),
        request.target(),
        b"".join(b"%b: %b\r\n" % field for field in headers),
    )
    fresh = False
    while True:
        connection = await pool.connect(address, fresh=fresh)
        sink = Relay(service, client, opened, request.request_id, request.dialect)
        try:
            await _exchange(connection, [head, *request.body], sink, client, request)
        except UpstreamError:
            # An idle connection may have been closed by the engine just before it was used: once more, on a new one.
            if connection.used and not connection.received and not fresh:
                fresh = True
                continue
            raise
        pool.release(address, connection)
        return


async def _exchange(
    connection: UpstreamConnection, parts: list[bytes], sink: Relay, client: ClientResponse, request: Request
) -> None:
    client.set_flow(connection.pause_reading, connection.resume_reading)
    try:
        connection.send(parts, sink, head_request=request.method == "HEAD")
        await sink.done
    except asyncio.CancelledError:
        connection.close()
        raise
    finally:
        client.set_flow(None, None)
        connection.resume_reading()
