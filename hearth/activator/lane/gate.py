"""The gate of one LLMService: its hold on the event loop's clock, with the timers and the clients attached.

The hold decides, the gate does: wakes requests that may go, lets those go that waited too long, beats while they are
not answered, and tells the demand board. One request that fails in here fails alone.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from hearth.activator import errors
from hearth.activator.directory import Entry
from hearth.activator.errors import ApiError
from hearth.activator.keyring import Grant
from hearth.activator.lane.heartbeat import Heartbeats, Kind, beat_chunk, kind_for
from hearth.activator.lane.hold import OTHER_REPLICA_SECONDS, Hold, QueueFull, Ticket
from hearth.activator.lane.inference import Inference, id_fields
from hearth.activator.lane.tally import Tally
from hearth.activator.lane.way import Event, State, after
from hearth.activator.starts import AddressStarts, ServiceStarts
from hearth.api.key import ServiceKey
from hearth.coldstart import ColdStarts
from hearth.http1.headers import Headers
from hearth.http1.response import Response
from hearth.http1.upstream import UpstreamError
from hearth.logs import fields

log = logging.getLogger(__name__)

# A held streaming client gets its head within 100 ms; a warm request never needs one.
OPENING_SECONDS: Final = 0.05
_DEFAULT_RETRY_AFTER: Final = 30.0
_BUSY_RETRY_AFTER: Final = 2.0
_CHUNK_SECONDS: Final = 0.1
_HELD_FROM: Final = 0.001  # seconds; who went on in the same turn of the event loop has not waited
SWEEP_SECONDS = 1.0  # no Final, which the compiler would write into the code
"""How often a gate looks for requests that a replica has and does not answer, so that their clients hear something."""

AS_IT_COMES: Final = (b"x-accel-buffering", b"no")
"""nginx in front must not collect what comes piece by piece: http://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering"""

OF_EVENTS: Final = [(b"cache-control", b"no-cache"), AS_IT_COMES]
"""What every event stream says to those on its way, whoever has begun it."""
_EVENT_STREAM: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), *OF_EVENTS]
_JSON: Final = [(b"content-type", b"application/json"), AS_IT_COMES]


