"""The hold queue: examples for each rule, and a state machine that no sequence of events may confuse."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from hearth.activator.lane.hold import (
    DELIVERIES,
    EJECT_FIRST,
    EJECT_LAST,
    LEASE_AFTER_READY,
    LEASE_BEYOND_TIMEOUT,
    UNANSWERED,
    Hold,
    QueueFull,
    Ticket,
)
from tests.machines import far_enough

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
    held.back(first, 1.0, delivered=False, patience=0.0)
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
        held.back(ticket, now, delivered=False, patience=0.0)
        due = held.next_dispatch(now)
        assert due is not None
        rests.append(round(due - now, 3))
        now = due
    assert rests == [EJECT_FIRST, EJECT_FIRST * 2, EJECT_FIRST * 4]
    held.dispatch(now)
    held.answered(E1)
    held.back(ticket, now, delivered=False, patience=0.0)
    assert held.next_dispatch(now) == pytest.approx(now + EJECT_FIRST)


def test_a_replica_that_fails_for_ever_is_tried_again_for_ever() -> None:
    held = hold()
    held.set_ready([E1], 0)
    ticket = held.arrive(0)
    now = 0.0
    for _ in range(1100):  # 2 to the power of 1,024 is no float any more
        assert held.dispatch(now) == [(ticket, E1)]
        held.back(ticket, now, delivered=False, patience=0.0)
        due = held.next_dispatch(now)
        assert due is not None
        assert due - now == pytest.approx(EJECT_LAST) or due - now < EJECT_LAST
        now = due


class TestDelivered:
    """A request that a replica had and did not answer may be what it died of."""

    def test_it_goes_to_one_other_replica_at_most(self) -> None:
        held = hold()
        held.set_ready([E1, E2], 0)
        ticket = held.arrive(0)
        ((_, first),) = held.dispatch(0)
        assert held.back(ticket, 0, delivered=True, patience=5.0)
        ((_, second),) = held.dispatch(10)
        assert {first, second} == {E1, E2}
        assert not held.back(ticket, 10, delivered=True, patience=5.0)
        assert (held.waiting, held.in_flight) == (0, 0)

    def test_others_pass_it_where_there_is_no_other_replica(self) -> None:
        held = hold()
        held.set_ready([E1], 0)
        ticket = held.arrive(0)
        held.dispatch(0)
        held.back(ticket, 0, delivered=True, patience=5.0)
        later = held.arrive(1)
        assert held.dispatch(1) == [(later, E1)]
        assert held.oldest() is ticket

    def test_without_another_replica_it_is_hopeless_after_its_patience(self) -> None:
        held = hold()
        held.set_ready([E1], 0)
        ticket = held.arrive(0)
        held.dispatch(0)
        held.back(ticket, 0, delivered=True, patience=5.0)
        assert (held.hopeless(4.9), held.next_hopeless()) == ([], 5.0)
        assert held.hopeless(5.0) == [ticket]

    def test_a_replica_that_was_seen_to_die_may_have_it_when_it_is_back(self) -> None:
        held = hold()
        held.set_ready([E1], 0)
        ticket = held.arrive(0)
        held.dispatch(0)
        held.back(ticket, 0, delivered=True, patience=5.0)
        held.set_ready([], 1)
        assert held.hopeless(50.0) == []
        assert held.lease(1), "the last replica is lost, and somebody waits: a start is asked for"
        held.set_ready([E1], 50)
        assert held.dispatch(50) == [(ticket, E1)]

    def test_one_that_its_other_replica_refused_stands_in_nobodys_way(self) -> None:
        held = hold()
        held.set_ready([E1, E2], 0)
        ticket = held.arrive(0)
        ((_, first),) = held.dispatch(0)
        held.back(ticket, 0, delivered=True, patience=5.0)
        held.dispatch(0)
        held.set_ready([first], 1)
        held.back(ticket, 1, delivered=False, patience=0.0)
        later = held.arrive(10)
        assert held.dispatch(10) == [(later, first)]
        assert held.hopeless(10) == [ticket]

    def test_while_the_other_replica_is_full_it_waits(self) -> None:
        held = hold(concurrency=1)
        held.set_ready([E1], 0)
        ticket = held.arrive(0)
        held.dispatch(0)
        held.set_ready([E1, E2], 0)
        busy = held.arrive(0)
        assert held.dispatch(0) == [(busy, E2)]
        held.back(ticket, 0, delivered=True, patience=0.0)
        assert held.hopeless(100) == []
        held.leave(busy)
        assert held.dispatch(100) == [(ticket, E2)]


def test_a_replica_that_clients_give_up_on_rests() -> None:
    held = hold()
    held.set_ready([E1], 0)
    for _ in range(UNANSWERED):
        assert held.next_dispatch(0) is None
        ticket = held.arrive(0)
        held.dispatch(0)
        held.leave(ticket)
        held.unanswered(E1, 0)
    held.arrive(0)
    assert held.dispatch(0) == []
    assert held.next_dispatch(0) == EJECT_FIRST


def test_an_answer_makes_up_for_clients_that_gave_up() -> None:
    held = hold()
    held.set_ready([E1], 0)
    for _ in range(UNANSWERED * 2):
        held.unanswered(E1, 0)
        held.answered(E1)
    ticket = held.arrive(0)
    assert held.dispatch(0) == [(ticket, E1)]


def test_who_comes_and_leaves_behind_one_that_waits_is_forgotten() -> None:
    held = hold(max_queue=10)
    first = held.arrive(0)
    for _ in range(1000):
        held.leave(held.arrive(0))
    assert held.tickets() == [first]
    assert len(held._line) < 100


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


def test_an_update_forgives_no_replica_that_rests() -> None:
    held = hold()
    held.set_ready([E1], 0)
    ticket = held.arrive(0)
    held.dispatch(0)
    held.back(ticket, 0, delivered=False, patience=0.0)
    held.set_ready([E1, E2], 0.1)
    assert held.dispatch(0.1) == [(ticket, E2)]
    assert held.arrive(0.1).waiting
    held.set_ready([E1], 0.1)
    assert held.dispatch(0.1) == []


def test_a_replica_that_is_gone_and_has_nothing_takes_no_room() -> None:
    held = hold()
    held.set_ready([E1, E2], 0)
    ticket = held.arrive(0)
    ((_, address),) = held.dispatch(0)
    held.set_ready([], 1)
    assert list(held._endpoints) == [address], "it finishes what it has"
    held.leave(ticket)
    assert held._endpoints == {}


def test_who_left_is_not_hopeless() -> None:
    held = hold()
    held.set_ready([E1], 0)
    ticket = held.arrive(0)
    held.dispatch(0)
    held.back(ticket, 0, delivered=True, patience=5.0)
    held.leave(ticket)
    assert (held.hopeless(100), held.next_hopeless(), held.oldest(), held.tickets()) == ([], None, None, [])


class TestLease:
    @pytest.mark.parametrize("delivered", [True, False])
    def test_a_request_that_comes_back_asks_for_a_start_where_no_replica_is_left(self, delivered: bool) -> None:
        held = hold()
        held.set_ready([E1], 0)
        ticket = held.arrive(0)
        held.dispatch(0)
        held.set_ready([], 1)
        assert not held.lease(1), "it is being answered"
        held.back(ticket, 2, delivered=delivered, patience=5.0)
        assert (held.lease(2), held.cold_since) == (True, 2)

    @pytest.mark.parametrize("delivered", [True, False])
    def test_and_asks_for_none_where_there_is_one(self, delivered: bool) -> None:
        held = hold()
        held.set_ready([E1], 0)
        ticket = held.arrive(0)
        held.dispatch(0)
        held.back(ticket, 2, delivered=delivered, patience=5.0)
        assert (held.lease(2), held.cold_since) == (False, None)

    def test_it_lasts_as_long_as_the_newest_request_may_be_held_and_ten_minutes(self) -> None:
        held = hold()
        first = held.arrive(0)
        held.leave(held.arrive(50))
        assert (held.cold_since, held.lease_until) == (0, 50 + 60 + LEASE_BEYOND_TIMEOUT)
        assert not held.give_up(held.lease_until), "somebody waits"
        held.leave(first)
        assert not held.give_up(held.lease_until - 0.1)
        assert held.give_up(held.lease_until)
        assert not held.give_up(held.lease_until), "it is over once"

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


class TestLooks:
    """What may not start a replica asks for none, and keeps none."""

    def test_it_is_no_request_that_counts(self) -> None:
        held = hold()
        held.set_ready([E1], 0.0)
        held.arrive(0.0, asks=False)
        assert (held.requests, held.waiting, held.looks_waiting) == (0, 1, 1)
        held.dispatch(0.0)
        assert (held.looks_waiting, held.looks_in_flight, held.in_flight) == (0, 1, 1)

    def test_it_asks_for_no_start_where_its_replica_goes(self) -> None:
        held = hold()
        held.set_ready([E1], 0.0)
        ticket = held.arrive(0.0, asks=False)
        held.dispatch(0.0)
        held.set_ready([], 1.0)
        held.back(ticket, 1.0, delivered=False, patience=0.0)
        assert (held.waiting, held.cold_since, held.lease(1.0)) == (1, None, False)

    def test_nor_while_it_waits_for_a_full_one(self) -> None:
        held = hold(concurrency=1)
        held.set_ready([E1], 0.0)
        held.arrive(0.0, asks=False)
        held.dispatch(0.0)
        held.arrive(0.0, asks=False)
        held.set_ready([], 1.0)
        assert (held.waiting, held.cold_since) == (1, None)


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
        sent = [ticket for ticket, _ in self.hold.dispatch(self.now)]
        plain = [ticket.number for ticket in sent if ticket.avoid is None]
        assert plain == sorted(plain), "oldest first"
        left = [ticket.number for ticket in self.hold.tickets() if ticket.avoid is None]
        assert not left or all(number < left[0] for number in plain), "nobody is passed"
        assert all(ticket.endpoint in self.ready for ticket in sent)
        for ticket in self.hold.hopeless(self.now):
            self.hold.leave(ticket)
            self.alive.remove(ticket)

    @rule(target=tickets, asks=st.booleans())
    def arrive(self, asks: bool) -> Ticket | None:
        try:
            ticket = self.hold.arrive(self.now, asks=asks)
        except QueueFull:
            assert len(self.alive) == 8
            return None
        self.alive.add(ticket)
        self._dispatch()
        return ticket

    @rule(ticket=consumes(tickets))
    def leave(self, ticket: Ticket | None) -> None:
        if ticket is not None and ticket in self.alive:
            self.hold.leave(ticket)
            self.alive.remove(ticket)
            self._dispatch()

    @rule(ticket=tickets, delivered=st.booleans(), patience=st.sampled_from([0.0, 5.0]))
    def fail(self, ticket: Ticket | None, delivered: bool, patience: float) -> None:
        if ticket is not None and ticket in self.alive and ticket.endpoint is not None:
            deliveries, endpoint = ticket.deliveries + delivered, ticket.endpoint
            if self.hold.back(ticket, self.now, delivered=delivered, patience=patience):
                assert deliveries < DELIVERIES
                assert not delivered or (ticket.avoid or ("",))[0] == endpoint
            else:
                assert deliveries == DELIVERIES
                self.alive.remove(ticket)
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
        looks = [ticket for ticket in self.alive if not ticket.asks]
        assert self.hold.looks_waiting == sum(1 for ticket in looks if ticket.waiting)
        assert self.hold.looks_in_flight == sum(1 for ticket in looks if ticket.endpoint is not None)
        waiting = [ticket for ticket in self.alive if ticket.waiting]
        assert self.hold.tickets() == sorted(waiting, key=lambda ticket: ticket.number)

    @invariant()
    def no_replica_has_more_than_its_share(self) -> None:
        for address in self.ready:
            assert sum(1 for ticket in self.alive if ticket.endpoint == address) <= 2

    @invariant()
    def whoever_waits_for_a_cold_model_is_demand(self) -> None:
        # Bounded by itself: the lease goes on 10 minutes behind the last moment at which somebody could be held.
        newest = max((ticket.arrived for ticket in self.alive if ticket.waiting and ticket.asks), default=None)
        if newest is not None and not self.ready and self.now < newest + 60.0:
            assert self.hold.lease(self.now)

    @precondition(lambda self: self.hold.waiting and self.ready)
    @invariant()
    def nobody_waits_for_a_free_replica(self) -> None:
        room = any(sum(1 for t in self.alive if t.endpoint == address) < 2 for address in self.ready)
        if room and any(ticket.avoid is None for ticket in self.hold.tickets()):
            assert self.hold.next_dispatch(self.now) is not None, "only resting replicas have room"


TestHoldMachine = HoldMachine.TestCase
TestHoldMachine.settings = far_enough()
