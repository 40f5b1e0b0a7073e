import asyncio

from hearth.scaler.pulses import Pulses

KEY, OTHER = ("ai", "qwen"), ("ai", "llama")


def drained(queue: "asyncio.Queue[float | None]") -> list[float | None]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


async def test_a_pulse_reaches_every_stream_of_its_service() -> None:
    pulses = Pulses(lambda: 7.0)
    with pulses.listen(KEY) as one, pulses.listen(KEY) as two, pulses.listen(OTHER) as other:
        pulses.pulse([KEY])
        assert (drained(one), drained(two), drained(other)) == ([7.0], [7.0], [])
        assert (pulses.pushed[KEY], pulses.listeners(KEY), pulses.listeners(OTHER)) == (1, 2, 1)


async def test_a_stream_that_ended_is_not_told() -> None:
    pulses = Pulses()
    with pulses.listen(KEY) as ended:
        pass
    pulses.pulse([KEY])
    assert drained(ended) == []


async def test_closing_ends_every_stream_and_those_that_come_later() -> None:
    pulses = Pulses(lambda: 7.0)
    with pulses.listen(KEY) as one:
        pulses.pulse([KEY])
        pulses.close()
        assert drained(one) == [7.0, None]
    with pulses.listen(KEY) as late:
        assert drained(late) == [None]
