"""An engine's whole answer in each API that the clients here speak: the same twenty words, in the same pieces."""

import json
from collections.abc import Iterable
from typing import Any

from tests.component.harness import EVENTS_HEAD, Message, Stream, chunked

WORDS = [
    "While",
    "you",
    "were",
    "away",
    "nothing",
    "ran",
    "here",
    "and",
    "nothing",
    "was",
    "paid",
    "for",
    "so",
    "what",
    "may",
    "I",
    "do",
    "for",
    "you",
    "now",
]
SAID = " ".join(WORDS)

FINISH = {"chat": "stop", "text": "stop", "responses": "completed", "messages": "end_turn"}
"""Why each API's answer ended."""

PATHS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
}


async def answer(request: Message, stream: Stream, before: bytes = b"") -> None:
    """Answer as an engine would; `before` comes before a stream's first event. A body that is not whole gets 400."""
    path = request.start.split()[1].removesuffix("?beta=true")
    api = PATHS["/v1" + path.rpartition("/v1")[2]]
    try:
        asked = json.loads(request.body)
    except ValueError:
        await _whole(stream, {"error": {"message": f"{len(request.body)} bytes that are no JSON"}}, "400 Bad Request")
        return
    if "Where were you?" not in request.body.decode():
        await _whole(stream, {"error": {"message": "the question is not in the body"}}, "400 Bad Request")
    elif asked.get("stream"):
        await stream.write(EVENTS_HEAD)
        if before:
            await stream.write(chunked(before))
        for event in _EVENTS[api](asked["model"]):
            await stream.write(chunked(event))
        await stream.write(b"0\r\n\r\n")
    else:
        await _whole(stream, _DOCUMENTS[api](asked["model"]))


async def _whole(stream: Stream, document: dict[str, Any], status: str = "200 OK") -> None:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    await stream.write(head.encode(), body)


def _pieces() -> list[str]:
    return [*(word + " " for word in WORDS[:-1]), WORDS[-1]]


def _data(document: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def _named(document: dict[str, Any]) -> bytes:
    return f"event: {document['type']}\n".encode() + _data(document)


# https://platform.openai.com/docs/api-reference/chat


def _chat(model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": SAID}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 3, "completion_tokens": 20, "total_tokens": 23}
    envelope = {"id": "chatcmpl-7", "object": "chat.completion", "created": 1, "model": model}
    return {**envelope, "choices": [choice], "usage": usage}


def _chat_events(model: str) -> Iterable[bytes]:
    envelope = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": model}
    # The first one has a word, so that a client that loses it can be told from one that does not.
    first, *others = _pieces()
    for delta in [{"role": "assistant", "content": first}, *({"content": piece} for piece in others), {}]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None if delta else "stop"}
        yield _data({**envelope, "choices": [choice]})
    yield b"data: [DONE]\n\n"


# https://platform.openai.com/docs/api-reference/completions


def _text(model: str) -> dict[str, Any]:
    choice = {"index": 0, "text": SAID, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 3, "completion_tokens": 20, "total_tokens": 23}
    envelope = {"id": "cmpl-7", "object": "text_completion", "created": 1, "model": model}
    return {**envelope, "choices": [choice], "usage": usage}


def _text_events(model: str) -> Iterable[bytes]:
    envelope = {"id": "cmpl-7", "object": "text_completion", "created": 1, "model": model}
    for piece in [*_pieces(), ""]:
        choice = {"index": 0, "text": piece, "logprobs": None, "finish_reason": None if piece else "stop"}
        yield _data({**envelope, "choices": [choice]})
    yield b"data: [DONE]\n\n"


# https://platform.openai.com/docs/api-reference/responses


def _response(model: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": SAID, "annotations": []}
    item = {"id": "msg_7", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    settings = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    envelope = {"id": "resp_7", "object": "response", "created_at": 1, "model": model, "status": "completed"}
    return {**envelope, **settings, "error": None, "output": [item]}


def _response_events(model: str) -> Iterable[bytes]:
    whole = _response(model)
    begun = {**whole, "status": "in_progress", "output": []}
    (item,) = whole["output"]
    (part,) = item["content"]
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []} for piece in _pieces()),
        {"type": "response.output_text.done", **at, "text": SAID, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    for number, event in enumerate(events):
        yield _named({**event, "sequence_number": number})


# https://docs.anthropic.com/en/api/messages-streaming


def _message(model: str) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 20}
    head = {"id": "msg_7", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    return {**head, "content": [{"type": "text", "text": SAID}], "stop_reason": "end_turn", "usage": usage}


def _message_events(model: str) -> Iterable[bytes]:
    whole = _message(model)
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in _pieces()
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 20},
        },
        {"type": "message_stop"},
    ]
    return map(_named, events)


_EVENTS = {"chat": _chat_events, "text": _text_events, "responses": _response_events, "messages": _message_events}
_DOCUMENTS = {"chat": _chat, "text": _text, "responses": _response, "messages": _message}
