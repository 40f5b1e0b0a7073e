import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from hearth.activator.demand import DemandBoard
from hearth.activator.lane.hold import LEASE_AFTER_READY, Hold
from hearth.api.key import ServiceKey
from hearth.proto import demand_pb2 as pb

KEY = ServiceKey("ai", "qwen")


class Board:
    """A board with one service, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.board = DemandBoard(clock=lambda: self.now)
        self.hold = Hold(max_queue=10, concurrency=10, activation_timeout=60.0)
        self.board.put(KEY, self.hold)


@pytest.fixture
def wall() -> Board:
    return Board()


@contextlib.asynccontextmanager
async def watching(wall: Board) -> AsyncIterator[AsyncIterator[pb.DemandUpdate]]:
    async with contextlib.aclosing(wall.board.watch()) as updates:
        yield updates


async def test_it_begins_with_a_snapshot(wall: Board) -> None:
    wall.hold.arrive(98.5)
    async with watching(wall) as updates:
        first = await anext(updates)
    assert first.snapshot
    (figures,) = first.services
    assert (figures.namespace, figures.name, figures.waiting, figures.in_flight) == ("ai", "qwen", 1, 0)
    assert figures.requests == 1


async def test_what_began_is_told_at_once_and_the_rest_together(wall: Board) -> None:
    loop = asyncio.get_running_loop()
    async with watching(wall) as updates:
        await anext(updates)
        wall.hold.arrive(wall.now)
        began = loop.time()
        wall.board.changed(KEY)
        first = await anext(updates)
        assert first.services[0].waiting == 1
        assert not first.snapshot
        for _ in range(5):
            wall.hold.arrive(wall.now)
            wall.board.changed(KEY)
        second = await anext(updates)
        assert second.services[0].waiting == 6
        assert loop.time() - began >= 0.1, "coalesced"


async def test_a_beat_comes_without_news(wall: Board) -> None:
    async with watching(wall) as updates:
        await anext(updates)
        async with asyncio.timeout(5):
            assert list((await anext(updates)).services) == []


async def test_the_end_of_a_lease_is_told_though_nothing_else_happens(wall: Board) -> None:
    ticket = wall.hold.arrive(wall.now)
    wall.hold.leave(ticket)
    wall.hold.set_ready(["10.0.0.1:8000"], wall.now)
    wall.board.changed(KEY)
    async with watching(wall) as updates:
        assert (await anext(updates)).services[0].lease
        wall.now += LEASE_AFTER_READY + 1
        async with asyncio.timeout(5):
            while not (update := await anext(updates)).services:
                pass
        assert not update.services[0].lease


async def test_news_of_others_do_not_keep_a_lease_from_ending(wall: Board) -> None:
    """On a busy gateway something happens all the time, and a model that nobody asks must still fall asleep."""
    other = ServiceKey("ai", "busy")
    wall.board.put(other, Hold(max_queue=10, concurrency=10, activation_timeout=60.0))
    wall.hold.leave(wall.hold.arrive(wall.now))
    wall.hold.set_ready(["10.0.0.1:8000"], wall.now)
    async with watching(wall) as updates:
        assert {figures.name for figures in (await anext(updates)).services if figures.lease} == {KEY.name}
        wall.now += LEASE_AFTER_READY + 1
        async with asyncio.timeout(5):
            told: list[pb.ServiceDemand] = []
            while not told:
                wall.board.changed(other)
                told = [figures for figures in (await anext(updates)).services if figures.name == KEY.name]
        assert not told[0].lease


async def test_every_scaler_hears_the_end_of_a_lease(wall: Board) -> None:
    wall.hold.leave(wall.hold.arrive(wall.now))
    wall.hold.set_ready(["10.0.0.1:8000"], wall.now)
    async with watching(wall) as first, watching(wall) as second:
        for updates in (first, second):
            assert (await anext(updates)).services[0].lease
        wall.now += LEASE_AFTER_READY + 1
        for updates in (first, second):
            async with asyncio.timeout(5):
                while not (update := await anext(updates)).services:
                    pass
            assert not update.services[0].lease


async def test_one_who_comes_between_the_end_and_the_beat_takes_it_from_nobody(wall: Board) -> None:
    wall.hold.leave(wall.hold.arrive(wall.now))
    wall.hold.set_ready(["10.0.0.1:8000"], wall.now)
    async with watching(wall) as first, watching(wall) as second:
        assert (await anext(first)).services[0].lease
        wall.now += LEASE_AFTER_READY + 1
        assert not (await anext(second)).services[0].lease
        async with asyncio.timeout(5):
            while not (update := await anext(first)).services:
                pass
        assert not update.services[0].lease


async def test_a_warm_models_next_request_is_no_news_until_idle_was_told(wall: Board) -> None:
    loop = asyncio.get_running_loop()
    wall.hold.set_ready(["10.0.0.1:8000"], wall.now)
    async with watching(wall) as updates:
        await anext(updates)

        def one_request() -> None:
            ticket = wall.hold.arrive(wall.now)
            wall.board.changed(KEY)
            wall.hold.dispatch(wall.now)
            wall.hold.leave(ticket)
            wall.board.changed(KEY)

        one_request()
        await anext(updates)  # the first is told at once
        began = loop.time()
        wall.hold.arrive(wall.now)
        wall.board.changed(KEY)  # idle was told with the first, so that this is news again
        await anext(updates)
        assert loop.time() - began < 0.1
        one_request()
        one_request()
        told = await anext(updates)
        assert loop.time() - began >= 0.1, "coalesced: the scalers know that it is active"
        assert told.services[0].requests == 4


async def test_a_look_is_no_demand(wall: Board) -> None:
    wall.hold.set_ready(["10.0.0.1:8000"], wall.now)
    async with watching(wall) as updates:
        await anext(updates)
        wall.hold.arrive(wall.now, asks=False)
        wall.hold.dispatch(wall.now)
        wall.board.changed(KEY)
        (told,) = (await anext(updates)).services
        assert (told.waiting, told.in_flight, told.lease, told.requests) == (0, 0, False, 0)
        wall.hold.arrive(wall.now)
        wall.board.changed(KEY)
        (told,) = (await anext(updates)).services
        assert (told.waiting, told.in_flight, told.requests) == (1, 0, 1)


async def test_a_deleted_service_has_no_demand(wall: Board) -> None:
    wall.hold.arrive(wall.now)
    async with watching(wall) as updates:
        await anext(updates)
        wall.board.remove(KEY)
        (figures,) = (await anext(updates)).services
        assert (figures.name, figures.waiting, figures.lease) == ("qwen", 0, False)
        wall.board.changed(KEY)  # the last answers of a deleted LLMService change nothing


async def test_closing_ends_the_stream(wall: Board) -> None:
    async with watching(wall) as updates:
        await anext(updates)
        wall.board.close()
        async with asyncio.timeout(5):
            assert all([not update.snapshot async for update in updates])
