from hearth.coldstart import ColdStarts


def started(starts: ColdStarts, at: float, starting: float, loading: float) -> None:
    starts.begin(at)
    starts.enter("starting", at + 1)
    starts.enter("loading", at + 1 + starting)
    starts.ready(at + 1 + starting + loading)


def test_nothing_is_known_before_a_first_start_was_seen() -> None:
    starts = ColdStarts()
    starts.begin(0)
    assert starts.elapsed(3) == 3
    assert starts.remaining(3) is None


def test_what_is_left_is_the_rest_of_this_phase_and_those_to_come() -> None:
    starts = ColdStarts()
    started(starts, 0, starting=10, loading=30)
    starts.begin(100)
    assert starts.remaining(100) == 41
    starts.enter("starting", 105)
    assert starts.remaining(108) == 37
    starts.enter("loading", 120)
    assert starts.remaining(140) == 10


def test_a_phase_that_takes_longer_than_ever_promises_nothing() -> None:
    starts = ColdStarts()
    started(starts, 0, starting=1, loading=5)
    starts.begin(100)
    starts.enter("loading", 101)
    assert starts.remaining(200) == 0


def test_one_slow_start_does_not_spoil_the_estimate() -> None:
    starts = ColdStarts()
    for at, loading in ((0, 30.0), (1000, 32.0), (2000, 600.0)):
        started(starts, at, starting=1, loading=loading)
    starts.begin(5000)
    starts.enter("loading", 5000)
    assert starts.remaining(5000) == 32


def test_an_abandoned_start_teaches_nothing() -> None:
    starts = ColdStarts()
    starts.begin(0)
    starts.abandon()
    starts.ready(500)
    starts.begin(600)
    assert starts.remaining(600) is None


def test_unknown_phases_are_ignored() -> None:
    starts = ColdStarts()
    starts.begin(0)
    starts.enter("dreaming", 1)
    assert starts.phase == "requested"


def test_while_no_start_is_under_way_nothing_is() -> None:
    starts = ColdStarts()
    starts.enter("loading", 5)
    assert (starts.phase, starts.elapsed(9), starts.remaining(9), starts.ready(9)) == ("requested", 0.0, None, None)
    assert starts.expected() is None


def test_a_start_is_told_by_phase_and_taken_for_what_one_takes() -> None:
    starts = ColdStarts()
    starts.begin(100)
    starts.begin(105)
    starts.enter("loading", 110)
    starts.enter("loading", 115)
    starts.enter("starting", 120)
    starts.enter("loading", 121)
    assert starts.elapsed(130) == 30
    assert starts.ready(130) == {"requested": 10.0, "loading": 19.0, "starting": 1.0}
    assert starts.expected() == 30.0
    starts.begin(500)
    assert starts.phase == "requested"


def test_the_last_five_are_remembered() -> None:
    starts = ColdStarts()
    for number in range(7):
        started(starts, number * 100, starting=1, loading=number)
    assert [took["loading"] for took in starts.history] == [2.0, 3.0, 4.0, 5.0, 6.0]
