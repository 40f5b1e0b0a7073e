"""The relay: an engine's answer to the client, byte for byte, whatever heartbeats have said before.

Everything here runs in the event loop's callbacks.
"""

import contextlib
from collections.abc import Callable
from typing import Final, Literal

from hearth.activator.errors import ApiError, engine_died, error_document, error_event, not_an_event_stream
from hearth.activator.journeys import Journey
from hearth.activator.lane import aborted
from hearth.activator.lane.gate import OF_EVENTS, Gate, Held
from hearth.activator.lane.inference import ID_NAMES
from hearth.activator.lane.tokens import TokenUsage
from hearth.http1.chunked import chunks_data
from hearth.http1.headers import Headers, end_to_end, get
from hearth.http1.upstream import UpstreamError

Opened = Literal["no", "events", "white space"]
"""What heartbeats made of the response: nothing yet, an event stream, or a JSON document that begins with space."""

# An answer that can't be relayed as it is (an error after heartbeats) is put into an event; errors are short.
_MAX_ERROR_BODY: Final = 64 * 1024

_OURS: Final = (b"access-control-", b"x-hearth-")
"""Fields that are said here: who may read an answer, alike for a cold model and a warm one, and what became of it."""
_OF_ORIGIN: Final = frozenset(
    (
        *(b"set-cookie", b"clear-site-data", b"strict-transport-security", b"alt-svc", b"refresh"),
        *(b"service-worker-allowed", b"content-security-policy", b"x-content-type-options"),
    )
)
"""Fields that a browser takes for its whole origin, which is the activator's and all tenants', or as the next two."""
_NO_PAGE: Final = [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"sandbox")]
"""What a link leads to is an engine's, and no page of this origin: no script of it asks in its name."""


