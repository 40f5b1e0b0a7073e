import pytest
import yaml

from hearth.api.key import ServiceKey
from hearth.kube.endpoints import Listing
from hearth.scaler.picture import GRACE_SECONDS, STANDS_SECONDS, Blind, Demand, DemandPicture, Figures
from tests.builders import ROOT

A, B = "10.0.0.1:9091", "10.0.0.2:9091"
KEY, OTHER = ServiceKey("ai", "qwen"), ServiceKey("ai", "llama")
WAITING = Figures(waiting=1, requests=1)
IDLE = Figures(requests=1)


GRACE = 150.0


def picture(*addresses: str) -> DemandPicture:
    made = DemandPicture(GRACE)
    list_ready(made, *addresses)
    return made


def list_ready(seen: DemandPicture, *addresses: str, now: float = 0) -> list[ServiceKey]:
    return seen.list_activators(dict.fromkeys(addresses, "ready"), now)


def test_queue_depth_is_waiting_and_in_flight_over_all_activators() -> None:
    seen = picture(A, B)
    seen.hear(A, {KEY: Figures(waiting=3, in_flight=2)}, snapshot=True, now=0)
    seen.hear(B, {KEY: Figures(waiting=1), OTHER: Figures(in_flight=9)}, snapshot=True, now=0)
    assert seen.demand(KEY, 0).queue_depth == 6
    assert seen.demand(OTHER, 0).queue_depth == 9


def test_what_nobody_asks_for_is_zero_when_every_activator_is_heard() -> None:
    seen = picture(A)
    seen.hear(A, {}, snapshot=True, now=0)
    assert seen.demand(KEY, 0).queue_depth == 0
    assert not seen.demand(KEY, 0).active


def test_a_lease_is_active_without_counting() -> None:
    seen = picture(A)
    seen.hear(A, {KEY: Figures(lease=True)}, snapshot=True, now=0)
    assert seen.demand(KEY, 0).active
    assert seen.demand(KEY, 0).queue_depth == 0


