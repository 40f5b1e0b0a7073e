"""The simulated engine's /v1/messages: Anthropic's API as vLLM 0.32 serves it, which is its chat in other envelopes.

vLLM sends no `ping`. A stream whose engine dies ends with an `error` event; errors of a whole answer have Anthropic's
shape, except those of a body that does not validate, which have OpenAI's.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from hearth.emulators.engine_answers import event
from hearth.emulators.engine_core import EngineCore, EngineDead, Prompt, Spoken
from hearth.emulators.engine_requests import dead
from hearth.emulators.engine_speech import Speech


@dataclass(frozen=True, slots=True)
class AnthropicMessage:
    """One answer."""

    id: str
    model: str
    prompt: Prompt
    speech: Speech

    async def whole(self, core: EngineCore, faults: frozenset[str]) -> dict[str, Any]:
        """The body of an answer that is no stream. Raises Refused where the engine dies."""
        text, tokens, end = "", 0, Spoken(0, "", "stop")
        try:
            async with contextlib.aclosing(core.generate(self.prompt, [self.speech], faults)) as said:
                async for end in said:
                    text += end.text
                    tokens += bool(end.text)
        except EngineDead as error:
            raise dead(error) from error
        return self._message([{"type": "text", "text": text}], end, tokens)

    async def events(self, core: EngineCore, faults: frozenset[str]) -> AsyncIterator[bytes]:
        """The events of a stream."""

        def told(kind: str, **more: Any) -> bytes:
            return event({"type": kind, **more}, kind)

        tokens, end = 0, Spoken(0, "", None)
        try:
            async with contextlib.aclosing(core.generate(self.prompt, [self.speech], faults)) as said:
                async for end in said:
                    if tokens == 0:
                        yield told("message_start", message=self._message([], None, 0))
                        yield told("content_block_start", index=0, content_block={"type": "text", "text": ""})
                    tokens += bool(end.text)
                    if end.text:
                        delta = {"type": "text_delta", "text": end.text}
                        yield told("content_block_delta", index=0, delta=delta)
            yield told("content_block_stop", index=0)
            why = {"stop_reason": _reason(end), "stop_sequence": end.stopped_by}
            yield told("message_delta", delta=why, usage=self._usage(tokens))
            yield told("message_stop")
        except EngineDead as error:
            yield told("error", error={"type": "internal_error", "message": str(error)})

    def _message(self, content: list[dict[str, Any]], end: Spoken | None, tokens: int) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": self.model,
            "stop_reason": None if end is None else _reason(end),
            "stop_sequence": None if end is None else end.stopped_by,
            "usage": self._usage(tokens),
        }

    def _usage(self, tokens: int) -> dict[str, int]:
        return {"input_tokens": self.prompt.tokens, "output_tokens": tokens}


def _reason(end: Spoken) -> str:
    if end.stopped_by is not None:
        return "stop_sequence"
    return "max_tokens" if end.finish == "length" else "end_turn"
