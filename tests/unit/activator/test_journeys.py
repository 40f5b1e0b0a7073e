"""A request's times, whatever is done to the clock meanwhile."""

import time

import pytest

from hearth.activator.journeys import Journey, Journeys


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_clock_that_is_set_makes_nothing_longer_or_shorter(jump: int, monkeypatch: pytest.MonkeyPatch) -> None:
    journeys = Journeys()
    arrived = time.time_ns()
    journey = Journey(
        "ns/m", "1", "POST", "/v1/chat/completions", "", "http", "m", stream=False, headers=(), arrived=arrived
    )
    monkeypatch.setattr(time, "time_ns", lambda: arrived + jump * 10**9)
    journeys.sent(journey, "10.0.0.1:8000")
    journeys.over(journey, "answered", 200)
    assert arrived <= journey.sent <= journey.over < arrived + 60 * 10**9
