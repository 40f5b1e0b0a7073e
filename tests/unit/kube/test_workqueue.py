import asyncio

import pytest

from hearth.kube.workqueue import WorkQueue


async def taken(queue: WorkQueue[str]) -> str:
    async with asyncio.timeout(5):
        return await queue.take()


def is_empty(queue: WorkQueue[str]) -> bool:
    return queue._ready.empty()


async def test_a_key_stands_in_the_line_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await taken(queue), await taken(queue)] == ["a", "b"]
    assert is_empty(queue)


async def test_one_that_is_being_looked_at_is_looked_at_once_more_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await taken(queue) == "a"
    queue.add("a")
    queue.add("a")
    assert is_empty(queue), "never two workers on one key"
    queue.done("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert is_empty(queue)


async def test_a_failed_look_is_repeated_later_and_later() -> None:
    queue: WorkQueue[str] = WorkQueue()
    loop = asyncio.get_running_loop()
    waits = []
    queue.add("a")
    for _ in range(3):
        assert await taken(queue) == "a"
        began = loop.time()
        queue.done("a", failed=True)
        assert await taken(queue) == "a"
        waits.append(loop.time() - began)
        queue.add("a")
        queue.done("a", failed=True)
    assert waits[0] >= 0.1
    assert waits[-1] > waits[0]


async def test_news_come_before_a_timer() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 3600)
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert queue._timers == {}


@pytest.mark.parametrize(("first", "second"), [(3600, 0.01), (0.01, 3600)])
async def test_the_soonest_of_two_timers_counts(first: float, second: float) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", first)
    queue.add_after("a", second)
    assert await taken(queue) == "a"


async def test_after_more_failures_than_a_float_has_powers_it_is_still_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hearth.kube.workqueue._LAST_RETRY", 0.0)
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    for _ in range(1200):
        assert await taken(queue) == "a"
        queue.done("a", failed=True)
    assert await taken(queue) == "a"


async def test_the_failures_in_a_row_are_counted_for_each_key(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def backoff(failures: int, first: float, last: float) -> float:
        assert (first, last) == (0.2, 60.0)
        asked.append(failures)
        return 0.0

    monkeypatch.setattr("hearth.kube.workqueue.backoff", backoff)
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    for failed in (True, True, False):
        assert await taken(queue) == "a"
        queue.done("a", failed=failed)
    assert asked == [1, 2]
    for key in ("a", "b"):
        queue.add(key)
        assert await taken(queue) == key
        queue.done(key, failed=True)
        assert await taken(queue) == key
        queue.done(key)
    assert asked == [1, 2, 1, 1], "one that went well begins anew"


async def test_a_look_may_ask_for_another_one() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a", again=0.0)
    assert await taken(queue) == "a"
    queue.done("a")
    assert queue._timers == {}


async def test_of_one_group_no_more_are_taken_at_a_time() -> None:
    """What one namespace waits for is not what all wait for."""
    queue: WorkQueue[tuple[str, int]] = WorkQueue(lambda key: key[0], 2)
    for number in range(4):
        queue.add(("slow", number))
    queue.add(("other", 0))
    assert [await queue.take() for _ in range(3)] == [("slow", 0), ("slow", 1), ("other", 0)]
    assert len(queue) == 2
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.done(("slow", 0))
    assert await waiting == ("slow", 2)
    queue.done(("slow", 1), failed=True)
    assert await queue.take() == ("slow", 3)
    for number in (2, 3):
        queue.done(("slow", number))
    queue.done(("other", 0))
    queue.add(("slow", 0))
    assert await queue.take() == ("slow", 0)
