"""The gate of one LLMService: its hold on the event loop's clock, with the timers and the clients attached.

The hold decides, the gate does: wakes requests that may go, lets those go that waited too long, beats while they
wait, and tells the demand board.
"""

import asyncio
import logging
from collections.abc import Callable

from hearth.activator import errors
from hearth.activator.client import ClientResponse
from hearth.activator.directory import Entry, ServiceKey
from hearth.activator.errors import ApiError
from hearth.activator.headers import cross_origin
from hearth.activator.heartbeat import Heartbeats, Kind, beat_chunk, kind_for
from hearth.activator.hold import Hold, QueueFull, Ticket
from hearth.activator.request import Request
from hearth.activator.tally import Tally
from hearth.coldstart import ColdStarts
from hearth.logs import fields

log = logging.getLogger(__name__)

# A held streaming client gets its head within 100 ms; a warm request never needs one.
OPENING_SECONDS = 0.05
_DEFAULT_RETRY_AFTER = 30.0
_CHUNK_SECONDS = 0.1
_HELD_FROM = 0.001  # seconds; who went on in the same turn of the event loop has not waited

_EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx in front must not collect events
]
_JSON = [(b"content-type", b"application/json")]


class Held:
    """A request at the gate. The gate calls `go(address)` when it may be sent to a replica, `refuse(error)` when it
    waits no more, each in a callback of the event loop."""

    __slots__ = ("_gate", "_kind", "client", "request", "retried", "ticket")

    ticket: Ticket

    def __init__(self, gate: "Gate", request: Request, client: ClientResponse) -> None:
        self._gate = gate
        self.request = request
        self.client = client
        self.retried = False
        self._kind = kind_for(gate.entry.policy.progress, request.dialect, request.path, request.fields)

    def go(self, address: str) -> None:
        raise NotImplementedError

    def refuse(self, error: ApiError) -> None:
        raise NotImplementedError

    def cut(self) -> None:
        raise NotImplementedError

    def first_beat(self, now: float) -> float | None:
        """When this client should hear from us first, if it waits that long; None: never."""
        policy = self._gate.entry.policy
        if self.client.started:
            return now + policy.heartbeat_interval
        if self.request.stream:
            return self.ticket.arrived + OPENING_SECONDS
        if self.request.answers_json and policy.whitespace_after > 0:
            return self.ticket.arrived + policy.whitespace_after
        return None

    def beat(self, now: float) -> float | None:
        """Write a sign of life, and say when the next is due; None once the request waits no more."""
        if not self.ticket.waiting or self.client.gone:
            return None
        if self.request.stream:
            chunk, headers = self._gate.chunk(self._kind, now), _EVENT_STREAM
        else:
            chunk, headers = b" ", _JSON
        if self.client.started:
            self.client.write(chunk)
        else:
            own = [*cross_origin(self.request.fields), (b"x-request-id", self.request.request_id.encode())]
            self.client.start(200, [*headers, *own], chunk, events=self.request.stream)
        self._gate.tally.heartbeats += 1
        return now + self._gate.entry.policy.heartbeat_interval