class TestBlindIsNotZero:
    def test_before_the_first_list(self) -> None:
        with pytest.raises(Blind, match="no list"):
            DemandPicture().demand(KEY, 0)

    def test_before_an_activator_was_heard(self) -> None:
        with pytest.raises(Blind, match=A):
            picture(A).demand(KEY, 0)

    def test_the_last_figures_of_one_that_is_silent_go_on_counting(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=100)
        for silent in (STANDS_SECONDS, STANDS_SECONDS + 0.01, 9000):
            assert seen.demand(KEY, 100 + silent).queue_depth == 1

    def test_zero_of_one_that_is_silent_stands_for_a_while_only(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: IDLE}, snapshot=True, now=100)
        assert not seen.demand(KEY, 100 + STANDS_SECONDS).active
        with pytest.raises(Blind, match=A):
            seen.demand(KEY, 100 + STANDS_SECONDS + 0.01)

    def test_no_sum_is_below_what_was_known_of_everybody(self) -> None:
        seen = picture(A, B)
        seen.hear(A, {KEY: Figures(in_flight=5)}, snapshot=True, now=100)
        seen.hear(B, {KEY: Figures(in_flight=3)}, snapshot=True, now=100)
        seen.hear(A, {KEY: Figures(in_flight=4)}, snapshot=False, now=105)
        assert seen.demand(KEY, 106).queue_depth == 7, "everybody was heard a moment ago"
        seen.hear(A, {KEY: Figures(in_flight=1)}, snapshot=False, now=111)
        assert seen.demand(KEY, 111).queue_depth == 7, "its requests may be at the other one"
        seen.hear(A, {KEY: Figures()}, snapshot=False, now=112)
        assert (seen.demand(KEY, 112).queue_depth, seen.demand(KEY, 112).active) == (7, True)

    def test_more_is_told_as_ever(self) -> None:
        seen = picture(A, B)
        seen.hear(A, {KEY: Figures(in_flight=5)}, snapshot=True, now=100)
        seen.hear(B, {KEY: Figures(in_flight=3)}, snapshot=True, now=100)
        seen.hear(A, {KEY: Figures(in_flight=6, waiting=2), OTHER: WAITING}, snapshot=False, now=120)
        assert seen.demand(KEY, 120).queue_depth == 11
        assert seen.demand(OTHER, 120).queue_depth == 1

    def test_when_everybody_is_heard_again_less_is_told(self) -> None:
        seen = picture(A, B)
        for activator, depth in ((A, 5), (B, 3)):
            seen.hear(activator, {KEY: Figures(in_flight=depth)}, snapshot=True, now=100)
        seen.hear(A, {KEY: Figures()}, snapshot=True, now=120)
        seen.hear(B, {KEY: Figures(in_flight=2)}, snapshot=True, now=121)
        assert seen.demand(KEY, 121).queue_depth == 2
        seen.hear(A, {KEY: Figures()}, snapshot=True, now=140)
        assert seen.demand(KEY, 140).queue_depth == 2, (
            "and it is what is remembered of everybody when one is silent again"
        )

    def test_one_that_comes_takes_nothing_away_before_it_is_heard(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: Figures(in_flight=5)}, snapshot=True, now=100)
        list_ready(seen, A, B, now=101)
        seen.hear(A, {KEY: Figures(in_flight=1)}, snapshot=True, now=102)
        assert seen.demand(KEY, 102).queue_depth == 5
        seen.hear(B, {}, snapshot=True, now=103)
        assert seen.demand(KEY, 103).queue_depth == 1

    def test_a_lease_of_one_that_is_silent_goes_on(self) -> None:
        seen = picture(A, B)
        seen.hear(A, {KEY: Figures(lease=True)}, snapshot=True, now=100)
        seen.hear(B, {}, snapshot=True, now=120)
        assert seen.demand(KEY, 120).lease
        seen.hear(A, {KEY: Figures(lease=True)}, snapshot=True, now=121)
        seen.hear(A, {KEY: Figures()}, snapshot=True, now=140)
        assert seen.demand(KEY, 140).lease, "the other may have one by now"

    def test_one_that_is_silent_and_leaves_the_list_is_not_waited_for(self) -> None:
        seen = picture(A, B)
        for activator in (A, B):
            seen.hear(activator, {KEY: WAITING}, snapshot=True, now=100)
        seen.hear(A, {KEY: IDLE}, snapshot=True, now=150)
        assert list_ready(seen, A, now=150) == [KEY]
        assert seen.demand(KEY, 150).queue_depth == 0


