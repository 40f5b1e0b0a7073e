"""The hold: one LLMService's line of requests, and where those that left it are being answered.

Pure state: it takes events and a monotonic clock, and says which request goes where. A request waits until a ready
replica has room, oldest first. One whose replica could not be reached goes back to its old place. One that a replica
had and did not answer goes to one other replica at most: it may be what the replica died of.

The lease: a cold start once asked for goes through. Demand stays until the first replica is ready plus
`LEASE_AFTER_READY`, even if every client has left; not for ever, though: a start that brings no replica is given up
`LEASE_BEYOND_TIMEOUT` after its last request could still have been held.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from hearth.activator.lane.balance import Load, choose

LEASE_AFTER_READY = 15.0
LEASE_BEYOND_TIMEOUT = 600.0  # about what a startup probe allows a large model
EJECT_FIRST, EJECT_LAST = 0.2, 5.0
"""How long a replica that failed gets no requests; doubled while it goes on failing. Seconds."""
_DOUBLINGS = 10  # more change nothing; without a bound the power grows out of a float

_LEAVERS = 64  # of a line, before those who left it are looked for

DELIVERIES = 2
"""How many replicas may get one request whole."""

OTHER_REPLICA_SECONDS = 5.0
"""How long a request that its replica dropped waits for another one, or for that one to be seen gone, where there is no
other: a kubelet notices a dead engine within a few seconds."""

UNANSWERED = 3
"""Clients in a row that gave up on a replica without hearing anything of it, after which it rests."""


class QueueFull(Exception):
    """The LLMService has maxQueue requests waiting or in flight."""


class Ticket:
    """One admitted request. `endpoint` is where it was sent, or None while it waits; `affinity` is what requests that
    should meet at one replica have in common; `asks`: whether it is demand. `deliveries`: replicas that had it whole
    and did not answer; `avoid`: the last of them, as it was then; `hopeless_at`: when it is given up if there is no
    other."""

    # No dataclass: one is made for each request, and a dataclass leaves its `__init__` to the interpreter.
    __slots__ = ("affinity", "arrived", "asks", "avoid", "deliveries", "endpoint", "hopeless_at", "number", "waiting")

    def __init__(self, number: int, arrived: float, affinity: bytes | None = None, *, asks: bool = True) -> None:
        self.number = number
        self.arrived = arrived
        self.waiting = True
        self.endpoint: str | None = None
        self.affinity = affinity
        self.asks = asks
        self.deliveries = 0
        self.avoid: tuple[str, int] | None = None
        self.hopeless_at = 0.0


@dataclass(slots=True)
class _Endpoint:
    life: int  # another one after it was away: a replica that came back is not the one that failed
    ready: bool = True
    outstanding: int = 0
    failures: int = 0
    unanswered: int = 0
    ejected_until: float = 0.0
    turn: int = 0  # when it was last chosen, to spread equal choices


Dispatch = tuple[Ticket, str]
"""A request and the endpoint (host:port) that it goes to."""


@dataclass(slots=True)
class Hold:
    """`max_queue`: requests admitted at a time; `concurrency`: requests sent to one replica at a time. `looks_waiting`
    of `waiting` and `looks_in_flight` of `in_flight` are no demand: they start no replica and keep none."""

    max_queue: int
    concurrency: int
    activation_timeout: float
    waiting: int = 0
    in_flight: int = 0
    looks_waiting: int = 0
    looks_in_flight: int = 0
    requests: int = 0
    cold_since: float | None = None
    _line: list[tuple[int, Ticket]] = field(default_factory=list)  # by number, a heap
    _second: list[Ticket] = field(default_factory=list)  # those that wait for another replica than the one they had
    _lives: int = 0
    _endpoints: dict[str, _Endpoint] = field(default_factory=dict)
    _numbers: int = 0
    _turns: int = 0
    _lease_until: float = 0.0

    def arrive(self, now: float, affinity: bytes | None = None, *, asks: bool = True) -> Ticket:
        """Admit a request. What may not start a replica does not `asks` for one: it is no demand. Raises QueueFull."""
        if self.waiting + self.in_flight >= self.max_queue:
            raise QueueFull
        if asks:
            self.ask(now)
        self._numbers += 1
        ticket = Ticket(self._numbers, now, affinity, asks=asks)
        heapq.heappush(self._line, (ticket.number, ticket))
        self._wait(ticket)
        return ticket

    def ask(self, now: float) -> None:
        """Note that somebody asked: where no replica is ready, a cold start begins, or its lease is renewed."""
        self.requests += 1
        if not self.ready:
            self._need_start(now)

    def leave(self, ticket: Ticket) -> None:
        """A request is over: answered, failed for good, given up by its client, or timed out."""
        if ticket.waiting:
            self._wait_no_more(ticket)
            self._drop_leavers()
            if len(self._line) > 2 * self.waiting + _LEAVERS:  # who comes and goes behind one that waits long
                self._line = [place for place in self._line if place[1].waiting]
                heapq.heapify(self._line)
        elif ticket.endpoint is not None:
            self._free(ticket)

    def answered(self, endpoint: str) -> None:
        """A replica sent the first byte of an answer: it works."""
        if found := self._endpoints.get(endpoint):
            found.failures = found.unanswered = 0

    def unanswered(self, endpoint: str, now: float) -> None:
        """A client gave up on this replica before it heard anything of it."""
        if found := self._endpoints.get(endpoint):
            found.unanswered += 1
            if found.unanswered >= UNANSWERED:
                found.unanswered = 0
                self._rest(found, now)

    def back(self, ticket: Ticket, now: float, *, delivered: bool, patience: float) -> bool:
        """The replica failed before its first byte: it rests, and the request waits again at its old place.

        `delivered`: the replica had the request. Then it waits for another replica, and is given up after `patience`
        seconds if there is none. False, and the request is over, where enough replicas have had it.
        """
        assert ticket.endpoint is not None
        found = self._endpoints.get(ticket.endpoint)
        if found is not None and now >= found.ejected_until:
            self._rest(found, now)
        address = ticket.endpoint
        self._free(ticket)
        if delivered:
            ticket.deliveries += 1
            if ticket.deliveries >= DELIVERIES:
                return False
            ticket.avoid = (address, found.life if found is not None else 0)
            ticket.hopeless_at = now + patience
            self._second.append(ticket)
        elif ticket.avoid is not None:
            self._second.append(ticket)  # not at the head of the line, where it would stand in others' way
        else:
            heapq.heappush(self._line, (ticket.number, ticket))
        self._wait(ticket)
        if ticket.asks and not self.ready:
            self._need_start(now)
        return True

    def hopeless(self, now: float) -> list[Ticket]:
        """The requests that wait for another replica where there is none but the one that dropped them."""
        only = self._only()
        return [
            ticket for ticket in self._second if ticket.waiting and ticket.avoid == only and ticket.hopeless_at <= now
        ]

    def next_hopeless(self) -> float | None:
        """When the next of them is."""
        only = self._only()
        due = (ticket.hopeless_at for ticket in self._second if ticket.waiting and ticket.avoid == only)
        return min(due, default=None)

    def _only(self) -> tuple[str, int] | None:
        """The one ready replica, as it is now; None where there are others, or none. Who had that one has no other."""
        ready = [(address, endpoint.life) for address, endpoint in self._endpoints.items() if endpoint.ready]
        return ready[0] if len(ready) == 1 else None

    def _rest(self, endpoint: _Endpoint, now: float) -> None:
        endpoint.ejected_until = now + min(EJECT_FIRST * 2 ** min(endpoint.failures, _DOUBLINGS), EJECT_LAST)
        endpoint.failures += 1

    def set_ready(self, endpoints: Iterable[str], now: float) -> None:
        """Take the complete list of ready replicas. One that left finishes what it has."""
        wanted = set(endpoints)
        had = self.ready
        for address, endpoint in list(self._endpoints.items()):
            if address in wanted and not endpoint.ready:
                self._lives += 1
                endpoint.life = self._lives
            endpoint.ready = address in wanted
            if not endpoint.ready and endpoint.outstanding == 0:
                del self._endpoints[address]
        for address in wanted - self._endpoints.keys():
            self._lives += 1
            self._endpoints[address] = _Endpoint(self._lives, turn=self._turns)
        if self.ready and not had and self.cold_since is not None:
            self.cold_since = None
            self._lease_until = now + LEASE_AFTER_READY
        elif had and not self.ready and self.waiting > self.looks_waiting:
            self._need_start(now)

    def dispatch(self, now: float) -> list[Dispatch]:
        """Send waiting requests, oldest first, each to the ready replica that `choose` says."""
        sent: list[Dispatch] = []
        if self._second:
            left = []
            for ticket in self._second:
                address = self._replica_for(ticket, now) if ticket.waiting else None
                if address is not None:
                    sent.append(self._send(ticket, address))
                elif ticket.waiting:
                    left.append(ticket)
            self._second = left
        self._drop_leavers()
        while self._line:
            address = self._replica_for(self._line[0][1], now)
            if address is None:
                break
            _, ticket = heapq.heappop(self._line)
            sent.append(self._send(ticket, address))
            self._drop_leavers()
        return sent

    def _send(self, ticket: Ticket, address: str) -> Dispatch:
        self._turns += 1
        self._endpoints[address].outstanding += 1
        self._endpoints[address].turn = self._turns
        ticket.endpoint = address
        self._wait_no_more(ticket)
        self.in_flight += 1
        self.looks_in_flight += not ticket.asks
        return ticket, address

    def _replica_for(self, ticket: Ticket, now: float) -> str | None:
        """The replica that a request goes to; None where none has room."""
        free = [
            (address, endpoint)
            for address, endpoint in self._endpoints.items()
            if endpoint.ready
            and endpoint.outstanding < self.concurrency
            and endpoint.ejected_until <= now
            and (ticket.avoid is None or ticket.avoid != (address, endpoint.life))
        ]
        if len(free) > 1:
            loads = {address: Load(endpoint.outstanding, endpoint.turn) for address, endpoint in free}
            return choose(loads, ticket.affinity)
        return free[0][0] if free else None

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
        first = self._line[0][1] if self._line else None
        for ticket in self._second:
            if ticket.waiting and (first is None or ticket.number < first.number):
                first = ticket
        return first

    def tickets(self) -> list[Ticket]:
        """The waiting requests, oldest first."""
        line = [*self._second, *(ticket for _, ticket in self._line)]
        return sorted((ticket for ticket in line if ticket.waiting), key=lambda ticket: ticket.number)

    @property
    def asking(self) -> tuple[int, int]:
        """Of those that wait and of those in flight, how many are demand."""
        return self.waiting - self.looks_waiting, self.in_flight - self.looks_in_flight

    def lease(self, now: float) -> bool:
        """Whether a cold start that was asked for still counts as demand by itself."""
        return now < self._lease_until

    @property
    def lease_until(self) -> float:
        """When a cold start that was asked for ends to count as demand by itself."""
        return self._lease_until

    def give_up(self, now: float) -> bool:
        """Whether a cold start has just ended without a replica: its lease is over, and nobody waits."""
        if self.cold_since is None or now < self._lease_until or self.waiting:
            return False
        self.cold_since = None
        return True

    def _wait(self, ticket: Ticket) -> None:
        ticket.waiting = True
        self.waiting += 1
        self.looks_waiting += not ticket.asks

    def _wait_no_more(self, ticket: Ticket) -> None:
        ticket.waiting = False
        self.waiting -= 1
        self.looks_waiting -= not ticket.asks

    def _need_start(self, now: float) -> None:
        if self.cold_since is None:
            self.cold_since = now
        self._lease_until = now + self.activation_timeout + LEASE_BEYOND_TIMEOUT

    def _free(self, ticket: Ticket) -> None:
        assert ticket.endpoint is not None
        self.in_flight -= 1
        self.looks_in_flight -= not ticket.asks
        if found := self._endpoints.get(ticket.endpoint):
            found.outstanding -= 1
            if not found.ready and found.outstanding == 0:
                del self._endpoints[ticket.endpoint]
        ticket.endpoint = None

    def _drop_leavers(self) -> None:
        """Those who left while waiting are dropped from the line when they come to its head."""
        while self._line and not self._line[0][1].waiting:
            heapq.heappop(self._line)
