import pytest

from hearth.api.key import ServiceKey
from hearth.scaler.picture import STANDS_SECONDS, Blind, DemandPicture, Figures

A, B = "10.0.0.1:9091", "10.0.0.2:9091"
KEY, OTHER = ServiceKey("ai", "qwen"), ServiceKey("ai", "llama")
WAITING = Figures(waiting=1, requests=1)
IDLE = Figures(requests=1)


def picture(*addresses: str) -> DemandPicture:
    made = DemandPicture()
    made.list_activators(addresses)
    return made


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

    def test_last_figures_stand_for_a_while_and_then_nothing_is_known(self) -> None:
        seen = picture(A)
        seen.hear(A, {KEY: WAITING}, snapshot=True, now=100)
        assert seen.demand(KEY, 100 + STANDS_SECONDS).queue_depth == 1
        with pytest.raises(Blind):
            seen.demand(KEY, 100 + STANDS_SECONDS + 0.01)

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
    assert seen.list_activators([B]) == [KEY]
    assert seen.demand(KEY, 0).queue_depth == 0


def test_an_activator_that_leaves_ends_only_what_was_its_alone() -> None:
    seen = picture(A, B)
    seen.hear(A, {KEY: WAITING, OTHER: IDLE}, snapshot=True, now=0)
    seen.hear(B, {KEY: WAITING}, snapshot=True, now=0)
    assert seen.list_activators([B]) == [], "one of them is still asked for, the other was asked by nobody"
    assert seen.list_activators([]) == [KEY]


def test_a_lease_that_leaves_with_its_activator_is_told() -> None:
    seen = picture(A)
    seen.hear(A, {KEY: Figures(lease=True)}, snapshot=True, now=0)
    assert seen.list_activators([]) == [KEY]


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
    assert seen.services() == sorted([KEY, OTHER])


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
    assert seen.services() == sorted([KEY, OTHER]), "the other activator has not heard of it"
    assert seen.hear(B, {KEY: Figures(gone=True)}, snapshot=False, now=1) == [KEY], "its demand ended"
    assert seen.services() == [OTHER]
    assert seen.hear(A, {KEY: WAITING}, snapshot=False, now=2) == [KEY], "one of the same name is a new one"
