"""The hold queue: examples for each rule, and a state machine that no sequence of events may confuse."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from hearth.activator.hold import EJECT_FIRST, LEASE_AFTER_READY, LEASE_BEYOND_TIMEOUT, Hold, QueueFull, Ticket

E1, E2 = "10.0.0.1:8000", "10.0.0.2:8000"


def hold(max_queue: int = 100, concurrency: int = 10) -> Hold:
    return Hold(max_queue, concurrency, activation_timeout=60.0)


def test_requests_wait_until_a_replica_is_ready_and_then_go_oldest_first() -> None:
    held = hold(concurrency=2)
    tickets = [held.arrive(now) for now in range(4)]
    assert held.dispatch(4) == []
    held.set_ready([E1], 5)
    assert held.dispatch(5) == [(tickets[0], E1), (tickets[1], E1)]
    assert (held.waiting, held.in_flight) == (2, 2)


def test_they_are_spread_by_least_outstanding() -> None:
    held = hold()
    held.set_ready([E1, E2], 0)
    tickets = [held.arrive(0) for _ in range(4)]
    sent = held.dispatch(0)
    assert sorted(address for _, address in sent) == [E1, E1, E2, E2]
    for ticket, address in sent:
        if address == E1:
            held.leave(ticket)
    held.arrive(1)
    assert held.dispatch(1)[0][1] == E1
    assert tickets[0].endpoint in (E1, None)


def test_a_new_replica_takes_what_waits_at_once() -> None:
    held = hold(concurrency=1)
    held.set_ready([E1], 0)
    first, second = held.arrive(0), held.arrive(0)
    assert held.dispatch(0) == [(first, E1)]
    held.set_ready([E1, E2], 1)
    assert held.dispatch(1) == [(second, E2)]


def test_over_max_queue_nobody_is_admitted() -> None:
    held = hold(max_queue=2, concurrency=1)
    held.set_ready([E1], 0)
    held.arrive(0)
    held.dispatch(0)
    leaver = held.arrive(0)
    with pytest.raises(QueueFull):
        held.arrive(0)
    held.leave(leaver)
    held.arrive(0)


def test_a_failed_request_goes_back_to_its_old_place_and_the_replica_rests() -> None:
    held = hold(concurrency=1)
    held.set_ready([E1], 0)
    first, second = held.arrive(0), held.arrive(0)
    held.dispatch(0)
    held.back(first, 1.0)
    assert held.dispatch(1.0) == []
    assert held.next_dispatch(1.0) == 1.0 + EJECT_FIRST
    assert held.dispatch(1.0 + EJECT_FIRST) == [(first, E1)]
    assert second.waiting


def test_a_replica_that_goes_on_failing_rests_longer_until_it_answers() -> None:
    held = hold()
    held.set_ready([E1], 0)
    ticket = held.arrive(0)
    rests = []
    now = 0.0
    for _ in range(3):
        held.dispatch(now)
        held.back(ticket, now)
        due = held.next_dispatch(now)
        assert due is not None
        rests.append(round(due - now, 3))
        now = due
    assert rests == [EJECT_FIRST, EJECT_FIRST * 2, EJECT_FIRST * 4]
    held.dispatch(now)
    held.answered(E1)
    held.back(ticket, now)
    assert held.next_dispatch(now) == pytest.approx(now + EJECT_FIRST)


def test_a_replica_that_left_finishes_what_it_has() -> None:
    held = hold()
    held.set_ready([E1], 0)
    ticket = held.arrive(0)
    held.dispatch(0)
    held.set_ready([], 1)
    assert held.in_flight == 1
    assert not held.ready
    held.leave(ticket)
    assert held.in_flight == 0


class TestLease:
    def test_it_holds_while_the_model_loads_though_every_client_left(self) -> None:
        held = hold()
        held.leave(held.arrive(0))
        assert held.waiting == 0
        assert held.lease(59)

    def test_it_ends_some_time_after_the_first_replica_is_ready(self) -> None:
        held = hold()
        held.leave(held.arrive(0))
        held.set_ready([E1], 40)
        assert held.lease(40 + LEASE_AFTER_READY - 0.1)
        assert not held.lease(40 + LEASE_AFTER_READY)

    def test_a_start_that_brings_nothing_is_given_up(self) -> None:
        held = hold()
        held.leave(held.arrive(0))
        assert held.lease(60 + LEASE_BEYOND_TIMEOUT - 1)
        assert not held.lease(60 + LEASE_BEYOND_TIMEOUT)

    def test_a_warm_request_needs_none(self) -> None:
        held = hold()
        held.set_ready([E1], 0)
        held.arrive(1)
        assert not held.lease(1)

    def test_reject_mode_asks_without_waiting(self) -> None:
        held = hold()
        held.ask(0)
        assert held.waiting == 0
        assert held.lease(1)


class HoldMachine(RuleBasedStateMachine):
    """Clients come, leave and are answered; replicas come, go and fail; in any order."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.hold = Hold(max_queue=8, concurrency=2, activation_timeout=60.0)
        self.now = 0.0
        self.alive: set[Ticket] = set()
        self.ready: set[str] = set()

    def _dispatch(self) -> None:
        waiting = list(self.hold.tickets())
        sent = [ticket for ticket, _ in self.hold.dispatch(self.now)]
        assert sent == waiting[: len(sent)], "oldest first"
        assert all(ticket.endpoint in self.ready for ticket in sent)

    @rule(target=tickets)
    def arrive(self) -> Ticket | None:
        try:
            ticket = self.hold.arrive(self.now)
        except QueueFull:
            assert len(self.alive) == 8
            return None
        self.alive.add(ticket)
        self._dispatch()
        return ticket

    @rule(ticket=consumes(tickets))
    def leave(self, ticket: Ticket | None) -> None:
        if ticket is not None:
            self.hold.leave(ticket)
            self.alive.remove(ticket)
            self._dispatch()

    @rule(ticket=tickets)
    def fail(self, ticket: Ticket | None) -> None:
        if ticket is not None and ticket in self.alive and ticket.endpoint is not None:
            self.hold.back(ticket, self.now)
            self._dispatch()

    @rule(ready=st.sets(st.sampled_from([E1, E2, "10.0.0.3:8000"])))
    def replicas(self, ready: set[str]) -> None:
        self.ready = ready
        self.hold.set_ready(ready, self.now)
        self._dispatch()

    @rule(seconds=st.floats(min_value=0.01, max_value=10))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._dispatch()

    @invariant()
    def figures_are_the_truth(self) -> None:
        assert self.hold.waiting == sum(1 for ticket in self.alive if ticket.waiting)
        assert self.hold.in_flight == sum(1 for ticket in self.alive if ticket.endpoint is not None)
        assert self.hold.waiting + self.hold.in_flight == len(self.alive)
        waiting = [ticket for ticket in self.alive if ticket.waiting]
        assert self.hold.tickets() == sorted(waiting, key=lambda ticket: ticket.number)

    @invariant()
    def no_replica_has_more_than_its_share(self) -> None:
        for address in self.ready:
            assert sum(1 for ticket in self.alive if ticket.endpoint == address) <= 2

    @invariant()
    def whoever_waits_for_a_cold_model_is_demand(self) -> None:
        if self.hold.waiting and not self.ready:
            assert self.hold.lease(self.now) or self.hold.waiting

    @precondition(lambda self: self.hold.waiting and self.ready)
    @invariant()
    def nobody_waits_for_a_free_replica(self) -> None:
        room = any(sum(1 for t in self.alive if t.endpoint == address) < 2 for address in self.ready)
        if room:
            assert self.hold.next_dispatch(self.now) is not None, "only resting replicas have room"


TestHoldMachine = HoldMachine.TestCase
