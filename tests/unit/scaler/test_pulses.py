from hearth.api.key import ServiceKey
from hearth.scaler.pulses import Pulses

KEY, OTHER = ServiceKey("ai", "qwen"), ServiceKey("ai", "llama")


def test_a_pulse_reaches_every_stream_of_its_service() -> None:
    pulses = Pulses(lambda: 7.0)
    one: list[float | None] = []
    two: list[float | None] = []
    other: list[float | None] = []
    with pulses.listen(KEY, one.append), pulses.listen(KEY, two.append), pulses.listen(OTHER, other.append):
        pulses.pulse([KEY])
        assert (one, two, other) == ([7.0], [7.0], [])
        assert (pulses.pushed[KEY], pulses.listeners(KEY), pulses.listeners(OTHER)) == (2, 2, 1)


def test_a_stream_that_ended_is_not_told() -> None:
    pulses = Pulses()
    told: list[float | None] = []
    with pulses.listen(KEY, told.append):
        pass
    pulses.pulse([KEY])
    assert told == []
    assert pulses.listeners(KEY) == 0


def test_closing_ends_every_stream_and_those_that_come_later() -> None:
    pulses = Pulses(lambda: 7.0)
    one: list[float | None] = []
    late: list[float | None] = []
    last: list[float | None] = []
    with pulses.listen(KEY, one.append), pulses.until_closed(last.append):
        pulses.pulse([KEY])
        assert last == []
        pulses.close()
        assert (one, last) == ([7.0, None], [None])
    with pulses.listen(KEY, late.append), pulses.until_closed(late.append):
        assert late == [None, None]


def test_a_service_that_nobody_listens_to_any_more_takes_no_room() -> None:
    pulses = Pulses()
    with pulses.listen(KEY, lambda at: None):
        assert pulses.listeners(KEY) == 1
    assert pulses.listeners(KEY) == 0
    assert not pulses._listeners


def test_of_a_service_that_is_gone_no_count_is_kept() -> None:
    pulses = Pulses()
    with pulses.listen(KEY, lambda at: None), pulses.listen(OTHER, lambda at: None):
        pulses.pulse([KEY, OTHER])
    pulses.forget_all_but([OTHER])
    assert dict(pulses.pushed) == {OTHER: 1}


def test_where_nobody_listens_nothing_is_pushed() -> None:
    pulses = Pulses()
    pulses.pulse([KEY])
    assert pulses.pushed[KEY] == 0