class TestWhoLeaves:
    """A node that dies leaves its pods terminating in the EndpointSlice until somebody removes the node."""

    def test_one_that_terminates_counts_while_it_is_heard(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=0)
        seen.list_activators({A: "terminating"}, 1)
        for now in range(2, 1000):
            seen.hear(A, {}, snapshot=False, now=now)
            assert seen.demand(KEY, now).queue_depth == 1

    @pytest.mark.parametrize("listing", ["terminating", "unready"])
    def test_one_that_was_not_heard_for_its_grace_period_is_gone(self, listing: Listing) -> None:
        seen = picture(A, B)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=100)
        seen.list_activators({A: listing, B: "ready"}, 120)
        for now in (120, 100 + GRACE):
            seen.hear(B, {OTHER: IDLE}, snapshot=True, now=now)
            assert seen.demand(KEY, now).queue_depth == 1
            with pytest.raises(Blind, match=A):
                seen.demand(OTHER, now)
        seen.hear(B, {OTHER: IDLE}, snapshot=True, now=100 + GRACE + 1)
        for key in (KEY, OTHER):
            assert seen.demand(key, 100 + GRACE + 1) == Demand()
        assert seen.silence(100 + GRACE + 1) == {B: 0}

    def test_one_that_terminates_and_was_never_heard_is_gone_after_the_same_time(self) -> None:
        """It is listed again, when what ran on its dead node is evicted."""
        seen = picture(B)
        seen.hear(B, {}, snapshot=True, now=300)
        seen.list_activators({A: "terminating", B: "ready"}, 300)
        with pytest.raises(Blind):
            seen.demand(KEY, 300 + GRACE)
        seen.hear(B, {}, snapshot=True, now=300 + GRACE + 1)
        assert not seen.demand(KEY, 300 + GRACE + 1).active

    def test_one_that_is_ready_is_waited_for_however_long(self) -> None:
        with pytest.raises(Blind):
            picture(A).demand(KEY, 1e9)

    def test_one_that_starts_is_not_taken(self) -> None:
        seen = picture()
        seen.list_activators({A: "unready"}, 0)
        assert seen.addresses == []
        assert not seen.demand(KEY, 0).active

    def test_one_whose_readiness_probe_fails_has_its_answers_still(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: Figures(in_flight=4)}, snapshot=True, now=0)
        assert seen.list_activators({A: "unready"}, 1) == []
        for now in range(2, 1000):
            seen.hear(A, {}, snapshot=False, now=now)
            assert seen.demand(KEY, now).queue_depth == 4
        seen.list_activators({A: "ready"}, 1001)
        with pytest.raises(Blind):
            seen.demand(OTHER, 9000)

    def test_one_that_was_gone_and_is_heard_counts_again(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=0)
        seen.list_activators({A: "terminating"}, 1)
        assert not seen.demand(KEY, GRACE + 1).active
        assert seen.hear(A, {}, snapshot=False, now=GRACE + 2) == [KEY], "demand begins, whatever the update is of"
        assert seen.demand(KEY, GRACE + 2).queue_depth == 1
        seen.demand(KEY, 3 * GRACE)
        assert seen.hear(A, {KEY: WAITING}, snapshot=False, now=3 * GRACE) == [KEY], "demand begins"

    def test_the_grace_period_is_that_of_the_activators_in_deploy(self) -> None:
        pod = next(yaml.safe_load_all((ROOT / "deploy/base/activator.yaml").read_text()))["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] == GRACE_SECONDS


class TestBlindWithOthers:
    def test_what_others_report_is_active_all_the_same(self) -> None:
        seen = picture(A, B)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=100)
        assert seen.demand(KEY, 100).queue_depth == 1
        with pytest.raises(Blind):
            seen.demand(OTHER, 100)

    def test_a_beat_keeps_the_figures_standing(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=0)
        seen.hear(A, {}, snapshot=False, now=50)
        assert seen.demand(KEY, 55).queue_depth == 1


def test_an_activator_that_leaves_takes_its_figures_with_it() -> None:
    seen = picture(A, B)
    seen.hear(A, {KEY: WAITING}, snapshot=True, now=0)
    seen.hear(B, {}, snapshot=True, now=0)
    assert list_ready(seen, B) == [KEY]
    assert seen.demand(KEY, 0).queue_depth == 0


def test_an_activator_that_leaves_ends_only_what_was_its_alone() -> None:
    seen = picture(A, B)
    seen.hear(A, {KEY: WAITING, OTHER: IDLE}, snapshot=True, now=0)
    seen.hear(B, {KEY: WAITING}, snapshot=True, now=0)
    assert list_ready(seen, B) == [], "one of them is still asked for, the other was asked by nobody"
    assert list_ready(seen) == [KEY]


def test_a_lease_that_leaves_with_its_activator_is_told() -> None:
    seen = picture(A)
    seen.hear(A, {KEY: Figures(lease=True)}, snapshot=True, now=0)
    assert list_ready(seen) == [KEY]


def test_a_lease_of_one_activator_is_not_hidden_by_another() -> None:
    for first, second in ((A, B), (B, A)):
        seen = picture(A, B)
        seen.hear(first, {KEY: Figures(lease=True)}, snapshot=True, now=0)
        seen.hear(second, {KEY: IDLE}, snapshot=True, now=0)
        assert seen.demand(KEY, 0).lease


def test_every_service_that_some_activator_told_of_is_known() -> None:
    seen = picture(A, B)
    seen.hear(A, {KEY: IDLE}, snapshot=True, now=0)
    seen.hear(B, {KEY: WAITING, OTHER: IDLE}, snapshot=True, now=0)
    assert seen.services(1) == sorted([KEY, OTHER])


def test_no_activators_at_all_is_zero_and_not_blind() -> None:
    assert picture().demand(KEY, 0).queue_depth == 0


def test_one_that_is_not_listed_is_not_heard() -> None:
    seen = picture(A)
    seen.hear(A, {}, snapshot=True, now=0)
    assert seen.hear(B, {KEY: WAITING}, snapshot=True, now=0) == []
    assert seen.demand(KEY, 0).queue_depth == 0


