"""One request's way from its admission to its last byte, in callbacks: no task waits for it.

A task is made only where a new connection to an engine must be opened.
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from hearth.activator import errors
from hearth.activator.errors import ApiError
from hearth.activator.journeys import Journey, Journeys, Outcome
from hearth.activator.keyring import Grant
from hearth.activator.lane.gate import Gate, Held
from hearth.activator.lane.inference import Inference, id_fields
from hearth.activator.lane.relay import Relay
from hearth.activator.paths import Dialect
from hearth.http1.headers import Headers, add_fields, for_upstream
from hearth.http1.response import Response
from hearth.http1.upstream import Pool, UpstreamConnection, UpstreamError
from hearth.logs import fields

log = logging.getLogger(__name__)

_WITH_BODY: Final = frozenset(("POST", "PUT", "PATCH"))

PATIENCE_SECONDS = 5.0  # no Final, which the compiler would write into the code
"""How long a client must have waited for a replica's first byte, for its leaving to be held against the replica."""

Spawn = Callable[[Coroutine[Any, Any, None]], Callable[[], object]]
"""Runs a coroutine as a task that somebody owns; returns what cancels it."""


class Exchange(Held):
    """`begin` once; the rest is callbacks: of the gate, the engine's connection, the client's."""

    __slots__ = (
        *("_address", "_cancel", "_connection", "_heard", "_journey", "_journeys", "_pool", "_sink", "_spawn"),
        "_stale",
    )

    def __init__(
        self,
        gate: Gate,
        asked: Inference,
        response: Response,
        origin: Headers,
        pool: Pool,
        spawn: Spawn,
        journeys: Journeys | None,
    ) -> None:
        super().__init__(gate, asked, response, origin)
        self._journeys = journeys
        self._journey: Journey | None = None
        self._pool = pool
        self._spawn = spawn
        self._address = ""
        self._stale = False  # whether it was tried on a connection that had been closed
        self._heard = 0.0  # when something of the answer was last seen to have come
        self._connection: UpstreamConnection | None = None
        self._sink: Relay | None = None
        self._cancel: Callable[[], object] | None = None

    def begin(self) -> None:
        """Enter the gate. Raises ApiError where it, or the request's API key, does not let the request in."""
        self.response.attach(self._client_gone)
        if self._journeys is not None:
            self._journey = self._journeys.begin(self._gate.name, self.asked)
        try:
            if self.asked.grant is not None:
                self._enter(self.asked.grant)
            self._gate.admit(self)
        except ApiError as error:
            if self.asked.grant is not None:
                self.asked.grant.allowance.refund(self._gate.now())
            self.step("refused")
            self._observe_end("rejected", error.status)
            raise

    def _enter(self, grant: Grant) -> None:
        """Raises ApiError where the API key has reached a limit of its own."""
        try:
            grant.allowance.enter(self._gate.now())
        except ApiError as error:
            self.asked.grant = None  # it has nothing to give back
            raise self._gate.rejected(error) from None

    def go(self, address: str) -> None:
        """Ask this replica."""
        self._address = address
        if self._journey is not None and self._journeys is not None:
            self._journeys.sent(self._journey, address)
        connection = self._pool.idle(address)
        if connection is not None:
            self._send(connection)
        else:
            self._cancel = self._spawn(self._open())

    def refuse(self, error: ApiError) -> None:
        """Wait no more."""
        self.step("refused")
        self._drop()
        self._observe_end("rejected", error.status)
        answer_error(self.response, error, self.asked, self.origin, opened=self.opened)

    def cut(self) -> None:
        """The process ends before the answer does: say so where that is still possible."""
        self._end(errors.stopping(self._gate.name), "stopped")

    def overdue(self, now: float) -> bool:
        policy = self._gate.entry.policy
        if self.state == "asked":
            return 0 < policy.first_byte_timeout <= now - self.sent_at
        sink = self._sink
        if self.state != "answering" or sink is None:
            return False
        if sink.fresh or not self._heard:
            sink.fresh = False
            self._heard = now
        return 0 < policy.idle_timeout <= now - self._heard

    def time_out(self) -> None:
        gate, address, policy = self._gate, self._address, self._gate.entry.policy
        silent = self.state == "asked"
        field, seconds = ("firstByte", policy.first_byte_timeout) if silent else ("idle", policy.idle_timeout)
        log.warning(
            "answer timed out",
            extra=fields(service=gate.name, address=address, field=field, request_id=self.asked.request_id[:128]),
        )
        if not silent:
            gate.tally.broken += 1
        self._end(errors.engine_silent(gate.name, field, seconds), "broken")
        if silent:
            gate.unanswered(address)

    def _end(self, error: ApiError, outcome: Outcome) -> None:
        """Break off whatever is under way, and tell the client where that is still possible."""
        sink = self._sink
        self.step("stopped")
        self._drop()
        self._gate.leave(self)
        self._gate.rejected(error)
        self._observe_end(outcome, error.status)
        if sink is not None and sink.answered:
            sink.break_off(error)
        else:
            answer_error(self.response, error, self.asked, self.origin, opened=self.opened)

    def may_be_told(self) -> bool:
        sink = self._sink
        return sink is None or not sink.headed or sink.takes_events

    async def _open(self) -> None:
        try:
            connection = await self._pool.open(self._address)
        except UpstreamError as error:
            self._cancel = None
            self._failed(error, delivered=False)
        else:
            self._cancel = None
            try:
                self._send(connection)
            except Exception as mistake:  # noqa: BLE001 - told, and of consequence for this request alone
                self._gate.fault(self, mistake)  # a name of its own: compiled, a variable has one type

    def _send(self, connection: UpstreamConnection) -> None:
        self.step("connected")
        self._connection = connection
        if self._journey is not None:
            self._journey.connected = self._journey.now()
        self.response.set_flow(connection.pause_reading, connection.resume_reading)
        self.asked.count_tokens()
        self._sink = Relay(self, self._gate, self._address, self._journey, self._over)
        request = self.asked.request
        connection.send(self._head(), request.body, self._sink, head_request=request.method == "HEAD")

    def _head(self) -> bytes:
        asked = self.asked
        request = asked.request
        length = len(request.body) if request.body or request.method in _WITH_BODY else None
        headers = for_upstream(request.headers, self._address, length, request.client, request.scheme, asked.request_id)
        if self._journey is not None and (ours := self._journey.traceparent) is not None:
            headers = [field for field in headers if field[0] != b"traceparent"]
            headers.append((b"traceparent", ours))
        words = [request.method.encode(), b" ", asked.target(), b" HTTP/1.1\r\n"]
        add_fields(words, headers)
        words.append(b"\r\n")
        return b"".join(words)

    def _over(self, error: UpstreamError | None) -> None:
        """The engine's part is over: answered, or failed before its first byte reached the client."""
        connection, self._connection, sink, self._sink = self._connection, None, self._sink, None
        assert connection is not None
        assert sink is not None
        self.response.set_flow(None, None)
        if error is not None:
            connection.close()
            # An idle connection may have been closed just before it was used: once more, on a new one. It may as well
            # have been the request that the engine died of: then the new one is refused, or this replica has had it.
            if error.why == "closed" and connection.used and not connection.received and not self._stale:
                self._stale = True
                self.step("stale")
                self._cancel = self._spawn(self._open())
            else:
                self._failed(error, delivered=True)
            return
        self.step("done")
        connection.resume_reading()
        self._pool.release(self._address, connection)
        self._gate.hold.answered(self._address)
        self._gate.leave(self)
        self._observe_end("broken" if sink.broken else "answered", sink.status)

    def _failed(self, error: UpstreamError, *, delivered: bool) -> None:
        service = self._gate.name
        log.warning(
            "replica failed",
            extra=fields(
                service=service, address=self._address, reason=str(error), request_id=self.asked.request_id[:128]
            ),
        )
        if error.why == "exhausted":  # a fault of this process, for which no replica rests
            self._gate.reject(self, errors.exhausted(service))
            return
        if self._journey is not None and self._journeys is not None:
            self._journeys.failed(self._journey, error.why)
        self.step("failed")
        self._gate.back(self, error, delivered=delivered)

    def _client_gone(self) -> None:
        """The engine must not work for nobody."""
        silent = self.state == "asked" and self._gate.now() - self.sent_at >= PATIENCE_SECONDS
        self.step("left")
        self._gate.tally.left += 1
        self._drop()
        if silent:
            self._gate.unanswered(self._address)
        self._gate.leave(self)
        self._observe_end("left", 499)  # as nginx writes it: there is no status that nobody got

    def _observe_end(self, outcome: Outcome, status: int) -> None:
        if self._journey is not None and self._journeys is not None:
            self._journeys.over(self._journey, outcome, status)
            self._journey = None

    def _drop(self) -> None:
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def answer_error(response: Response, error: ApiError, asked: Inference, origin: Headers, *, opened: bool) -> None:
    """Answer an error in the form that is still possible. `opened`: heartbeats have begun the response."""
    if not response.started:
        named = id_fields(asked.request_id.encode("latin-1"), asked.dialect)
        answer_plainly(response, error, asked.dialect, [*origin, *named])
    elif opened and asked.stream:
        response.write(error.event(asked.dialect))
        response.end()
    else:
        response.write(error.body(asked.dialect))
        response.abort()


def answer_plainly(response: Response, error: ApiError, dialect: Dialect, headers: Headers) -> None:
    """Answer an error to a request of which nothing has been answered yet."""
    response.answer(error.status, [*error.headers, *headers], error.body(dialect))