class Relay:
    """The sink of one answer. `over(None)` is called when the client has got all that it will get, `over(error)` where
    no byte of an answer reached it, so that another replica may be asked."""

    __slots__ = (
        *(
            "_aborted",
            "_address",
            "_between_events",
            "_coded",
            "_content_type",
            "_error_body",
            "_events",
            "_gate",
            "_has_choices",
            "_held",
        ),
        *("_journey", "_last", "_length", "_measured"),
        *(
            "_open",
            "_opened",
            "_over",
            "_pending",
            "_spoken",
            "_tally",
            "_usage",
            "_write",
            "answered",
            "broken",
            "fresh",
            "headed",
        ),
        "status",
    )

    def __init__(
        self,
        held: Held,
        gate: Gate,
        address: str,
        journey: Journey | None,
        over: Callable[[UpstreamError | None], None],
    ) -> None:
        self._held = held
        self._gate = gate
        self._address = address
        self._over = over
        self._tally = gate.tally
        self._journey = journey
        self._usage: TokenUsage | None = held.asked.usage  # where somebody counts this request's tokens
        self.broken = False
        self.fresh = False  # whether something has come since somebody looked, who sets it back
        self.headed = False  # whether the engine's head has come
        self._write: Callable[[bytes], None] | None = None  # what takes chunks as they are
        self._opened: Opened = "no"
        self._pending: tuple[int, Headers, int | None] | None = None
        self.status = 0
        self._content_type = b""
        self._events = False
        self._error_body: list[bytes] | None = None
        self._length: int | None = None  # of the body, as the engine says
        self._last = b""  # what a document ended with so far
        self._aborted = False  # whether the engine gave up, and the client has heard nothing of it
        self._measured = False  # whether the client was told how long the body is
        self._coded = False
        self._open = False  # whether something of ours may stand in it
        self._has_choices = False  # whether it is a document that has some
        self._between_events = True  # whether another event can be put after what was written
        self._spoken = False  # whether a byte of the body has come
        self.answered = False

    @property
    def takes_events(self) -> bool:
        """Whether a comment can be put in front of what comes: the engine began an event stream, in plain text and
        without a length, and says nothing."""
        return self._events and self._open and not self._spoken and self._error_body is None

    def head(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headed = True
        held = self._held
        if held.opened:
            self._opened = "events" if held.asked.stream else "white space"
        self._content_type = content_type = get(headers, b"content-type") or b""
        self._events = content_type.lower().startswith(b"text/event-stream")
        self._length = length = _length(headers)
        if not 200 <= status < 300:
            self._usage = held.asked.usage = None  # what an engine refuses takes no tokens
        coded = (get(headers, b"content-encoding") or b"identity").lower() != b"identity"
        self._open = not coded and (length is None or held.opened)  # a response that heartbeats began has no length
        self._has_choices = status == 200 and not (self._events or coded) and held.asked.path in aborted.PATHS
        if self._opened == "no":
            self._measured = length is not None
            self._pending = (status, self._passed_on(headers), length)
            return
        # What heartbeats began is plain text: no coded answer goes on with it, and with white space only JSON does.
        self._coded = coded or (self._opened == "white space" and not _may_be_json(content_type))
        if self._opened == "events" and (status != 200 or not self._events or self._coded):
            self._error_body = []

    def _passed_on(self, headers: Headers) -> Headers:
        held, asked = self._held, self._held.asked
        passed: Headers = []
        for name, value in end_to_end(headers):
            if name == b"content-length" or name in _OF_ORIGIN or name.startswith(_OURS):
                continue
            if name in ID_NAMES and asked.given_id:
                continue  # who named the request gets its own name back
            passed.append((name, self._our_location(value) if name == b"location" else value))
        own = held.own_headers(self._gate.now())
        if not asked.given_id:
            own = [field for field in own if field[0] not in ID_NAMES or get(passed, field[0]) is None]
        if asked.grant is not None:  # an engine may have limits, too: of two values a client would take the first
            ours = {name for name, _ in own}
            passed = [field for field in passed if field[0] not in ours]
        if asked.method != "POST":
            own = [*own, *_NO_PAGE]
        if self._events:  # as those that heartbeats begin have it
            own = [*own, *(field for field in OF_EVENTS if get(passed, field[0]) is None)]
        return [*passed, *own, *held.origin]

    def _our_location(self, location: bytes) -> bytes:
        """A redirect to the engine's own address leads here: nobody outside can go there (RFC 9110, 10.2.2)."""
        scheme, separator, rest = location.partition(b"://")
        if separator and scheme.lower() in (b"http", b"https"):
            authority, slash, path = rest.partition(b"/")
            if authority.decode("latin-1").lower() != self._address:
                return location
            return self._held.asked.prefix.encode("latin-1") + slash + path
        if location.startswith(b"/") and not location.startswith(b"//"):
            return self._held.asked.prefix.encode("latin-1") + location
        return location

    def body(self, data: bytes) -> None:
        held = self._held
        self.fresh = self.fresh or bool(data)  # what frames it brings the client nothing
        if self._usage is not None:
            self._usage.saw(data, stream=self._events)
        if self._has_choices:
            self._last = (self._last + data[-aborted.LAST :])[-aborted.LAST :]
            if not self.answered and self._length == len(data) and self._ends_aborted():
                self._aborted = True  # whole, and not passed on: another replica may be asked
                return
        if self._pending is not None:
            self._begin(data)
        elif self._error_body is not None:
            if sum(map(len, self._error_body)) < _MAX_ERROR_BODY:
                self._error_body.append(data)
            return
        elif data:
            if not self.answered:
                self._first_byte()
            if not self._coded:
                held.response.write(data)
        if data:
            if not self._spoken:
                self._spoken = held.spoken = True
            self._tally.bytes += len(data)
            if self._events:
                self._tally.events += data.count(b"\n\n")
                self._between_events = data.endswith((b"\n\n", b"\r\n\r\n"))
                self._write = held.response.takes_chunks()

    def _begin(self, data: bytes) -> None:
        """Pass the head on, and what has come of the body."""
        assert self._pending is not None
        status, headers, length = self._pending
        self._pending = None
        if data or not (status == 200 and self._events and self._open and self._held.asked.stream):
            self._first_byte()
        else:
            # A head alone is no word: vLLM sends it before it has read the prompt. Who hangs behind it has not
            # answered, and another replica may be asked; the client's stream is open as if heartbeats had opened it.
            self._opened, self._held.opened = "events", True
        self._held.response.start(status, headers, data, length=length)

    def chunks(self, raw: bytes, size: int) -> None:
        # In front of every token: as few steps as there can be.
        write = self._write
        if write is None:
            self.body(chunks_data(raw))
            return
        write(raw)
        self.fresh = True
        tally = self._tally
        tally.bytes += size
        tally.events += raw.count(b"\n\n")
        if self._usage is not None:
            self._usage.saw(chunks_data(raw), stream=True)
        # Not `raw` itself, to look at it later: thousands of streams that keep their last chunk make memory cold.
        # (A chunk that ends an event ends with an empty line, and then the chunk's own line break.)
        # A chunk of one line break is told from an empty line by the return before it, which ends the chunk's size.
        self._between_events = raw[-3] == 0x0A and (
            (raw[-4] == 0x0A and raw[-5] != 0x0D) or (raw[-6:-3] == b"\r\n\r" and size > 2)
        )

    def end(self) -> None:
        response = self._held.response
        if self._aborted:
            self._over(UpstreamError("the engine ended the answer with finish_reason abort", "broken"))
            return
        if self._ends_aborted():
            self._tally.broken += 1
            self.broken = True
            if self._measured:
                response.end()  # the client has it all, and reads the word itself
            else:
                response.abort()
        elif self._error_body is not None or (self._opened == "events" and not self._spoken):
            self._tally.responses[self.status if self.status >= 400 else 502] += 1
            response.write(self._as_event(b"".join(self._error_body or ())))
            response.end()
        elif self._opened == "white space" and (not self.answered or self._coded or not 200 <= self.status < 300):
            # The status line said 200 long ago; only a cut tells the client that this is no success.
            if not self.answered:
                self._tally.responses[self.status] += 1
            response.abort()
        else:
            response.end()
        self.answered = True
        self._over(None)

    def _ends_aborted(self) -> bool:
        return self._has_choices and aborted.ends_aborted(self._last)

    def failed(self, error: UpstreamError) -> None:
        if self.answered:
            self._tally.broken += 1
            self.broken = True
            self.break_off(engine_died(self._gate.name))
        self._over(None if self.answered else error)

    def break_off(self, error: ApiError) -> None:
        """End an answer that has begun and will not be complete: in words between two events, else by a cut."""
        response = self._held.response
        if self._events and self._between_events and not self._measured:
            response.write(error.event(self._held.asked.dialect))
            response.end()
        else:
            response.abort()

    def _first_byte(self) -> None:
        self.answered = True
        held = self._held
        held.step("spoke")
        self._gate.hold.answered(self._address)
        held.response.drop_request()  # nobody will be asked again
        if self._journey is not None:
            self._journey.first_byte = self._journey.now()
        self._tally.responses[self.status] += 1
        self._tally.first_byte.observe(self._gate.now() - held.ticket.arrived)

    def _as_event(self, body: bytes) -> bytes:
        """The engine's error as the event that the SDKs raise on."""
        text = body.strip()
        dialect = self._held.asked.dialect
        if self.status >= 400 and (said := error_document(text)) is not None:
            with contextlib.suppress(ValueError):
                return error_event(said, dialect)
        kind = self._content_type[:200].decode("latin-1") or "without a content type"
        coded = ", in a content coding that nobody asked for" if self._coded else ""
        empty = "" if body else ", empty"
        return not_an_event_stream(self._gate.name, f"status {self.status}, {kind}{coded}{empty}").event(dialect)


def _may_be_json(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind in (b"", b"application/json") or kind.endswith(b"+json")


def _length(headers: Headers) -> int | None:
    length = get(headers, b"content-length")
    return int(length) if length is not None and length.isdigit() else None
