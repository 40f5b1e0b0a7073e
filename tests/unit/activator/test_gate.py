"""The gate on a clock that the test moves: who is woken, told and let go, and when."""

from dataclasses import replace

import pytest

from hearth.activator.errors import ApiError
from hearth.activator.lane.gate import OPENING_SECONDS, SWEEP_SECONDS
from hearth.activator.lane.hold import EJECT_FIRST, LEASE_BEYOND_TIMEOUT, OTHER_REPLICA_SECONDS
from hearth.http1.upstream import UpstreamError
from tests.unit.activator.lane import E1, E2, Client, Lane

MINUTE = "spec.scaling.activationTimeout=1m"


def refused() -> UpstreamError:
    return UpstreamError("connection refused", "unreached")


def dropped() -> UpstreamError:
    return UpstreamError("closed", "closed")


def statuses(client: Client) -> list[int]:
    return [error.status for error in client.errors]


class TestTimeout:
    async def test_each_waiter_is_told_at_its_own_time(self) -> None:
        lane = Lane(MINUTE)
        first = lane.admit()
        lane.clock.advance(10)
        second, third = lane.admit(), lane.admit()
        lane.clock.advance(49.9)
        assert first.errors == []
        lane.clock.advance(0.2)
        assert (statuses(first), statuses(second)) == ([503], [])
        lane.clock.advance(9.8)
        assert second.errors == []
        lane.clock.advance(0.2)
        assert (statuses(second), statuses(third)) == ([503], [503])
        assert lane.gate.hold.waiting == 0
        assert lane.tally.rejected["activation_timeout"] == 3

    async def test_it_says_what_was_waited_for(self) -> None:
        lane = Lane(MINUTE)
        cold = lane.admit()
        lane.clock.advance(61)
        assert "still starting" in str(cold.errors[0].message)
        lane.update(MINUTE, "spec.endpoint.concurrency=1")
        lane.ready(E1)
        lane.admit()
        busy = lane.admit()
        lane.clock.advance(61)
        assert "busy" in str(busy.errors[0].message)

    async def test_what_keeps_replicas_away_is_told_and_no_time_is_promised(self) -> None:
        lane = Lane(MINUTE)
        lane.gate.cold_starts.history = [{"loading": 5.0}]
        cold = lane.admit()
        assert lane.gate.retry_after() == 5.0
        lane.gate.update(replace(lane.gate.entry, trouble="its scaling is paused"))
        lane.clock.advance(61)
        (error,) = cold.errors
        assert "(scaling.activationTimeout): its scaling is paused; try again" in error.message
        assert error.retry_after == 30.0

    async def test_a_replica_that_can_not_be_reached_is_told_of(self) -> None:
        lane = Lane(MINUTE, ready=(E1,))
        client = lane.admit()
        while not client.errors:
            client.step("failed")
            lane.gate.back(client, refused(), delivered=False)
            lane.clock.advance(6)
        assert "could not be reached" in str(client.errors[0].message)

    async def test_a_timeout_that_is_shortened_counts_for_who_comes(self) -> None:
        lane = Lane("spec.scaling.activationTimeout=10m")
        lane.admit()
        lane.update(MINUTE)
        late = lane.admit()
        lane.clock.advance(61)
        assert statuses(late) == [503]