class Held:
    """A request at the gate. The gate calls `go(address)` when it may be sent to a replica, `refuse(error)` when it
    waits no more, each in a callback of the event loop."""

    __slots__ = (
        *("_gate", "_kind", "asked", "beating", "cold", "dropped", "opened", "origin", "response", "retried"),
        *("sent_at", "spoken", "state", "ticket"),
    )

    ticket: Ticket

    def __init__(self, gate: "Gate", asked: Inference, response: Response, origin: Headers) -> None:
        self._gate = gate
        self.asked = asked
        self.response = response
        self.origin = origin  # what lets a page of another origin read the answer
        self.state: State = "arriving"
        self.cold = False  # whether it waited for a start
        self.retried = False
        self.dropped = ""  # why the last replica did not answer it
        self.beating = False
        self.opened = False  # whether heartbeats have begun the response
        self.spoken = False  # whether a byte of the engine's body has come
        self.sent_at = 0.0
        self._kind = kind_for(gate.entry.policy.progress, asked.dialect, asked.path, asked.request.fields)

    def go(self, address: str) -> None:
        raise NotImplementedError

    def refuse(self, error: ApiError) -> None:
        raise NotImplementedError

    def cut(self) -> None:
        raise NotImplementedError

    def overdue(self, now: float) -> bool:
        """Whether nothing has come of it for longer than its LLMService allows. To be asked often."""
        raise NotImplementedError

    def time_out(self) -> None:
        """It is overdue: it ends."""
        raise NotImplementedError

    def may_be_told(self) -> bool:
        """Whether something can be put in front of what the engine has sent so far."""
        raise NotImplementedError

    def step(self, event: Event) -> None:
        """Go on in the table of a request's way. Raises KeyError where the table does not."""
        self.state = after(self.state, event)
        if self.asked.grant is not None and self.state == "over":
            self._settle(self.asked.grant)

    def _settle(self, grant: Grant) -> None:
        """The request is over: its key has room for another one, and pays for this."""
        usage = self.asked.usage
        grant.allowance.leave(usage.total if usage is not None else 0, self._gate.now())

    def first_beat(self) -> float | None:
        """When this client should hear from us next, if it waits that long; None: never."""
        policy = self._gate.entry.policy
        if self.response.started:
            return self.sent_at + policy.heartbeat_interval
        if self.asked.stream:
            if self.state == "waiting":
                return self.ticket.arrived + OPENING_SECONDS
            # An engine that refuses does so at once, and its status counts: only a long silence is broken.
            return self.sent_at + policy.heartbeat_interval
        if self.asked.answers_json and policy.whitespace_after > 0:
            return self.ticket.arrived + policy.whitespace_after
        return None

    def beat(self, now: float) -> float | None:
        """Write a sign of life, and say when the next is due; None once the request waits no more."""
        response = self.response
        if self.spoken or self.state == "over" or response.gone or not self.may_be_told():
            self.beating = False
            return None
        if not response.started:
            due = self.first_beat()
            if due is None or due > now:
                self.beating = due is not None
                return due
        if self.asked.stream:
            chunk, headers = self._gate.chunk(self._kind, now, asked=self.state != "waiting"), _EVENT_STREAM
        else:
            chunk, headers = b" ", _JSON
        if response.started:
            response.write(chunk)
        else:
            self.opened = True
            response.start(200, [*headers, *self.origin, *self.own_headers(now)], chunk)
        self._gate.tally.heartbeats += 1
        return now + self._gate.entry.policy.heartbeat_interval

    def own_headers(self, now: float) -> Headers:
        """What the answer says of its way: whose it is, and whether and how long it waited for a start."""
        made = id_fields(self.asked.request_id.encode("latin-1"), self.asked.dialect)
        if self.asked.grant is not None:
            made += self.asked.grant.allowance.headers(now)
        if self.cold:
            made.append((b"x-hearth-cold-start", b"true"))
            made.append((b"x-hearth-waited-seconds", b"%.1f" % (now - self.ticket.arrived)))
        return made


