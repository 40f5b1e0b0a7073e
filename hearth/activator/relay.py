"""The relay: an engine's answer to the client, byte for byte, whatever heartbeats have said before.

Everything here runs in the event loop's callbacks.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Literal

from hearth.activator.chunked import chunks_data
from hearth.activator.client import ClientResponse
from hearth.activator.errors import ApiError, Dialect, engine_died, error_event, not_an_event_stream
from hearth.activator.headers import Headers, end_to_end, get
from hearth.activator.journey import Journey
from hearth.activator.tally import Tally
from hearth.activator.upstream import UpstreamError

Opened = Literal["no", "events", "white space"]
"""What heartbeats made of the response: nothing yet, an event stream, or a JSON document that begins with space."""

# An answer that can't be relayed as it is (an error after heartbeats) is put into an event; errors are short.
_MAX_ERROR_BODY = 64 * 1024


class Relay:
    """The sink of one answer. `over(None)` is called when the client has got all that it will get, `over(error)` where
    no byte of an answer reached it, so that another replica may be asked."""

    __slots__ = (
        *(
            "_arrived",
            "_between_events",
            "_client",
            "_content_type",
            "_dialect",
            "_error_body",
            "_events",
            "_journey",
            "_opened",
            "_over",
            "_pending",
            "_write",
        ),
        *("_request_id", "_service", "_tally", "answered", "broken", "status"),
    )

    def __init__(
        self,
        service: str,
        client: ClientResponse,
        opened: Opened,
        request_id: str,
        dialect: Dialect,
        tally: Tally,
        arrived: float,
        journey: Journey | None,
        over: Callable[[UpstreamError | None], None],
    ) -> None:
        self._over = over
        self._tally = tally
        self._arrived = arrived
        self._journey = journey
        self.broken = False
        self._write: Callable[[bytes], None] | None = None  # what takes chunks as they are
        self._service = service
        self._request_id = request_id
        self._dialect: Dialect = dialect
        self._client = client
        self._opened = opened
        self._pending: tuple[int, Headers, int | None] | None = None
        self.status = 0
        self._content_type = b""
        self._events = False
        self._error_body: list[bytes] | None = None
        self._between_events = True  # whether another event can be put after what was written
        self.answered = False

    def head(self, status: int, headers: Headers) -> None:
        self.status = status
        self._content_type = content_type = get(headers, b"content-type") or b""
        self._events = content_type.lower().startswith(b"text/event-stream")
        if self._opened == "no":
            length = get(headers, b"content-length")
            passed = [field for field in end_to_end(headers) if field[0] != b"content-length"]
            if get(passed, b"x-request-id") is None:
                passed.append((b"x-request-id", self._request_id.encode()))
            self._pending = (status, passed, int(length) if length is not None and length.isdigit() else None)
        elif self._opened == "events" and (status != 200 or not self._events):
            self._error_body = []

    def body(self, data: bytes) -> None:
        if self._pending is not None:
            status, headers, length = self._pending
            self._pending = None
            self._first_byte()
            self._client.start(status, headers, data, length=length, events=self._events)
        elif self._error_body is not None:
            if sum(map(len, self._error_body)) < _MAX_ERROR_BODY:
                self._error_body.append(data)
            return
        elif data:
            if not self.answered:
                self._first_byte()
            self._client.write(data)
        if data:
            self._tally.bytes += len(data)
            if self._events:
                self._tally.events += data.count(b"\n\n")
                self._between_events = data.endswith((b"\n\n", b"\r\n\r\n"))
                self._write = self._client.takes_chunks()

    def chunks(self, raw: bytes, size: int) -> None:
        # In front of every token: as few steps as there can be.
        write = self._write
        if write is None:
            self.body(chunks_data(raw))
            return
        write(raw)
        tally = self._tally
        tally.bytes += size
        tally.events += raw.count(b"\n\n")
        # Not `raw` itself, to look at it later: thousands of streams that keep their last chunk make memory cold.
        # (A chunk that ends an event ends with an empty line, and then the chunk's own line break.)
        self._between_events = raw[-3] == 0x0A and (raw[-4] == 0x0A or raw[-6:-3] == b"\r\n\r")

    def end(self) -> None:
        if self._error_body is not None:
            self._tally.responses[self.status if self.status >= 400 else 502] += 1
            self._client.write(self._as_event(b"".join(self._error_body)))
            self._client.end()
        elif self._opened == "white space" and self.status >= 400:
            # The status line said 200 long ago; only a cut tells the client that this is no success.
            self._client.abort()
        else:
            self._client.end()
        self.answered = True
        self._over(None)

    def failed(self, error: UpstreamError) -> None:
        if self.answered:
            self._tally.broken += 1
            self.broken = True
            self.break_off(engine_died(self._service))
        self._over(None if self.answered else error)

    def break_off(self, error: ApiError) -> None:
        """End an answer that has begun and will not be complete: in words between two events, else by a cut."""
        if self._events and self._between_events:
            self._client.write(error.event(self._dialect))
            self._client.end()
        else:
            self._client.abort()

    def _first_byte(self) -> None:
        self.answered = True
        if self._journey is not None:
            self._journey.first_byte = time.time_ns()
        self._tally.responses[self.status] += 1
        self._tally.first_byte.observe(asyncio.get_running_loop().time() - self._arrived)

    def _as_event(self, body: bytes) -> bytes:
        """The engine's error as the event that the SDKs raise on."""
        text = body.strip()
        if self.status >= 400 and text.startswith(b"{") and b'"error"' in text:
            return error_event(b" ".join(text.split(b"\n")), self._dialect)
        return not_an_event_stream(
            self._service, f"status {self.status}, {self._content_type.decode('latin-1')}"
        ).event(self._dialect)
