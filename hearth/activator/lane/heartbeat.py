"""Heartbeats: signs of life to every held client, from one shared timer.

No task and no closure for a beat: a held request's `beat` writes a ready-made chunk to its client's transport.
"""

import asyncio
import heapq
import json
import math
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from hearth.activator.paths import Dialect
from hearth.api.llmservice import Progress

Kind = Literal[
    "chunk", "text-chunk", "comment", "comment-line", "reasoning", "event", "chat-event", "text-event", "ping"
]
"""What a heartbeat of an event stream looks like. A chunk and its event are those of the API that is asked: chat
completions', text completions'; `event` alone is nobody's. A comment line has no empty line behind it."""

# Anthropic's own keep-alive: https://docs.anthropic.com/en/api/messages-streaming#ping-events
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'

_WORDS = {
    "requested": "Waking up",
    "scheduling": "Waiting for a node",
    "pulling-image": "Pulling the image",
    "starting": "Starting",
    "loading": "Loading",
    "queued": "Waiting for a free replica",
    "answering": "Working on it",
}


GRID_SECONDS = 0.025
"""Beats are due at multiples of it, so that many clients are written to in one turn of the event loop."""


class Beating(Protocol):
    """Something that beats: `beat(now)` does it and says when next, or None when it is over."""

    def beat(self, now: float) -> float | None: ...


class Heartbeats:
    """The shared timer. Times are the event loop's; a beat comes up to `GRID_SECONDS` after it is due. `failed` is told
    of a beat that raised; that one beats no more, the others do."""

    def __init__(self, failed: Callable[[str, BaseException], None]) -> None:
        self._failed = failed
        self._slots: dict[int, list[Beating]] = {}  # by number of the grid
        self._numbers: list[int] = []  # those of the slots, a heap
        self._timer: asyncio.Handle | None = None
        self._timer_number = 0

    def add(self, beating: Beating, due: float) -> None:
        """Beat for the first time at `due`."""
        self._put(beating, math.ceil(due / GRID_SECONDS))
        self._arm()

    def _put(self, beating: Beating, number: int) -> None:
        slot = self._slots.get(number)
        if slot is None:
            self._slots[number] = [beating]
            heapq.heappush(self._numbers, number)
        else:
            slot.append(beating)

    def _arm(self) -> None:
        if not self._numbers:
            return
        number = self._numbers[0]
        if self._timer is not None:
            if self._timer_number <= number:
                return
            self._timer.cancel()
        # uvloop gives a timer that is due already no `when()`: the time is kept here.
        self._timer_number = number
        self._timer = asyncio.get_running_loop().call_at(number * GRID_SECONDS, self._fire)

    def _fire(self) -> None:
        self._timer = None
        # uvloop's timers fire on its millisecond clock, up to one early.
        now = asyncio.get_running_loop().time() + 0.001
        last = math.floor(now / GRID_SECONDS)
        while self._numbers and self._numbers[0] <= last:
            for beating in self._slots.pop(heapq.heappop(self._numbers)):
                try:
                    following = beating.beat(now)
                except Exception as error:  # noqa: BLE001 - told by `failed`; of consequence for this one alone
                    self._failed("heartbeat", error)
                    continue
                if following is not None:
                    self._put(beating, max(math.ceil(following / GRID_SECONDS), last + 1))
        self._arm()


def kind_for(progress: Progress, dialect: Dialect, path: str, fields: Mapping[bytes, bytes]) -> Kind:
    """What a request's heartbeats look like: by its LLMService's `progress`, in the words of the API that it asks.

    `path` is the engine's, `fields` are those of the request's head: `X-Hearth-Events: 1` asks for named events.
    """
    named = fields.get(b"x-hearth-events") == b"1"
    if dialect == "anthropic":
        return "event" if named else "ping"
    if named:
        progress = "event"
    if path.endswith("/chat/completions"):
        return "chat-event" if progress == "event" else progress
    if path.removeprefix("/v1").strip("/") == "completions":
        if progress == "comment":
            return "comment"
        # A text completion has no place for words about it: who chose reasoning gets the empty chunk.
        return "text-event" if progress == "event" else "text-chunk"
    # /v1/responses' helpers raise on any event before response.created; of the other APIs nothing is known. An event
    # there has a line for its name: who reads it reads by lines, and does not take a comment and an event for one.
    return "event" if named else "comment-line"


def beat_chunk(kind: Kind, phase: str, elapsed: float, remaining: float | None, trouble: str | None = None) -> bytes:
    """One heartbeat of an event stream: what is going on, in seconds. `eta` is what is still to come, where known;
    `trouble` why no replica comes unless somebody acts, in words for clients.

    docs/clients.md says which client reads which kind; tests/clients measures it.
    """
    if kind == "ping":
        return _PING
    status: dict[str, object] = {"phase": phase, "elapsed": round(elapsed, 1)}
    if remaining is not None:
        status["eta"] = round(remaining, 1)
    if trouble is not None:
        status["trouble"] = trouble
    document: dict[str, object]
    match kind:
        case "comment":
            # A line that begins with a colon is a comment (WHATWG HTML, 9.2.6). The empty line behind it is for who
            # takes all up to an empty line for one event, and would lose the next event with the comment.
            return f": hearth {json.dumps(status)}\n\n".encode()
        case "comment-line":
            # None behind it, for who takes an empty line for an event without data, and fails on it.
            return f": hearth {json.dumps(status)}\n".encode()
        case "event":
            return _event({"type": "hearth.status", **status})
        case "chat-event":
            # The SDKs read every event's data as a chunk, whatever the event's name: here it is one without choices.
            return _event({**status, **_chunk("chat.completion.chunk")})
        case "text-event":
            return _event({**status, **_chunk("text_completion")})
        case "chunk":
            # With a choice, though it says nothing: there are clients that look at the first one without a check.
            document = _chunk("chat.completion.chunk", {"index": 0, "delta": {}, "finish_reason": None})
        case "text-chunk":
            document = _chunk("text_completion", {"index": 0, "text": "", "finish_reason": None})
        case "reasoning":
            of = f" of about {elapsed + remaining:.0f} s" if remaining is not None else ""
            what = _WORDS.get(phase, phase) if trouble is None else f"Can't start yet: {trouble}"
            text = f"{what}, {elapsed:.0f} s{of}\n"
            delta = {"reasoning_content": text}
            document = _chunk("chat.completion.chunk", {"index": 0, "delta": delta, "finish_reason": None})
    # In front, where a person who reads the stream sees it.
    return f"data: {json.dumps({'hearth': status, **document})}\n\n".encode()


def _event(document: dict[str, object]) -> bytes:
    return f"event: hearth.status\ndata: {json.dumps(document)}\n\n".encode()


def _chunk(kind: str, *choices: dict[str, object]) -> dict[str, object]:
    """https://platform.openai.com/docs/api-reference/chat-streaming/streaming

    Its id is empty: openai-go's accumulator takes the first id that it sees for the answer's, and drops every chunk
    that has another. So is its model: where id, model and time say nothing, as in Azure's first chunk, the AI SDK waits
    for the answer's own.
    """
    return {"id": "", "object": kind, "created": 0, "model": "", "choices": list(choices)}