class TestRetries:
    async def test_a_single_replica_that_refused_once_is_tried_again(self) -> None:
        lane = Lane(ready=(E1,))
        client = lane.admit()
        client.step("failed")
        lane.gate.back(client, refused(), delivered=False)
        assert client.went == [E1]
        lane.clock.advance(EJECT_FIRST - 0.01)
        assert client.went == [E1]
        lane.clock.advance(0.02)
        assert client.went == [E1, E1]
        assert (client.state, client.errors, lane.tally.retries) == ("connecting", [], 1)

    async def test_who_was_dropped_goes_to_another_replica_at_once(self) -> None:
        lane = Lane(ready=(E1, E2))
        client = lane.admit()
        client.deliver()
        client.step("failed")
        lane.gate.back(client, dropped(), delivered=True)
        lane.clock.advance(0)  # the event loop's next turn, for all who were dropped together
        assert sorted(client.went) == [E1, E2]

    async def test_without_another_replica_it_is_told_after_its_patience(self) -> None:
        lane = Lane(ready=(E1,))
        client = lane.admit()
        client.deliver()
        client.step("failed")
        lane.gate.back(client, dropped(), delivered=True)
        lane.clock.advance(OTHER_REPLICA_SECONDS - 0.1)
        assert client.errors == []
        lane.clock.advance(0.2)
        assert (statuses(client), client.went) == ([502], [E1])

    async def test_one_that_was_answered_wrongly_has_no_patience(self) -> None:
        lane = Lane(ready=(E1,))
        client = lane.admit()
        client.deliver()
        client.step("failed")
        lane.gate.back(client, UpstreamError("no HTTP", "broken"), delivered=True)
        lane.clock.advance(0)
        assert statuses(client) == [502]

    async def test_two_replicas_that_had_it_are_enough(self) -> None:
        lane = Lane(ready=(E1, E2))
        client = lane.admit()
        for _ in range(2):
            client.deliver()
            client.step("failed")
            lane.gate.back(client, dropped(), delivered=True)
            lane.clock.advance(0)
        assert (statuses(client), len(client.went)) == ([502], 2)
        assert lane.gate.hold.in_flight == 0


class TestDemand:
    async def test_reject_mode_tells_demand_and_holds_nobody(self) -> None:
        lane = Lane("spec.endpoint.coldStart.mode=reject")
        client = lane.client()
        with pytest.raises(ApiError) as raised:
            lane.gate.admit(client)
        assert (raised.value.status, raised.value.code) == (503, "model_starting")
        assert lane.told == [lane.gate.entry.key]
        assert lane.gate.hold.lease(lane.clock.now)
        assert lane.gate.hold.waiting == 0
        assert lane.tally.rejected["model_starting"] == 1

    async def test_reject_mode_lets_in_who_finds_a_replica(self) -> None:
        lane = Lane("spec.endpoint.coldStart.mode=reject", ready=(E1,))
        assert lane.admit().went == [E1]

    async def test_a_look_at_a_cold_model_wakes_nothing(self) -> None:
        lane = Lane()
        client = lane.client(method="GET")
        with pytest.raises(ApiError) as raised:
            lane.gate.admit(client)
        assert raised.value.status == 503
        assert not lane.gate.hold.lease(lane.clock.now)
        assert lane.told == []

    async def test_it_is_told_whenever_somebody_comes_and_goes(self) -> None:
        lane = Lane(ready=(E1,))
        client = lane.admit()
        assert lane.told
        lane.told.clear()
        lane.gate.leave(client)
        assert lane.told
        assert lane.gate._held == {}

    async def test_a_lost_replica_begins_a_lease_for_who_waits(self) -> None:
        lane = Lane("spec.endpoint.concurrency=1", ready=(E1,))
        lane.admit()
        lane.admit()
        assert not lane.gate.hold.lease(lane.clock.now)
        lane.ready()
        assert lane.gate.hold.lease(lane.clock.now)

    async def test_a_start_that_brought_nothing_is_given_up_and_told(self) -> None:
        lane = Lane(MINUTE)
        client = lane.admit()
        client.step("left")
        lane.gate.leave(client)
        lane.clock.advance(60 + LEASE_BEYOND_TIMEOUT - 1)
        assert lane.gate.cold_starts.elapsed(lane.clock.now) > 600
        lane.told.clear()
        lane.clock.advance(2)
        assert lane.told
        assert not lane.gate.hold.lease(lane.clock.now)
        assert lane.gate.cold_starts.elapsed(lane.clock.now) == 0.0
        assert lane.gate._lease is None

    async def test_a_start_that_is_asked_for_again_goes_on(self) -> None:
        lane = Lane(MINUTE)
        lane.gate.leave(lane.admit())
        lane.clock.advance(300)
        lane.gate.leave(lane.admit())
        lane.clock.advance(60 + LEASE_BEYOND_TIMEOUT - 10)
        assert lane.gate.hold.lease(lane.clock.now)
        lane.clock.advance(11)
        assert lane.gate.hold.cold_since is None