class Gate:
    """One LLMService's gate. `on_demand(key)` is called whenever the figures of its demand changed."""

    def __init__(
        self, entry: Entry, heartbeats: Heartbeats, on_demand: Callable[[ServiceKey], None], tally: Tally
    ) -> None:
        self.entry = entry
        self.tally = tally
        self.name = entry.name
        policy = entry.policy
        self.hold = Hold(policy.max_queue, policy.concurrency, policy.activation_timeout)
        self.cold_starts = ColdStarts()
        self._loop = asyncio.get_running_loop()
        self._heartbeats = heartbeats
        self._on_demand = on_demand
        self._held: dict[Ticket, Held] = {}
        # uvloop gives a timer that is due already no `when()`: the time is kept here.
        self._expiry: asyncio.Handle | None = None
        self._expiry_due = 0.0
        self._retry: asyncio.Handle | None = None
        self._chunks: dict[Kind, tuple[float, bytes]] = {}

    def update(self, entry: Entry) -> None:
        """Take the LLMService as it is now: its policy, its phase, its ready replicas."""
        now = self._loop.time()
        self.entry = entry
        self._chunks.clear()
        policy = entry.policy
        self.hold.max_queue = policy.max_queue
        self.hold.concurrency = policy.concurrency
        self.hold.activation_timeout = policy.activation_timeout
        was_ready = self.hold.ready
        self.hold.set_ready(entry.ready, now)
        if entry.cold_start_history:  # what the controller has seen is more than what this process has
            self.cold_starts.history = entry.cold_start_history
        if entry.cold_start_phase is not None:
            self.cold_starts.enter(entry.cold_start_phase, now)
        if self.hold.ready and not was_ready:
            log.info("replica ready", extra=fields(service=self.name, waiting=self.hold.waiting))
            self._started(now)
        self._turn()

    def _started(self, now: float) -> None:
        """The first replica is ready."""
        took = self.cold_starts.ready(now)
        if took is not None:
            self.tally.cold_start.observe(sum(took.values()))
            for phase, seconds in took.items():
                self.tally.phase[phase].observe(seconds)

    def admit(self, held: Held) -> None:
        """Count a request as waiting, in this turn of the event loop; it may be sent on in the same turn.

        Raises ApiError: queue full, or starting where the LLMService does not hold requests.
        """
        now = self._loop.time()
        request = held.request
        if not self.hold.ready:
            if not request.starts_models:
                raise self.rejected(errors.asleep(self.name, request.method))
            if self.entry.policy.mode == "reject":
                self.hold.ask(now)
                self._cold_start(now)
                self._on_demand(self.entry.key)
                raise self.rejected(errors.starting(self.name, self.retry_after()))
        try:
            affinity = request.prompt_prefix() if self.entry.policy.prefix_affinity else None
            held.ticket = self.hold.arrive(now, affinity)
        except QueueFull:
            raise self.rejected(errors.queue_full(self.name, self.hold.max_queue, self.retry_after())) from None
        self.tally.admitted += 1
        self._held[held.ticket] = held
        self._cold_start(now)
        self._turn()
        self._beat(held, now)

    def back(self, held: Held) -> None:
        """The replica failed before its first byte: the request waits again, at its old place."""
        now = self._loop.time()
        held.retried = True
        self.tally.retries += 1
        self.hold.back(held.ticket, now)
        self._turn()
        self._beat(held, now)

    def leave(self, held: Held) -> None:
        """The request is over."""
        self.hold.leave(held.ticket)
        self._held.pop(held.ticket, None)
        self._turn()

    def delete(self) -> None:
        """The LLMService is gone: nobody waits for it any longer. Answers under way go on."""
        for ticket in self.hold.tickets():
            self._refuse(self._held[ticket], errors.service_deleted(self.name))
        for timer in (self._expiry, self._retry):
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """The process ends: whoever is still here is told."""
        # Who waits first: nobody is sent to a replica that somebody else has just given up.
        for held in sorted(self._held.values(), key=lambda held: not held.ticket.waiting):
            held.cut()

    def rejected(self, error: ApiError) -> ApiError:
        """Count a request that is answered with an error of ours."""
        self.tally.rejected[error.code or error.type] += 1
        self.tally.responses[error.status] += 1
        return error

    def retry_after(self) -> float:
        """Seconds after which a client should try again, from what earlier cold starts took."""
        remaining = self.cold_starts.remaining(self._loop.time())
        return _DEFAULT_RETRY_AFTER if remaining is None else max(1.0, remaining)

    def chunk(self, kind: Kind, now: float) -> bytes:
        """The heartbeat for every client that is due about now."""
        made = self._chunks.get(kind)
        if made is not None and now - made[0] < _CHUNK_SECONDS:
            return made[1]
        starts = self.cold_starts
        phase = "queued" if self.hold.ready else starts.phase
        data = beat_chunk(kind, self.entry.key[1], phase, starts.elapsed(now), starts.remaining(now))
        self._chunks[kind] = (now, data)
        return data

    def _cold_start(self, now: float) -> None:
        if self.hold.cold_since is not None:
            if self.cold_starts.elapsed(now) == 0.0:
                log.info("cold start asked for", extra=fields(service=self.name))
            self.cold_starts.begin(self.hold.cold_since)

    def _beat(self, held: Held, now: float) -> None:
        if held.ticket.waiting and (due := held.first_beat(now)) is not None:
            self._heartbeats.add(held, due)

    def _turn(self) -> None:
        """Do what follows from the hold's new state."""
        if self.hold.waiting:
            now = self._loop.time()
            for ticket, address in self.hold.dispatch(now):
                held = self._held[ticket]
                if now - ticket.arrived > _HELD_FROM and not held.retried:
                    self.tally.held.observe(now - ticket.arrived)
                held.go(address)
            if self.hold.waiting:
                self._arm_expiry()
                self._arm_retry(now)
        self._on_demand(self.entry.key)

    def _arm_expiry(self) -> None:
        oldest = self.hold.oldest()
        if oldest is None:
            return  # an armed timer finds nobody and stops
        due = oldest.arrived + self.hold.activation_timeout
        if self._expiry is None or self._expiry_due > due:
            if self._expiry is not None:
                self._expiry.cancel()
            self._expiry, self._expiry_due = self._loop.call_at(due, self._expire), due

    def _expire(self) -> None:
        self._expiry = None
        now = self._loop.time() + 0.001
        timeout = self.hold.activation_timeout
        while (oldest := self.hold.oldest()) is not None and oldest.arrived + timeout <= now:
            self._refuse(self._held[oldest], errors.activation_timed_out(self.name, timeout, self.retry_after()))
        self._turn()

    def _refuse(self, held: Held, error: ApiError) -> None:
        self.hold.leave(held.ticket)
        self._held.pop(held.ticket, None)
        held.refuse(self.rejected(error))

    def _arm_retry(self, now: float) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        due = self.hold.next_dispatch(now)
        if due is not None:
            self._retry = self._loop.call_at(due + 0.002, self._turn)
