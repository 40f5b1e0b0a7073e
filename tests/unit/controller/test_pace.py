from hearth.controller.pace import BURST, EACH_SECONDS, Pace


def test_many_at_once_and_then_now_and_then() -> None:
    pace: Pace[str] = Pace()
    assert [pace.wait("a", 100.0) for _ in range(BURST)] == [0.0] * BURST
    assert pace.wait("a", 100.0) == EACH_SECONDS
    assert pace.wait("a", 101.0) == EACH_SECONDS - 1.0, "who asks too early takes nothing"
    assert pace.wait("a", 100.0 + EACH_SECONDS) == 0.0
    assert pace.wait("a", 100.0 + EACH_SECONDS) == EACH_SECONDS
    assert pace.wait("b", 100.0) == 0.0


def test_what_is_not_taken_comes_back_and_no_more_than_that() -> None:
    pace: Pace[str] = Pace(2, 10.0)
    assert [pace.wait("a", 0.0), pace.wait("a", 0.0)] == [0.0, 0.0]
    assert [pace.wait("a", 1000.0) for _ in range(3)] == [0.0, 0.0, 10.0]
    pace.forget("a")
    assert pace.wait("a", 1000.0) == 0.0