class TestPulses:
    def test_when_demand_begins_and_once_more_when_it_ends(self) -> None:
        seen = picture(A)
        assert seen.hear(A, {}, snapshot=True, now=99) == []
        assert seen.hear(A, {KEY: WAITING}, snapshot=False, now=100) == [KEY]
        assert seen.hear(A, {KEY: Figures(in_flight=1, requests=1)}, snapshot=False, now=101) == []
        assert seen.hear(A, {KEY: IDLE}, snapshot=False, now=102) == [KEY]

    def test_only_the_sum_of_all_activators_counts(self) -> None:
        seen = picture(A, B)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=100)
        assert seen.hear(B, {KEY: WAITING}, snapshot=True, now=100) == []
        assert seen.hear(A, {KEY: IDLE}, snapshot=False, now=101) == []
        assert seen.hear(B, {KEY: IDLE}, snapshot=False, now=102) == [KEY]

    def test_one_that_is_asked_again_while_it_is_active_is_no_news(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=100)
        assert seen.hear(A, {KEY: Figures(waiting=2, requests=2)}, snapshot=False, now=101) == []

    def test_a_lease_that_begins_and_ends_is_told_both_times(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: IDLE}, snapshot=True, now=100)
        assert seen.hear(A, {KEY: Figures(lease=True, requests=1)}, snapshot=False, now=101) == [KEY]
        assert seen.hear(A, {KEY: IDLE}, snapshot=False, now=102) == [KEY]

    def test_a_snapshot_that_lacks_a_service_ends_its_demand(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=100)
        assert seen.hear(A, {}, snapshot=True, now=101) == [KEY]

    def test_a_request_that_came_and_went_while_the_stream_was_down_is_told_once(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: IDLE}, snapshot=True, now=101)
        came_and_went = Figures(requests=2)
        assert seen.hear(A, {KEY: came_and_went}, snapshot=True, now=106) == [KEY]
        assert seen.hear(A, {KEY: came_and_went}, snapshot=True, now=107) == []

    def test_one_that_a_new_process_at_the_same_address_was_asked_is_told(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: Figures(requests=7)}, snapshot=True, now=101, instance="a/1")
        assert seen.hear(A, {KEY: Figures()}, snapshot=True, now=102, instance="a/2") == []
        assert seen.hear(A, {KEY: Figures(requests=1)}, snapshot=True, now=103, instance="a/3") == [KEY]

    def test_an_update_with_no_demand_in_it_is_no_news_however_late_it_comes(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: Figures(), OTHER: IDLE}, snapshot=True, now=100)
        for now in (100.5, 200, 9000):
            assert seen.hear(A, {KEY: Figures(), OTHER: IDLE}, snapshot=False, now=now) == []

    def test_a_new_listener_is_not_told_of_old_requests(self) -> None:
        assert picture(A).hear(A, {KEY: IDLE}, snapshot=True, now=200) == []


def test_of_a_deleted_service_nothing_is_kept() -> None:
    seen = picture(A, B)
    for address in (A, B):
        seen.hear(address, {KEY: WAITING, OTHER: IDLE}, snapshot=True, now=0)
    seen.hear(A, {KEY: Figures(gone=True)}, snapshot=False, now=1)
    assert seen.services(1) == sorted([KEY, OTHER]), "the other activator has not heard of it"
    assert seen.hear(B, {KEY: Figures(gone=True)}, snapshot=False, now=1) == [KEY], "its demand ended"
    assert seen.services(1) == [OTHER]
    assert seen.hear(A, {KEY: WAITING}, snapshot=False, now=2) == [KEY], "one of the same name is a new one"


def test_what_only_a_dead_activator_told_of_is_not_told_on() -> None:
    """Its node is dead, so that it is listed as terminating for ever: who deleted the LLMService since can't be heard of."""
    seen = DemandPicture(grace_seconds=150)
    seen.list_activators({A: "ready", B: "ready"}, 0)
    seen.hear(A, {KEY: IDLE}, snapshot=True, now=0)
    seen.hear(B, {OTHER: IDLE}, snapshot=True, now=0)
    seen.list_activators({A: "terminating", B: "ready"}, 1)
    seen.hear(B, {}, snapshot=False, now=200)
    assert seen.services(140) == sorted([KEY, OTHER])
    assert seen.services(200) == [OTHER]
