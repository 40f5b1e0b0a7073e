import asyncio
import json
from typing import Any, get_args

import pytest
import uvloop

from hearth.activator.lane.heartbeat import Heartbeats, Kind, beat_chunk, kind_for
from hearth.activator.paths import dialect_of
from hearth.api.llmservice import Progress

PROGRESS: tuple[Progress, ...] = get_args(Progress)
KINDS: tuple[Kind, ...] = get_args(Kind)


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


def data_of(beat: bytes) -> Any:
    """The document of a heartbeat that is one event, without a name."""
    assert beat.startswith(b"data: ")
    assert beat.endswith(b"\n\n")
    return json.loads(beat.removeprefix(b"data: "))


def test_a_chunk_says_nothing_in_the_words_of_chat_completions() -> None:
    assert data_of(beat_chunk("chunk", "loading", 12.34, 47.66)) == {
        "hearth": {"phase": "loading", "elapsed": 12.3, "eta": 47.7},
        "id": "",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "",
        "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
    }


def test_a_chunk_of_a_text_completion_is_one() -> None:
    chunk = data_of(beat_chunk("text-chunk", "loading", 1.0, None))
    assert chunk["object"] == "text_completion"
    assert chunk["choices"] == [{"index": 0, "text": "", "finish_reason": None}]


def test_a_comment_has_an_empty_line_behind_it_and_a_comment_line_has_none() -> None:
    line = b': hearth {"phase": "loading", "elapsed": 12.3, "eta": 47.7}\n'
    assert beat_chunk("comment", "loading", 12.34, 47.66) == line + b"\n"
    assert beat_chunk("comment-line", "loading", 12.34, 47.66) == line


def test_what_is_in_the_way_is_told_in_every_kind_but_a_ping() -> None:
    for kind in KINDS:
        beat = beat_chunk(kind, "starting", 1.0, None, "its engine keeps exiting")
        assert (b"its engine keeps exiting" in beat) is (kind != "ping"), kind
    text = data_of(beat_chunk("reasoning", "starting", 7.0, None, "its engine keeps exiting"))
    assert text["choices"][0]["delta"]["reasoning_content"] == "Can't start yet: its engine keeps exiting, 7 s\n"


def test_what_is_not_known_is_not_said() -> None:
    for kind in KINDS:
        assert b"trouble" not in beat_chunk(kind, "loading", 1.0, None)
        assert b"eta" not in beat_chunk(kind, "loading", 1.0, None)
        assert b"about" not in beat_chunk(kind, "loading", 1.0, None)


@pytest.mark.parametrize(
    ("kind", "object_"), [("chat-event", "chat.completion.chunk"), ("text-event", "text_completion")]
)
def test_a_named_event_is_a_chunk_without_choices(kind: Kind, object_: str) -> None:
    event, data, *_ = beat_chunk(kind, "starting", 1.0, None).decode().split("\n")
    assert event == "event: hearth.status"
    document = json.loads(data.removeprefix("data: "))
    assert (document["phase"], document["elapsed"]) == ("starting", 1.0)
    assert (document["object"], document["choices"]) == (object_, [])


def test_an_event_of_no_api_has_no_chunk_in_it() -> None:
    event, data, *_ = beat_chunk("event", "starting", 1.0, None).decode().split("\n")
    assert event == "event: hearth.status"
    assert json.loads(data.removeprefix("data: ")) == {"type": "hearth.status", "phase": "starting", "elapsed": 1.0}


@pytest.mark.parametrize(
    ("phase", "words"), [("loading", "Loading"), ("queued", "Waiting for a free replica"), ("x", "x")]
)
def test_reasoning_is_words(phase: str, words: str) -> None:
    chunk = data_of(beat_chunk("reasoning", phase, 12.0, 36.0))
    assert chunk["choices"][0]["delta"] == {"reasoning_content": f"{words}, 12 s of about 48 s\n"}
    assert chunk["model"] == ""


@pytest.mark.parametrize("kind", KINDS)
def test_no_heartbeat_takes_the_place_of_the_answers_id(kind: Kind) -> None:
    """openai-go's accumulator takes the first id that is not empty for the answer's."""
    for line in beat_chunk(kind, "loading", 1.0, 2.0).decode().splitlines():
        if line.startswith("data: "):
            assert not json.loads(line.removeprefix("data: ")).get("id")


CHAT, TEXT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"


@pytest.mark.parametrize(
    ("path", "progress", "kind"),
    [
        (CHAT, "chunk", "chunk"),
        (CHAT, "comment", "comment"),
        (CHAT, "reasoning", "reasoning"),
        (CHAT, "event", "chat-event"),
        ("/openai" + CHAT, "chunk", "chunk"),
        (TEXT, "chunk", "text-chunk"),
        (TEXT, "comment", "comment"),
        (TEXT, "reasoning", "text-chunk"),
        (TEXT, "event", "text-event"),
        ("/completions/", "chunk", "text-chunk"),
        *((RESPONSES, progress, "comment-line") for progress in PROGRESS),
        *(("/v1/fim/completions", progress, "comment-line") for progress in PROGRESS),
        *(("/v1/audio/transcriptions", progress, "comment-line") for progress in PROGRESS),
        *((MESSAGES, progress, "ping") for progress in PROGRESS),
    ],
)
def test_every_path_gets_heartbeats_of_its_own_api(path: str, progress: Progress, kind: Kind) -> None:
    assert kind_for(progress, dialect_of(path), path, {}) == kind


@pytest.mark.parametrize("progress", PROGRESS)
@pytest.mark.parametrize(
    ("path", "kind"), [(CHAT, "chat-event"), (TEXT, "text-event"), (RESPONSES, "event"), (MESSAGES, "event")]
)
def test_who_asks_for_named_events_gets_them(path: str, kind: Kind, progress: Progress) -> None:
    assert kind_for(progress, dialect_of(path), path, {b"x-hearth-events": b"1"}) == kind
    assert kind_for(progress, dialect_of(path), path, {b"x-hearth-events": b"0"}) == kind_for(
        progress, dialect_of(path), path, {}
    )


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
