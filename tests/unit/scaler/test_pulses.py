import asyncio

from hearth.scaler.pulses import Pulses

KEY, OTHER = ("ai", "qwen"), ("ai", "llama")


def drained(queue: "asyncio.Queue[bool]") -> list[bool]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


async def test_a_pulse_reaches_every_stream_of_its_service() -> None:
    pulses = Pulses()
    with pulses.listen(KEY) as one, pulses.listen(KEY) as two, pulses.listen(OTHER) as other:
        pulses.pulse([KEY])
        assert (drained(one), drained(two), drained(other)) == ([True], [True], [])


async def test_a_stream_that_ended_is_not_told() -> None:
    pulses = Pulses()
    with pulses.listen(KEY) as ended:
        pass
    pulses.pulse([KEY])
    assert drained(ended) == []


async def test_closing_ends_every_stream_and_those_that_come_later() -> None:
    pulses = Pulses()
    with pulses.listen(KEY) as one:
        pulses.pulse([KEY])
        pulses.close()
        assert drained(one) == [True, False]
    with pulses.listen(KEY) as late:
        assert drained(late) == [False]
