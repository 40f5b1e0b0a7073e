"""How the simulated engine answers, whatever the dialect: an event stream, or a whole body while its client is there.

vLLM's with_cancellation and StreamingResponse: who goes away takes his whole request with him. Ids are the client's
X-Request-Id, or unique.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hearth.emulators.engine_core import Prompt
from hearth.emulators.engine_speech import tokenize

DONE = b"data: [DONE]\n\n"
# Of which version an answer is, and of which configuration.
FINGERPRINT = {"system_fingerprint": "vllm-0.32.0-47a3b862"}


def request_id(request: Request, prefix: str) -> str:
    return f"{prefix}-{request.headers.get('x-request-id') or uuid.uuid4().hex}"


def event(data: dict[str, Any], name: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + json.dumps(data).encode() + b"\n\n"


def plain(messages: Sequence[dict[str, Any]], system: object = None) -> str:
    """A conversation as text: what a chat template makes of it."""
    told = [{"role": "system", "content": system}] if system is not None else []
    return "".join(f"{message.get('role')}: {message.get('content')}\n" for message in [*told, *messages])


def prompt_of(beginning: str, text: str) -> Prompt:
    """What a prompt is to the core: its beginning in the prefix cache, and its tokens."""
    return Prompt(beginning, len(tokenize(text)))


def stream(events: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")


async def whole(request: Request, answer: Coroutine[Any, Any, dict[str, Any]]) -> Response:
    """The answer's body, unless the client goes away before; then it is cancelled, and nobody hears the rest."""
    answering = asyncio.create_task(answer)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return JSONResponse(await answering) if answering.done() else Response()
    finally:
        for task in (answering, leaving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
