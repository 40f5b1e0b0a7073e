"""LiteLLM."""

import asyncio
from typing import Any

import litellm

from tests.clients.programs.lines import QUESTION, serve


def ask(base_url: str, model: str, how: str) -> tuple[str, str | None]:
    asked: dict[str, Any] = {
        "model": f"openai/{model}",
        "base_url": base_url,
        "api_key": "none",
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": 20,
        "num_retries": 0,
        "timeout": 60,
    }
    match how:
        case "stream":
            return _of_chunks(list(litellm.completion(**asked, stream=True)))
        case "async-stream":
            return _of_chunks(asyncio.run(_streamed(asked)))
        case "async-whole":
            return _of_chat(asyncio.run(litellm.acompletion(**asked)))
        case "whole":
            return _of_chat(litellm.completion(**asked))
    raise ValueError(how)


async def _streamed(asked: dict[str, Any]) -> list[Any]:
    return [chunk async for chunk in await litellm.acompletion(**asked, stream=True)]


def _of_chunks(chunks: list[Any]) -> tuple[str, str | None]:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason


def _of_chat(answer: Any) -> tuple[str, str | None]:
    return answer.choices[0].message.content, answer.choices[0].finish_reason


serve(ask)
