import asyncio
import json

import pytest
import uvloop

from hearth.activator.lane.heartbeat import Heartbeats, beat_chunk


class Beats:
    """Beats at an interval until it has beaten `count` times."""

    def __init__(self, interval: float, count: int) -> None:
        self.interval = interval
        self.left = count
        self.at: list[float] = []
        self.over = asyncio.Event()

    def beat(self, now: float) -> float | None:
        self.at.append(now)
        self.left -= 1
        if self.left == 0:
            self.over.set()
            return None
        return now + self.interval


def failed(where: str, error: BaseException) -> None:
    raise AssertionError(where) from error


class Broken:
    """A beat that raises."""

    def beat(self, now: float) -> float | None:
        raise OverflowError("a mistake of ours")


async def test_a_beat_that_fails_fails_alone() -> None:
    told: list[tuple[str, BaseException]] = []
    heartbeats = Heartbeats(lambda where, error: told.append((where, error)))
    now = asyncio.get_running_loop().time()
    other = Beats(0.02, 3)
    heartbeats.add(Broken(), now)
    heartbeats.add(other, now)
    async with asyncio.timeout(5):
        await other.over.wait()
    ((where, error),) = told
    assert (where, type(error)) == ("heartbeat", OverflowError)


async def test_one_timer_beats_for_all_each_at_its_own_time() -> None:
    heartbeats = Heartbeats(failed)
    now = asyncio.get_running_loop().time()
    slow, quick = Beats(0.05, 2), Beats(0.02, 4)
    heartbeats.add(slow, now + 0.05)
    heartbeats.add(quick, now + 0.01)  # due before the timer that is set
    async with asyncio.timeout(5):
        await slow.over.wait()
        await quick.over.wait()
    assert quick.at[0] < slow.at[0]
    assert all(later - sooner >= 0.019 for sooner, later in zip(quick.at, quick.at[1:], strict=False))


async def test_one_that_is_over_is_asked_no_more() -> None:
    heartbeats = Heartbeats(failed)
    now = asyncio.get_running_loop().time()
    once, twice = Beats(0.0, 1), Beats(0.03, 2)
    heartbeats.add(once, now)
    heartbeats.add(twice, now)
    async with asyncio.timeout(5):
        await twice.over.wait()
    assert len(once.at) == 1


async def test_one_that_wants_to_beat_at_once_does_not_take_the_loop() -> None:
    heartbeats = Heartbeats(failed)
    eager = Beats(0.0, 5)
    heartbeats.add(eager, asyncio.get_running_loop().time())
    async with asyncio.timeout(5):
        await eager.over.wait()
    assert all(later > sooner for sooner, later in zip(eager.at, eager.at[1:], strict=False))


def test_a_comment() -> None:
    chunk = beat_chunk("comment", "qwen", "loading", 12.34, 47.66)
    assert chunk == b': hearth {"phase": "loading", "elapsed": 12.3, "eta": 47.7}\n\n'


def test_what_is_not_known_is_not_said() -> None:
    assert b"eta" not in beat_chunk("comment", "qwen", "loading", 1.0, None)
    assert b"about" not in beat_chunk("reasoning", "qwen", "loading", 1.0, None)


def test_a_named_event() -> None:
    event, data, *_ = beat_chunk("event", "qwen", "starting", 1.0, None).decode().split("\n")
    assert event == "event: hearth.status"
    document = json.loads(data.removeprefix("data: "))
    assert (document["phase"], document["elapsed"]) == ("starting", 1.0)
    assert (document["object"], document["choices"]) == ("chat.completion.chunk", [])


@pytest.mark.parametrize(
    ("phase", "words"), [("loading", "Loading"), ("queued", "Waiting for a free replica"), ("x", "x")]
)
def test_reasoning_is_words(phase: str, words: str) -> None:
    chunk = json.loads(beat_chunk("reasoning", "qwen", phase, 12.0, 36.0).removeprefix(b"data: "))
    assert chunk["choices"][0]["delta"] == {"reasoning_content": f"{words}, 12 s of about 48 s\n"}
    assert chunk["model"] == "qwen"


def test_on_uvloop_a_beat_that_is_overdue_delays_no_other() -> None:
    """uvloop's handle of a call that is due already is no TimerHandle."""

    async def beat_all() -> list[str]:
        heartbeats, heard = Heartbeats(failed), []
        done = asyncio.Event()

        class Once:
            def __init__(self, name: str) -> None:
                self.name = name

            def beat(self, now: float) -> float | None:
                heard.append(self.name)
                if len(heard) == 3:
                    done.set()
                return None

        now = asyncio.get_running_loop().time()
        for name, due in (("late", now - 1), ("later", now - 0.5), ("soon", now + 0.05)):
            heartbeats.add(Once(name), due)
        async with asyncio.timeout(5):
            await done.wait()
        return heard

    assert uvloop.run(beat_all()) == ["late", "later", "soon"]
