"""The hold: one LLMService's line of requests, and where those that left it are being answered.

Pure state: it takes events and a monotonic clock, and says which request goes where. A request waits until a ready
replica has room, oldest first; one whose replica failed before its first byte goes back to its old place.

The lease: a cold start once asked for goes through. Demand stays until the first replica is ready plus
`LEASE_AFTER_READY`, even if every client has left; not for ever, though: a start that brings no replica is given up
`LEASE_BEYOND_TIMEOUT` after its last request could still have been held.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from hearth.activator.balance import Load, choose

LEASE_AFTER_READY = 15.0
LEASE_BEYOND_TIMEOUT = 600.0  # about what a startup probe allows a large model
EJECT_FIRST, EJECT_LAST = 0.2, 5.0
"""How long a replica that failed gets no requests; doubled while it goes on failing. Seconds."""


class QueueFull(Exception):
    """The LLMService has maxQueue requests waiting or in flight."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One admitted request. `endpoint` is where it was sent, or None while it waits; `affinity` is what requests that
    should meet at one replica have in common."""

    number: int
    arrived: float
    waiting: bool = True
    endpoint: str | None = None
    affinity: bytes | None = None


@dataclass(slots=True)
class _Endpoint:
    ready: bool = True
    outstanding: int = 0
    failures: int = 0
    ejected_until: float = 0.0
    turn: int = 0  # when it was last chosen, to spread equal choices


Dispatch = tuple[Ticket, str]
"""A request and the endpoint (host:port) that it goes to."""


@dataclass(slots=True)
class Hold:
    """`max_queue`: requests admitted at a time; `concurrency`: requests sent to one replica at a time."""

    max_queue: int
    concurrency: int
    activation_timeout: float
    waiting: int = 0
    in_flight: int = 0
    requests: int = 0
    cold_since: float | None = None
    _line: list[tuple[int, Ticket]] = field(default_factory=list)  # by number, a heap
    _endpoints: dict[str, _Endpoint] = field(default_factory=dict)
    _numbers: int = 0
    _turns: int = 0
    _lease_until: float = 0.0

    def arrive(self, now: float, affinity: bytes | None = None) -> Ticket:
        """Admit a request. Raises QueueFull."""
        if self.waiting + self.in_flight >= self.max_queue:
            raise QueueFull
        self.ask(now)
        self._numbers += 1
        ticket = Ticket(self._numbers, now, affinity=affinity)
        heapq.heappush(self._line, (ticket.number, ticket))
        self.waiting += 1
        return ticket

    def ask(self, now: float) -> None:
        """Note that somebody asked: where no replica is ready, a cold start begins, or its lease is renewed."""
        self.requests += 1
        if not self.ready:
            self._need_start(now)

    def leave(self, ticket: Ticket) -> None:
        """A request is over: answered, failed for good, given up by its client, or timed out."""
        if ticket.waiting:
            ticket.waiting = False
            self.waiting -= 1
            self._drop_leavers()
        elif ticket.endpoint is not None:
            self._free(ticket)

    def answered(self, endpoint: str) -> None:
        """A replica sent the first byte of an answer: it works."""
        if found := self._endpoints.get(endpoint):
            found.failures = 0

    def back(self, ticket: Ticket, now: float) -> None:
        """The replica failed before its first byte: the request waits again at its old place, the replica rests."""
        assert ticket.endpoint is not None
        found = self._endpoints.get(ticket.endpoint)
        if found is not None and now >= found.ejected_until:
            found.ejected_until = now + min(EJECT_FIRST * 2**found.failures, EJECT_LAST)
            found.failures += 1
        self._free(ticket)
        ticket.waiting = True
        heapq.heappush(self._line, (ticket.number, ticket))
        self.waiting += 1

    def set_ready(self, endpoints: Iterable[str], now: float) -> None:
        """Take the complete list of ready replicas. One that left finishes what it has."""
        wanted = set(endpoints)
        had = self.ready
        for address, endpoint in list(self._endpoints.items()):
            endpoint.ready = address in wanted
            if not endpoint.ready and endpoint.outstanding == 0:
                del self._endpoints[address]
        for address in wanted - self._endpoints.keys():
            self._endpoints[address] = _Endpoint(turn=self._turns)
        if self.ready and not had and self.cold_since is not None:
            self.cold_since = None
            self._lease_until = now + LEASE_AFTER_READY
        elif had and not self.ready and self.waiting:
            self._need_start(now)

    def dispatch(self, now: float) -> list[Dispatch]:
        """Send waiting requests, oldest first, each to the ready replica that `choose` says."""
        sent: list[Dispatch] = []
        self._drop_leavers()
        while self._line:
            address = self._replica_for(self._line[0][1], now)
            if address is None:
                break
            _, ticket = heapq.heappop(self._line)
            self._turns += 1
            self._endpoints[address].outstanding += 1
            self._endpoints[address].turn = self._turns
            ticket.waiting, ticket.endpoint = False, address
            self.waiting -= 1
            self.in_flight += 1
            sent.append((ticket, address))
            self._drop_leavers()
        return sent

    def _replica_for(self, ticket: Ticket, now: float) -> str | None:
        """The replica that a request goes to; None where none has room."""
        free = {
            address: Load(endpoint.outstanding, endpoint.turn)
            for address, endpoint in self._endpoints.items()
            if endpoint.ready and endpoint.outstanding < self.concurrency and endpoint.ejected_until <= now
        }
        if len(free) > 1:
            return choose(free, ticket.affinity)
        return next(iter(free), None)

    def next_dispatch(self, now: float) -> float | None:
        """When a resting replica may be tried again, if anybody waits for one."""
        if not self.waiting:
            return None
        resting = [e.ejected_until for e in self._endpoints.values() if e.ready and e.ejected_until > now]
        return min(resting, default=None)

    @property
    def ready(self) -> bool:
        """Whether any replica is ready."""
        return any(endpoint.ready for endpoint in self._endpoints.values())

    def oldest(self) -> Ticket | None:
        """The waiting request that came first."""
        self._drop_leavers()
        return self._line[0][1] if self._line else None

    def tickets(self) -> list[Ticket]:
        """The waiting requests, oldest first."""
        return [ticket for _, ticket in sorted(self._line) if ticket.waiting]

    def lease(self, now: float) -> bool:
        """Whether a cold start that was asked for still counts as demand by itself."""
        if self.cold_since is not None and now >= self._lease_until and not self.waiting:
            self.cold_since = None
        return now < self._lease_until

    def _need_start(self, now: float) -> None:
        if self.cold_since is None:
            self.cold_since = now
        self._lease_until = now + self.activation_timeout + LEASE_BEYOND_TIMEOUT

    def _free(self, ticket: Ticket) -> None:
        assert ticket.endpoint is not None
        self.in_flight -= 1
        if found := self._endpoints.get(ticket.endpoint):
            found.outstanding -= 1
            if not found.ready and found.outstanding == 0:
                del self._endpoints[ticket.endpoint]
        ticket.endpoint = None

    def _drop_leavers(self) -> None:
        """Those who left while waiting are dropped from the line when they come to its head."""
        while self._line and not self._line[0][1].waiting:
            heapq.heappop(self._line)