class Gate:
    """One LLMService's gate. `on_demand(key)` is called whenever the figures of its demand changed; `failed(where,
    error)` is told of mistakes of ours. `addresses` has what each client's address may still start."""

    def __init__(
        self,
        entry: Entry,
        heartbeats: Heartbeats,
        on_demand: Callable[[ServiceKey], None],
        tally: Tally,
        failed: Callable[[str, BaseException], None],
        addresses: AddressStarts | None = None,
    ) -> None:
        self.entry = entry
        self.tally = tally
        self.name = entry.name
        policy = entry.policy
        self.hold = Hold(policy.max_queue, policy.concurrency, policy.activation_timeout)
        self.cold_starts = ColdStarts()
        self._loop = asyncio.get_running_loop()
        # Where it is needed: up to Python 3.11, to ask for the running loop is a system call.
        self.now = self._loop.time
        self.starts = ServiceStarts()  # `update` says how many
        self.addresses = addresses or AddressStarts()
        self._heartbeats = heartbeats
        self._on_demand = on_demand
        self._failed = failed
        self._held: dict[Ticket, Held] = {}
        self._turning = False
        self._turn_soon = False
        self._deleted = False
        # uvloop gives a timer that is due already no `when()`: the time is kept here.
        self._expiry: asyncio.Handle | None = None
        self._expiry_due = 0.0
        self._retry: asyncio.Handle | None = None
        self._sweep: asyncio.Handle | None = None
        self._lease: asyncio.Handle | None = None
        self._chunks: dict[tuple[Kind, bool], tuple[float, bytes]] = {}

    def update(self, entry: Entry) -> None:
        """Take the LLMService as it is now: its policy, its phase, its ready replicas."""
        now = self._loop.time()
        self.entry = entry
        self._chunks.clear()
        policy = entry.policy
        self.hold.max_queue = policy.max_queue
        self.hold.concurrency = policy.concurrency
        self.hold.activation_timeout = policy.activation_timeout
        self.starts.relimit(policy.cold_starts_per_hour, now)
        was_ready = self.hold.ready
        self.hold.set_ready(entry.ready, now)
        if entry.cold_start_history:  # what the controller has seen is more than what this process has
            self.cold_starts.history = entry.cold_start_history
        if entry.cold_start_phase is not None:
            self.cold_starts.enter(entry.cold_start_phase, now)
        if self.hold.ready and not was_ready:
            log.info("replica ready", extra=fields(service=self.name, waiting=self.hold.waiting))
            self.cold_starts.ready(now)
        self._cold_start(now)
        self._turn()

    def admit(self, held: Held) -> None:
        """Count a request as waiting, in this turn of the event loop; it may be sent on in the same turn.

        Raises ApiError: queue full, or starting where the LLMService does not hold requests.
        """
        now = self._loop.time()
        asked = held.asked
        if not self.hold.ready:
            held.cold = True
            if not asked.starts_models:
                what = "this one" if asked.method == "POST" else f"a {asked.method} request"
                raise self.rejected(errors.asleep(self.name, what))
            # Replicas that are listed, and not ready for a moment, are there: nobody starts anything for this request.
            if self.hold.cold_since is None and self.entry.cold_start_phase is None and not self.entry.starting:
                self._ask_for_a_start(asked, now)
            if self.entry.policy.mode == "reject":
                self.hold.ask(now)
                self._cold_start(now)
                self._on_demand(self.entry.key)
                raise self.rejected(errors.starting(self.name, self.retry_after(), self.entry.trouble))
        try:
            held.ticket = self.hold.arrive(now, asked.prompt, asks=asked.is_demand)
        except QueueFull:
            raise self.rejected(errors.queue_full(self.name, self.hold.max_queue, self.retry_after())) from None
        held.step("admitted")
        self.tally.admitted += 1
        self.tally.cold += held.cold
        self._held[held.ticket] = held
        self._cold_start(now)
        self._turn()
        self._beat(held)
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_SECONDS, self._look_for_silence)

    def _ask_for_a_start(self, asked: Inference, now: float) -> None:
        """Count a cold start that nobody has asked for yet. Raises ApiError, and nobody pays, where one of those whose
        it would be has had his share."""
        client, limit = asked.request.client, self.entry.policy.cold_starts_per_hour
        if limit is not None and (wait := self.starts.wait(now)):
            raise self.rejected(errors.starts_limited(self.name, limit, "that it may have", wait))
        if self.addresses.limit is not None and (wait := self.addresses.wait(client, now)):
            raise self.rejected(errors.starts_limited(self.name, self.addresses.limit, "from one address", wait))
        if asked.grant is not None:
            try:
                asked.grant.allowance.start(now)
            except ApiError as error:
                raise self.rejected(error) from None
        self.starts.take(now)
        self.addresses.take(client, now)
        self.tally.starts += 1

    def back(self, held: Held, error: UpstreamError, *, delivered: bool) -> None:
        """The replica failed before its first byte: the request waits again, at its old place, or is told that enough
        replicas have had it."""
        now = self._loop.time()
        if self._deleted:
            self._refuse(held, errors.service_deleted(self.name))
            return
        held.retried = True
        held.dropped = str(error)
        self.tally.retries += 1
        patience = OTHER_REPLICA_SECONDS if error.why == "closed" else 0.0
        if not self.hold.back(held.ticket, now, delivered=delivered, patience=patience):
            self._refuse(held, errors.engine_failed(self.name, str(error)))
        if not self._turn_soon:  # a replica that dies fails all its requests in one turn of the event loop
            self._turn_soon = True
            self._loop.call_soon(self._turn_once)

    def _turn_once(self) -> None:
        self._turn_soon = False
        self._turn()

    def unanswered(self, address: str) -> None:
        """A client gave up on a replica that had said nothing for long."""
        self.hold.unanswered(address, self._loop.time())

    def leave(self, held: Held) -> None:
        """The request is over."""
        self.hold.leave(held.ticket)
        self._forget(held)
        self._turn()

    def reject(self, held: Held, error: ApiError) -> None:
        """A request that was let in is over, with an error of ours."""
        self._refuse(held, error)
        self._turn()

    def fault(self, held: Held, error: Exception) -> None:
        """A mistake of ours, which costs this one request."""
        self._failed("dispatch", error)
        self._refuse(held, errors.internal(self.name))
        self._turn()

    def held_bytes(self) -> int:
        """Of the bodies of requests that are not answered yet. A walk: for when memory is short."""
        return sum(held.response.held for held in self._held.values())

    def delete(self) -> None:
        """The LLMService is gone: nobody waits for it any longer. Answers under way go on."""
        self._deleted = True
        self.hold.set_ready((), self._loop.time())
        for ticket in self.hold.tickets():
            self._refuse(self._held[ticket], errors.service_deleted(self.name))
        self._stop_timers()

    def close(self) -> None:
        """The process ends: whoever is still here is told."""
        # Who waits first: nobody is sent to a replica that somebody else has just given up.
        for held in sorted(self._held.values(), key=lambda held: not held.ticket.waiting):
            held.cut()
        self._stop_timers()

    def _stop_timers(self) -> None:
        for timer in (self._expiry, self._retry, self._sweep, self._lease):
            if timer is not None:
                timer.cancel()

    def rejected(self, error: ApiError) -> ApiError:
        """Count a request that is answered with an error of ours."""
        self.tally.rejected[error.code or error.type] += 1
        self.tally.responses[error.status] += 1
        return error

    def retry_after(self) -> float:
        """Seconds after which a client should try again: an answer may be over then where a replica is ready; else
        from what earlier cold starts took."""
        if self.hold.ready:
            return _BUSY_RETRY_AFTER
        remaining = self._remaining(self._loop.time())
        return _DEFAULT_RETRY_AFTER if remaining is None else max(1.0, remaining)

    def _remaining(self, now: float) -> float | None:
        """Seconds until ready, as far as earlier starts tell; of what is in its way they tell nothing."""
        return None if self.entry.trouble is not None else self.cold_starts.remaining(now)

    def chunk(self, kind: Kind, now: float, *, asked: bool = False) -> bytes:
        """The heartbeat for every client that is due about now. `asked`: a replica has its request."""
        made = self._chunks.get((kind, asked))
        if made is not None and now - made[0] < _CHUNK_SECONDS:
            return made[1]
        starts = self.cold_starts
        ready = self.hold.ready
        data = beat_chunk(
            kind,
            "answering" if asked else "queued" if ready else starts.phase,
            starts.elapsed(now),
            self._remaining(now),
            None if ready else self.entry.trouble,
        )
        self._chunks[kind, asked] = (now, data)
        return data

    def _cold_start(self, now: float) -> None:
        if self.hold.cold_since is None:
            return
        if self.cold_starts.elapsed(now) == 0.0:
            log.info("cold start asked for", extra=fields(service=self.name))
        self.cold_starts.begin(self.hold.cold_since)
        if self._lease is None:
            self._lease = self._loop.call_at(self.hold.lease_until + 0.002, self._lease_over)

    def _lease_over(self) -> None:
        """A start that brought nothing, and for which nobody waits any longer, is over."""
        self._lease = None
        now = self._loop.time() + 0.001
        if self.hold.give_up(now):
            log.warning("cold start given up", extra=fields(service=self.name, after=self.cold_starts.elapsed(now)))
            self.cold_starts.abandon()
            self._on_demand(self.entry.key)
        elif self.hold.cold_since is not None:
            # Renewed, or somebody waits still, whose own end comes first.
            due = max(self.hold.lease_until, now + self.hold.activation_timeout * bool(self.hold.waiting))
            self._lease = self._loop.call_at(due + 0.002, self._lease_over)

    def _beat(self, held: Held) -> None:
        if held.state == "waiting" and not held.beating and (due := held.first_beat()) is not None:
            held.beating = True
            self._heartbeats.add(held, due)

    def _look_for_silence(self) -> None:
        """Let those beat whose replica says nothing: their clients must hear something before a proxy cuts them off.
        And end those of which nothing has come for too long."""
        self._sweep = None
        now = self._loop.time()
        soon, overdue = now + SWEEP_SECONDS, []
        for held in self._held.values():
            if held.overdue(now):
                overdue.append(held)
                continue
            if not held.beating and not held.spoken and held.may_be_told():
                due = held.first_beat()
                if due is not None and due <= soon:
                    held.beating = True
                    self._heartbeats.add(held, due)
        for held in overdue:
            if held.state != "over":  # who ended before it may have taken it along
                held.time_out()
        if self._held:
            self._sweep = self._loop.call_later(SWEEP_SECONDS, self._look_for_silence)

    def _turn(self) -> None:
        """Do what follows from the hold's new state. What a request does in its turn may be another turn's cause: that
        one comes behind it, not into it."""
        if self._turning:
            return
        self._turning = True
        try:
            while self.hold.waiting:
                now = self._loop.time()
                sent = self.hold.dispatch(now)
                for ticket, address in sent:
                    if (held := self._held.get(ticket)) is not None:
                        self._go(held, address, now)
                hopeless = self.hold.hopeless(now)
                for ticket in hopeless:
                    held = self._held[ticket]
                    error = errors.engine_failed(self.name, f"{held.dropped}; there is no other replica")
                    self._refuse(held, error)
                if not sent and not hopeless:
                    self._arm_expiry()
                    self._arm_retry(now)
                    break
        finally:
            self._turning = False
        self._on_demand(self.entry.key)

    def _go(self, held: Held, address: str, now: float) -> None:
        if now - held.ticket.arrived > _HELD_FROM and not held.retried:
            self.tally.held.observe(now - held.ticket.arrived)
        held.sent_at = now
        try:
            held.step("dispatched")
            held.go(address)
        except Exception as error:  # noqa: BLE001 - told by `failed`; of consequence for this one alone
            self.fault(held, error)

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
        for ticket in self.hold.tickets():
            if ticket.arrived + timeout > now:
                break
            held = self._held[ticket]
            if not self.hold.ready:
                why = self.entry.trouble or "it is still starting"
            elif held.retried:
                why = "its replicas could not be reached"
            else:
                why = "its replicas are busy"
            self._refuse(held, errors.activation_timed_out(self.name, timeout, self.retry_after(), why))
        self._turn()

    def _refuse(self, held: Held, error: ApiError) -> None:
        self.hold.leave(held.ticket)
        self._forget(held)
        self.rejected(error)
        try:
            held.refuse(error)
        except Exception as fault:  # noqa: BLE001 - told by `failed`; of consequence for this one alone
            self._failed("refusal", fault)

    def _forget(self, held: Held) -> None:
        self._held.pop(held.ticket, None)

    def _arm_retry(self, now: float) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        due = self.hold.next_dispatch(now)
        hopeless = self.hold.next_hopeless()
        if hopeless is not None and (due is None or hopeless < due):
            due = hopeless
        if due is not None:
            self._retry = self._loop.call_at(due + 0.002, self._retried)

    def _retried(self) -> None:
        self._retry = None
        self._turn()