class TestPolicy:
    async def test_a_changed_concurrency_counts_at_once(self) -> None:
        lane = Lane("spec.endpoint.concurrency=1", ready=(E1,))
        clients = [lane.admit() for _ in range(3)]
        assert [client.went for client in clients] == [[E1], [], []]
        lane.update("spec.endpoint.concurrency=2")
        assert [client.went for client in clients] == [[E1], [E1], []]

    async def test_a_changed_queue_counts_at_once(self) -> None:
        lane = Lane("spec.endpoint.maxQueue=1")
        lane.admit()
        with pytest.raises(ApiError) as raised:
            lane.admit()
        assert (raised.value.status, raised.value.code) == (429, "queue_full")
        lane.update("spec.endpoint.maxQueue=2")
        lane.admit()

    async def test_who_asks_while_nothing_was_learned_is_told_to_come_in_half_a_minute(self) -> None:
        assert Lane().gate.retry_after() == 30.0

    async def test_later_it_is_what_is_left_of_a_start_as_long_as_the_last(self) -> None:
        lane = Lane()
        lane.admit()
        lane.clock.advance(40)
        lane.ready(E1)
        lane.clock.advance(100)
        lane.ready()
        lane.admit()
        assert lane.gate.retry_after() == pytest.approx(40)
        lane.clock.advance(39.9)
        assert lane.gate.retry_after() == 1.0


class TestHeartbeats:
    async def test_a_streaming_client_is_due_at_once_and_a_whole_answer_later(self) -> None:
        lane = Lane("spec.endpoint.coldStart.whitespaceAfter=25s")
        now = lane.clock.now
        streaming, whole = lane.admit(stream=True), lane.admit()
        assert lane.beats.due == [(streaming, now + OPENING_SECONDS), (whole, now + 25)]

    async def test_a_form_or_a_switched_off_one_hears_nothing(self) -> None:
        lane = Lane("spec.endpoint.coldStart.whitespaceAfter=0s")
        lane.admit()
        lane.admit(path="/v1/audio/transcriptions")
        assert lane.beats.due == []

    async def test_it_writes_a_head_once_and_then_beats(self) -> None:
        lane = Lane("spec.endpoint.coldStart.heartbeatInterval=10s")
        client = lane.admit(stream=True)
        now = lane.clock.now + OPENING_SECONDS
        assert client.beat(now) == now + 10
        assert (client.written.status, client.opened) == (200, True)
        fields = dict(client.written.headers)
        assert fields[b"content-type"].startswith(b"text/event-stream")
        assert fields[b"x-hearth-cold-start"] == b"true"
        once = len(client.written.data)
        assert client.beat(now + 10) == now + 20
        assert len(client.written.data) > once
        assert lane.tally.heartbeats == 2

    async def test_before_its_time_it_writes_nothing_and_says_when(self) -> None:
        lane = Lane("spec.endpoint.coldStart.whitespaceAfter=25s")
        client = lane.admit()
        arrived = lane.clock.now
        assert client.beat(arrived + 24) == arrived + 25
        assert not client.written.started
        assert client.beat(arrived + 25) is not None
        assert client.written.data == b" "
        fields = dict(client.written.headers)
        assert (fields[b"content-type"], fields[b"x-hearth-waited-seconds"]) == (b"application/json", b"25.0")

    async def test_they_go_on_after_a_retry(self) -> None:
        lane = Lane("spec.endpoint.coldStart.heartbeatInterval=2s", ready=(E1,))
        client = lane.admit(stream=True)
        client.step("failed")
        lane.gate.back(client, refused(), delivered=False)
        lane.clock.advance(2 * SWEEP_SECONDS + 0.1)
        ((found, due),) = lane.beats.due
        assert found is client
        assert due == pytest.approx(1002.2, abs=0.01), "two seconds after it was sent once more"
        assert client.beat(due) == due + 2
        assert client.written.started

    async def test_who_is_overdue_ends_at_the_next_look_and_nobody_else(self) -> None:
        lane = Lane(ready=(E1,))
        clients = [lane.admit(stream=True) for _ in range(3)]
        for client in clients:
            client.deliver()
        clients[0].late = clients[2].late = True
        lane.clock.advance(SWEEP_SECONDS + 0.1)
        assert [client.timed_out for client in clients] == [1, 0, 1]
        assert lane.gate.hold.in_flight == 1
        lane.clock.advance(SWEEP_SECONDS + 0.1)
        assert [client.timed_out for client in clients] == [1, 0, 1]

    async def test_who_was_beaten_to_before_a_retry_is_beaten_to_after_it(self) -> None:
        lane = Lane("spec.endpoint.coldStart.heartbeatInterval=2s")
        client = lane.admit(stream=True)
        client.beat(lane.clock.now + 1)
        lane.ready(E1)
        client.deliver()
        client.step("failed")
        lane.gate.back(client, dropped(), delivered=True)
        before = len(client.written.data)
        assert client.beat(lane.clock.now + 3) == lane.clock.now + 5
        assert len(client.written.data) > before

    async def test_a_silent_replica_is_made_up_for_once(self) -> None:
        lane = Lane("spec.endpoint.coldStart.heartbeatInterval=5s", ready=(E1,))
        client = lane.admit(stream=True)
        client.deliver()
        lane.clock.advance(3.9)
        assert lane.beats.due == []
        lane.clock.advance(5)
        assert lane.beats.due == [(client, 1005.0)]

    async def test_who_hears_the_engine_hears_no_more_of_us(self) -> None:
        lane = Lane(ready=(E1,))
        client = lane.admit(stream=True)
        client.deliver()
        client.spoken = True
        assert client.beat(lane.clock.now + 100) is None
        client.spoken, client.tellable = False, False
        assert client.beat(lane.clock.now + 100) is None
        assert not client.written.started
        assert not client.beating

    async def test_clients_that_are_due_together_share_one_chunk(self) -> None:
        lane = Lane()
        lane.admit(stream=True)
        now = lane.clock.now
        made = lane.gate.chunk("chunk", now)
        assert lane.gate.chunk("chunk", now + 0.05) is made
        assert lane.gate.chunk("chunk", now + 0.2) is not made
        assert lane.gate.chunk("comment", now) != made
        assert b'"phase": "requested"' in made
        lane.ready(E1)
        assert b'"phase": "queued"' in lane.gate.chunk("chunk", now)
        assert b'"phase": "answering"' in lane.gate.chunk("chunk", now, asked=True)


