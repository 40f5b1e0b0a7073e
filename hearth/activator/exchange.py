"""One request's way from its admission to its last byte, in callbacks: no task waits for it.

A task is made only where a new connection to an engine must be opened.
"""

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from hearth.activator.client import ClientResponse
from hearth.activator.errors import ApiError, stopping
from hearth.activator.gate import Gate, Held
from hearth.activator.headers import cross_origin, for_engine
from hearth.activator.journey import Journey, Journeys, Outcome
from hearth.activator.relay import Opened, Relay
from hearth.activator.request import Request
from hearth.activator.upstream import Pool, UpstreamConnection, UpstreamError
from hearth.logs import fields

log = logging.getLogger(__name__)

_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))

Spawn = Callable[[Coroutine[Any, Any, None]], Callable[[], object]]
"""Runs a coroutine as a task that somebody owns; returns what cancels it."""


class Exchange(Held):
    """`begin` once; the rest is callbacks: of the gate, the engine's connection, the client's."""

    __slots__ = ("_address", "_cancel", "_connection", "_fresh", "_journey", "_journeys", "_pool", "_sink", "_spawn")

    def __init__(
        self, gate: Gate, request: Request, client: ClientResponse, pool: Pool, spawn: Spawn, journeys: Journeys
    ) -> None:
        super().__init__(gate, request, client)
        self._journeys = journeys
        self._journey: Journey | None = None
        self._pool = pool
        self._spawn = spawn
        self._address = ""
        self._fresh = False
        self._connection: UpstreamConnection | None = None
        self._sink: Relay | None = None
        self._cancel: Callable[[], object] | None = None

    def begin(self) -> None:
        """Enter the gate. Raises ApiError where it does not let the request in."""
        self.client.attach(self._client_gone)
        if self._journeys:
            self._journey = self._journeys.begin(self._gate.name, self.request)
        try:
            self._gate.admit(self)
        except ApiError as error:
            self._observe_end("rejected", error.status)
            raise

    def go(self, address: str) -> None:
        """Ask this replica."""
        self._address, self._fresh = address, False
        if self._journey is not None:
            self._journey.sent, self._journey.address = time.time_ns(), address
        connection = self._pool.idle(address)
        if connection is not None:
            self._send(connection)
        else:
            self._connect()

    def refuse(self, error: ApiError) -> None:
        """Wait no more."""
        self._observe_end("rejected", error.status)
        answer_error(self.client, error, self.request)

    def cut(self) -> None:
        """The process ends before the answer does: say so where that is still possible."""
        sink, error = self._sink, stopping(self._gate.name)
        self._drop()
        self._gate.leave(self)
        self._gate.rejected(error)
        self._observe_end("stopped", error.status)
        if sink is not None and sink.answered:
            sink.break_off(error)
        else:
            answer_error(self.client, error, self.request)

    def _connect(self) -> None:
        self._fresh = True
        self._cancel = self._spawn(self._open())

    async def _open(self) -> None:
        try:
            connection = await self._pool.open(self._address)
        except UpstreamError as error:
            self._cancel = None
            self._failed(error)
        else:
            self._cancel = None
            self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        request, client = self.request, self.client
        opened: Opened = "no"
        if client.started:
            opened = "events" if request.stream else "white space"
        self._connection = connection
        if self._journey is not None:
            self._journey.connected = time.time_ns()
        client.set_flow(connection.pause_reading, connection.resume_reading)
        self._sink = Relay(
            self._gate.name,
            client,
            opened,
            request.request_id,
            request.dialect,
            self._gate.tally,
            self.ticket.arrived,
            self._journey,
            self._over,
        )
        connection.send([self._head(), *request.body], self._sink, head_request=request.method == "HEAD")

    def _head(self) -> bytes:
        request = self.request
        length = request.length if request.length or request.method in _WITH_BODY else None
        headers = for_engine(request.headers, self._address, length, request.client, request.scheme, request.request_id)
        if self._journey is not None and (ours := self._journey.traceparent) is not None:
            headers = [field for field in headers if field[0] != b"traceparent"]
            headers.append((b"traceparent", ours))
        lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.target())]
        lines += [b"%b: %b" % field for field in headers]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _over(self, error: UpstreamError | None) -> None:
        """The engine's part is over: answered, or failed before its first byte reached the client."""
        connection, self._connection, sink, self._sink = self._connection, None, self._sink, None
        assert connection is not None
        assert sink is not None
        self.client.set_flow(None, None)
        if error is None:
            connection.resume_reading()
            self._pool.release(self._address, connection)
            self._gate.hold.answered(self._address)
            self._gate.leave(self)
            self._observe_end("broken" if sink.broken else "answered", sink.status)
        elif connection.used and not connection.received and not self._fresh:
            # An idle connection may have been closed by the engine just before it was used: once more, on a new one.
            self._connect()
        else:
            self._failed(error)

    def _failed(self, error: UpstreamError) -> None:
        service = self._gate.name
        request_id = self.request.request_id
        log.warning(
            "replica failed",
            extra=fields(service=service, address=self._address, reason=str(error), request_id=request_id),
        )
        if self._journey is not None:
            self._journey.retries += 1
            self._journey.sent = self._journey.connected = 0
        self._gate.back(self)

    def _client_gone(self) -> None:
        """The engine must not work for nobody."""
        self._gate.tally.left += 1
        self._drop()
        self._gate.leave(self)
        self._observe_end("left", 499)  # as nginx writes it: there is no status that nobody got

    def _observe_end(self, outcome: Outcome, status: int) -> None:
        if self._journey is not None:
            self._journeys.over(self._journey, outcome, status)
            self._journey = None

    def _drop(self) -> None:
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def answer_error(client: ClientResponse, error: ApiError, request: Request) -> None:
    """Answer an error in the form that is still possible."""
    if not client.started:
        headers = [*error.headers, *cross_origin(request.fields), (b"x-request-id", request.request_id.encode())]
        client.answer(error.status, headers, error.body(request.dialect))
    elif client.opened_events:
        client.write(error.event(request.dialect))
        client.end()
    else:
        client.write(error.body(request.dialect))
        client.abort()
