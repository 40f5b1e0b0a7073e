"""openai's package for Python."""

import asyncio
from typing import Any

from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.clients.programs.lines import QUESTION, serve


def ask(base_url: str, model: str, how: str) -> tuple[str, str | None]:
    settings: dict[str, Any] = {"base_url": base_url, "api_key": "none", "max_retries": 0, "timeout": 60}
    chat: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 20}
    text: dict[str, Any] = {"model": model, "prompt": QUESTION, "max_tokens": 20}
    client = OpenAI(**settings)
    match how:
        case "stream":
            return _of_chunks(list(client.chat.completions.create(**chat, stream=True)))
        case "async-stream":
            return asyncio.run(_streamed(settings, chat))
        case "helper":
            with client.chat.completions.stream(**chat) as stream:
                return _of_chat(stream.get_final_completion())
        case "whole":
            return _of_chat(client.chat.completions.create(**chat))
        case "async-whole":
            return _of_chat(asyncio.run(_whole(settings, chat)))
        case "text-stream":
            pieces = [choice for chunk in client.completions.create(**text, stream=True) for choice in chunk.choices]
            return "".join(piece.text for piece in pieces), pieces[-1].finish_reason
        case "text-whole":
            choice = client.completions.create(**text).choices[0]
            return choice.text, choice.finish_reason
    return _responses(client, model, how)


def _responses(client: OpenAI, model: str, how: str) -> tuple[str, str | None]:
    asked: dict[str, Any] = {"model": model, "input": QUESTION}
    match how:
        case "responses-stream":
            said, status = "", None
            for event in client.responses.create(**asked, stream=True):
                if event.type == "response.output_text.delta":
                    said += event.delta
                elif event.type == "response.completed":
                    status = event.response.status
            return said, status
        case "responses-helper":
            with client.responses.stream(**asked) as stream:
                final = stream.get_final_response()
                return final.output_text, final.status
        case "responses-whole":
            answer = client.responses.create(**asked)
            return answer.output_text, answer.status
    raise ValueError(how)


async def _streamed(settings: dict[str, Any], asked: dict[str, Any]) -> tuple[str, str | None]:
    async with AsyncOpenAI(**settings) as client:
        return _of_chunks([chunk async for chunk in await client.chat.completions.create(**asked, stream=True)])


async def _whole(settings: dict[str, Any], asked: dict[str, Any]) -> Any:
    async with AsyncOpenAI(**settings) as client:
        return await client.chat.completions.create(**asked)


def _of_chunks(chunks: list[ChatCompletionChunk]) -> tuple[str, str | None]:
    """The answer; each chunk must be one that the package's own model takes as it is."""
    for chunk in chunks:
        ChatCompletionChunk.model_validate_json(chunk.model_dump_json())
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason


def _of_chat(answer: Any) -> tuple[str, str | None]:
    choice = answer.choices[0]
    return choice.message.content or "", choice.finish_reason


serve(ask)