class TestEnds:
    async def test_a_deleted_service_refuses_who_waits_and_leaves_the_answered(self) -> None:
        lane = Lane("spec.endpoint.concurrency=1", ready=(E1,))
        served, waiting = lane.admit(), lane.admit()
        lane.gate.delete()
        assert ([error.code for error in waiting.errors], served.errors) == (["model_deleted"], [])
        assert lane.clock.armed == 0

    async def test_at_the_end_who_waits_is_told_first(self) -> None:
        lane = Lane("spec.endpoint.concurrency=1", ready=(E1,))
        order: list[str] = []
        served, waiting = lane.admit(), lane.admit()
        served.cut = lambda: order.append("served")  # type: ignore[method-assign]
        waiting.cut = lambda: order.append("waiting")  # type: ignore[method-assign]
        lane.gate.close()
        assert order == ["waiting", "served"]
        assert lane.clock.armed == 0

    async def test_a_request_that_raises_fails_alone(self) -> None:
        lane = Lane()
        broken, other = lane.admit(), lane.admit()

        def go(address: str) -> None:
            raise OverflowError("a mistake of ours")

        broken.go = go  # type: ignore[method-assign]
        lane.ready(E1)
        assert (statuses(broken), other.went) == ([500], [E1])
        ((where, error),) = lane.failures
        assert (where, type(error)) == ("dispatch", OverflowError)
        assert lane.gate.hold.in_flight == 1

    async def test_only_who_waited_counts_as_held(self) -> None:
        lane = Lane(ready=(E1,))
        lane.admit()
        assert lane.tally.held.total == 0.0
        cold = Lane()
        cold.admit()
        cold.clock.advance(7)
        cold.ready(E1)
        assert cold.tally.held.total == pytest.approx(7)
        assert (lane.tally.cold, cold.tally.cold) == (0, 1)
