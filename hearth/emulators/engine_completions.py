"""The simulated engine's chat and text completions: OpenAI's envelopes as vLLM 0.32 fills them, and its embeddings."""

import base64
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from hearth.emulators.engine_answers import DONE, FINGERPRINT, event
from hearth.emulators.engine_core import EngineCore, EngineDead, Prompt, Spoken
from hearth.emulators.engine_requests import EmbeddingRequest, dead
from hearth.emulators.engine_speech import Speech, embedding


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer: chat or text, for how many prompt tokens, and what its choices will say."""

    id: str
    chat: bool
    model: str
    created: int
    prompt: Prompt
    speeches: Sequence[Speech]

    @classmethod
    def begun(cls, name: str, chat: bool, model: str, prompt: Prompt, speeches: Sequence[Speech]) -> "Completion":
        return cls(name, chat, model, int(time.time()), prompt, speeches)

    async def whole(self, core: EngineCore, faults: frozenset[str]) -> dict[str, Any]:
        """The body of an answer that is no stream. Raises Refused where the engine dies."""
        texts = [""] * len(self.speeches)
        ends = [Spoken(number, "", "abort") for number in range(len(self.speeches))]
        tokens = 0
        try:
            async with contextlib.aclosing(core.generate(self.prompt, self.speeches, faults)) as said:
                async for spoken in said:
                    texts[spoken.choice] += spoken.text
                    tokens += bool(spoken.text)
                    if spoken.finish is not None:
                        ends[spoken.choice] = spoken
        except EngineDead as error:
            if len(self.speeches) == 1:
                raise dead(error) from error
            # Seen on vLLM 0.32: with several choices the aborted request is an answer with nothing in it.
            texts, tokens = [""] * len(texts), 0
            ends = [Spoken(number, "", "abort") for number in range(len(self.speeches))]
        choices = [self._choice(text, end) for text, end in zip(texts, ends, strict=True)]
        unused: dict[str, Any] = {**FINGERPRINT, "prompt_logprobs": None, "kv_transfer_params": None}
        return {**self._envelope("chat.completion"), "choices": choices, "usage": self._usage(tokens), **unused}

    async def events(self, core: EngineCore, faults: frozenset[str], *, usage: bool) -> AsyncIterator[bytes]:
        """The events of a stream; one whose engine dies ends with an error event and [DONE]."""
        tokens, begun = 0, not self.chat
        try:
            async with contextlib.aclosing(core.generate(self.prompt, self.speeches, faults)) as said:
                async for spoken in said:
                    if not begun:  # with the first token: what fails before it fails as the first event
                        begun = True
                        for number in range(len(self.speeches)):
                            yield event(self._chunk(number, {"role": "assistant", "content": ""}))
                    tokens += bool(spoken.text)
                    last = spoken.finish is not None and not usage
                    yield event({**self._spoken(spoken), **(FINGERPRINT if last else {})})
            if usage:
                counted = {"choices": [], "usage": self._usage(tokens), **FINGERPRINT}
                yield event({**self._envelope("chat.completion.chunk"), **counted})
        except EngineDead as error:
            yield event(dead(error).body)
        yield DONE

    def _envelope(self, kind: str) -> dict[str, Any]:
        kind = kind if self.chat else "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _usage(self, tokens: int) -> dict[str, Any]:
        asked = self.prompt.tokens
        counts = {"prompt_tokens": asked, "total_tokens": asked + tokens, "completion_tokens": tokens}
        return {**counts, "prompt_tokens_details": None}

    def _choice(self, text: str, end: Spoken) -> dict[str, Any]:
        ending = {"logprobs": None, "finish_reason": end.finish, "stop_reason": end.stopped_by, "token_ids": None}
        if not self.chat:
            return {"index": end.choice, "text": text, **ending, "prompt_logprobs": None, "prompt_token_ids": None}
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text,
            "refusal": None,
            "annotations": None,
            "audio": None,
        }
        message |= {"function_call": None, "reasoning": None}
        return {"index": end.choice, "message": message, **ending}

    def _spoken(self, spoken: Spoken) -> dict[str, Any]:
        ending = {} if spoken.finish is None else {"finish_reason": spoken.finish, "stop_reason": spoken.stopped_by}
        if self.chat:
            return self._chunk(spoken.choice, {"content": spoken.text}, token_ids=None, **ending)
        choice = {"index": spoken.choice, "text": spoken.text, "logprobs": None, "finish_reason": None}
        choice |= {"stop_reason": None, "token_ids": None, **ending}
        return {**self._envelope(""), "choices": [choice]}

    def _chunk(self, number: int, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        return {**self._envelope("chat.completion.chunk"), "choices": [choice]}


def embeddings(asked: EmbeddingRequest, name: str, model: str) -> dict[str, Any]:
    """A vector for each input."""
    given = asked.input
    one = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
    inputs = [given] if one else list(given)
    data = []
    for index, text in enumerate(inputs):
        vector = embedding(str(text))
        encoded: object = vector
        if asked.encoding_format == "base64":  # what the OpenAI SDKs ask for
            encoded = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"index": index, "object": "embedding", "embedding": encoded})
    tokens = sum(len(str(text).split()) for text in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": None}
    envelope = {"id": name, "object": "list", "created": int(time.time()), "model": model}
    return {**envelope, "data": data, "usage": usage}
