"""The simulated engine's /v1/responses: OpenAI's Responses API as vLLM 0.32 serves it, without tools or memory.

Streams have named events with a running number and no [DONE]; one whose engine dies is cut, as vLLM's is.
"""

import contextlib
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from hearth.emulators.engine_answers import event
from hearth.emulators.engine_core import EngineCore, EngineDead, Prompt
from hearth.emulators.engine_requests import ResponsesRequest, dead
from hearth.emulators.engine_speech import Speech


@dataclass(frozen=True, slots=True)
class ModelResponse:
    """One answer."""

    asked: ResponsesRequest
    model: str
    prompt: Prompt
    speech: Speech
    id: str = field(default_factory=lambda: f"resp_{uuid.uuid4().hex}")
    message_id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    async def whole(self, core: EngineCore, faults: frozenset[str]) -> dict[str, Any]:
        """The body of an answer that is no stream. Raises Refused where the engine dies."""
        text, tokens = "", 0
        try:
            async with contextlib.aclosing(core.generate(self.prompt, [self.speech], faults)) as said:
                async for spoken in said:
                    text += spoken.text
                    tokens += bool(spoken.text)
        except EngineDead as error:
            raise dead(error) from error
        return self._body(text, tokens)

    async def events(self, core: EngineCore, faults: frozenset[str]) -> AsyncIterator[bytes]:
        """The events of a stream. Raises EngineDead where it is cut."""
        numbers = itertools.count()

        def told(kind: str, **more: Any) -> bytes:
            return event({"type": kind, "sequence_number": next(numbers), **more}, kind)

        place = {"item_id": self.message_id, "output_index": 0, "content_index": 0}
        yield told("response.created", response=self._body(None, 0))
        yield told("response.in_progress", response=self._body(None, 0))
        text, tokens = "", 0
        async with contextlib.aclosing(core.generate(self.prompt, [self.speech], faults)) as said:
            async for spoken in said:
                if tokens == 0:
                    yield told("response.output_item.added", output_index=0, item=self._message("", "in_progress"))
                    yield told("response.content_part.added", **place, part={**_part(""), "logprobs": []})
                text += spoken.text
                tokens += bool(spoken.text)
                if spoken.text:
                    yield told("response.output_text.delta", **place, delta=spoken.text, logprobs=[])
        yield told("response.output_text.done", **place, text=text, logprobs=[])
        yield told("response.content_part.done", **place, part=_part(text))
        yield told("response.output_item.done", output_index=0, item=self._message(text, "completed"))
        yield told("response.completed", response=self._body(text, tokens))

    def _message(self, text: str, status: str) -> dict[str, Any]:
        content = [_part(text)] if status == "completed" else []
        return {"id": self.message_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _body(self, text: str | None, tokens: int) -> dict[str, Any]:
        """None as text: it is under way."""
        cut = text is not None and self.speech.finish == "length"
        asked = self.prompt.tokens
        usage = {
            "input_tokens": asked,
            "input_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "input_tokens_per_turn": [],
                "cached_tokens_per_turn": [],
            },
            "output_tokens": tokens,
            "output_tokens_details": {
                "reasoning_tokens": 0,
                "tool_output_tokens": 0,
                "output_tokens_per_turn": [],
                "tool_output_tokens_per_turn": [],
            },
            "total_tokens": asked + tokens,
        }
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "model": self.model,
            "status": "in_progress" if text is None else "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": self.asked.instructions,
            "output": [] if text is None else [self._message(text, "completed")],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "background": False,
            "max_output_tokens": self.asked.max_output_tokens,
            "service_tier": "auto",
            "truncation": "disabled",
            "usage": None if text is None else usage,
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": None}
