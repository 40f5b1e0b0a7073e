"""Budgets of cold starts, and pages of others that ask for none."""

import pytest

from hearth.activator.errors import ApiError
from hearth.activator.origins import Origins
from hearth.activator.starts import MOST_ADDRESSES, AddressStarts, ServiceStarts, network_of
from tests.unit.activator.lane import E1, Lane

LIMITED = "spec.endpoint.coldStart.maxPerHour=1"


class TestAddresses:
    def test_each_has_its_own_hour(self) -> None:
        starts = AddressStarts(2)
        for _ in range(2):
            assert starts.wait("192.0.2.1", 0.0) == 0.0
            starts.take("192.0.2.1", 0.0)
        assert starts.wait("192.0.2.1", 0.0) == 1800.0
        assert starts.wait("192.0.2.2", 0.0) == 0.0
        assert starts.wait("192.0.2.1", 1800.0) == 0.0

    def test_without_a_limit_nobody_is_remembered(self) -> None:
        starts = AddressStarts()
        for _ in range(1000):
            starts.take("192.0.2.1", 0.0)
        assert starts.wait("192.0.2.1", 0.0) == 0.0
        assert not starts._buckets

    def test_there_are_not_more_than_may_be(self) -> None:
        starts = AddressStarts(1)
        for number in range(MOST_ADDRESSES + 100):
            starts.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
        assert len(starts._buckets) == MOST_ADDRESSES
        starts.take("192.0.2.1", 7200.0)
        assert len(starts._buckets) == 1, "who has everything left is forgotten"

    @pytest.mark.parametrize(
        ("client", "network"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3::4", "2001:db8:1::/56"),
            ("2001:db8:1:ff:ffff::1", "2001:db8:1::/56"),
            ("2001:db8:1:102::1", "2001:db8:1:100::/56"),
            ("fe80::1%eth0", "fe80::/56"),
            ("", ""),
            ("testclient", "testclient"),
        ],
    )
    def test_what_an_address_is_counted_as(self, client: str, network: str) -> None:
        assert network_of(client) == network


class TestServices:
    def test_another_limit_forgets_nothing(self) -> None:
        starts = ServiceStarts()
        starts.relimit(1, 0.0)
        starts.take(0.0)
        assert starts.wait(0.0) == 3600.0
        starts.relimit(2, 0.0)
        assert starts.wait(0.0) == 0.0
        starts.take(0.0)
        starts.relimit(None, 0.0)
        assert starts.wait(0.0) == 0.0


def refused(lane: Lane) -> ApiError:
    with pytest.raises(ApiError) as raised:
        lane.admit()
    return raised.value


class TestAtTheGate:
    async def test_a_start_is_counted_and_not_who_joins_it(self) -> None:
        lane = Lane(LIMITED)
        for _ in range(5):
            lane.admit()
        assert lane.tally.starts == 1

    async def test_the_next_start_has_to_wait_and_wakes_nothing(self) -> None:
        lane = Lane(LIMITED)
        lane.gate.leave(lane.admit())
        lane.ready(E1)
        lane.gate.leave(lane.admit())
        lane.ready()
        lane.told.clear()
        asked = lane.gate.hold.requests
        error = refused(lane)
        assert (error.status, error.code) == (429, "cold_starts_limited")
        headers = dict(error.headers)
        assert (headers[b"retry-after"], headers[b"x-should-retry"]) == (b"3600", b"false")
        assert (lane.gate.hold.requests, lane.gate.hold.cold_since, lane.told) == (asked, None, [])
        assert lane.tally.rejected["cold_starts_limited"] == 1
        lane.ready(E1)
        lane.admit()
        lane.ready()
        lane.clock.advance(3600)
        lane.admit()
        assert lane.tally.starts == 2

    async def test_a_start_that_somebody_else_asked_for_costs_nothing(self) -> None:
        """Of another activator, of a schedule, of scaling.min: its status says that it is under way."""
        lane = Lane(LIMITED)
        lane.update(cold_start_phase="loading")
        for _ in range(3):
            lane.admit()
        assert lane.tally.starts == 0

    async def test_replicas_that_are_not_ready_for_a_moment_cost_nothing(self) -> None:
        lane = Lane(LIMITED)
        for _ in range(3):
            lane.update(ready=frozenset({E1}))
            lane.update(ready=frozenset(), starting=frozenset({E1}))
            lane.gate.leave(lane.admit())
        assert lane.tally.starts == 0

    async def test_who_does_not_wait_asks_for_one_too(self) -> None:
        lane = Lane(LIMITED, "spec.endpoint.coldStart.mode=reject")
        assert refused(lane).code == "model_starting"
        assert refused(lane).code == "model_starting"
        lane.ready(E1)
        lane.ready()
        assert refused(lane).code == "cold_starts_limited"

    async def test_one_that_is_refused_costs_nobody_anything(self) -> None:
        """An address over its budget must not use up the LLMService's."""
        lane = Lane(LIMITED)
        lane.gate.addresses.limit = 1
        lane.gate.addresses.take("", lane.clock.time())
        assert "from one address" in refused(lane).message
        assert lane.gate.starts.wait(lane.clock.time()) == 0.0
        lane.gate.addresses.limit = None
        lane.admit()


PAGE = {b"origin": b"https://evil.example", b"host": b"llm.example", b"content-type": b"text/plain"}


class TestPagesOfOthers:
    @pytest.mark.parametrize(
        ("method", "changes", "expected"),
        [
            ("POST", {}, True),
            ("POST", {b"content-type": b"TEXT/PLAIN; charset=utf-8"}, True),
            ("POST", {b"content-type": b"application/x-www-form-urlencoded"}, True),
            ("POST", {b"content-type": b"multipart/form-data; boundary=x"}, True),
            ("POST", {b"content-type": None}, True),
            ("POST", {b"origin": b"null"}, True),
            ("POST", {b"sec-fetch-site": b"cross-site"}, True),
            ("POST", {b"sec-fetch-site": b"same-site"}, True),
            ("POST", {b"origin": None, b"sec-fetch-site": b"cross-site"}, True),
            ("POST", {b"host": b"evil.example.llm.example"}, True),
            # no browser sends these without having asked first
            ("POST", {b"content-type": b"application/json"}, False),
            ("DELETE", {}, False),
            ("GET", {}, False),
            # no page at all
            ("POST", {b"origin": None}, False),
            # its own page
            ("POST", {b"sec-fetch-site": b"same-origin"}, False),
            ("POST", {b"sec-fetch-site": b"none"}, False),
            ("POST", {b"host": b"evil.example"}, False),
            ("POST", {b"host": b"EVIL.example:443"}, False),
            ("POST", {b"x-forwarded-host": b"evil.example"}, False),
            # a page that is let in
            ("POST", {b"origin": b"https://chat.example"}, False),
        ],
    )
    def test_a_request_that_a_page_sends_unasked(
        self, method: str, changes: dict[bytes, bytes | None], expected: bool
    ) -> None:
        fields = {name: value for name, value in {**PAGE, **changes}.items() if value is not None}
        assert Origins(["https://chat.example"]).unasked(method, fields) is expected

    def test_where_every_page_is_let_in_every_page_is(self) -> None:
        assert not Origins(["*"]).unasked("POST", PAGE)
