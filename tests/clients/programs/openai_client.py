"""openai's package: BASE_URL MODEL stream|whole|async-stream|async-whole; prints what the model said."""

import asyncio
import sys
from typing import Any

from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk


def main() -> None:
    base_url, model, how = sys.argv[1:]
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "Where were you?"}],
        "max_tokens": 20,
    }
    settings: dict[str, Any] = {"base_url": base_url, "api_key": "none", "max_retries": 0, "timeout": 60}
    match how:
        case "stream":
            chunks = list(OpenAI(**settings).chat.completions.create(**asked, stream=True))
            print(_said(chunks))
        case "async-stream":
            print(asyncio.run(_streamed(AsyncOpenAI(**settings), asked)))
        case "async-whole":
            answer = asyncio.run(AsyncOpenAI(**settings).chat.completions.create(**asked))
            print(answer.choices[0].message.content)
        case _:
            print(OpenAI(**settings).chat.completions.create(**asked).choices[0].message.content)


async def _streamed(client: AsyncOpenAI, asked: dict[str, Any]) -> str:
    return _said([chunk async for chunk in await client.chat.completions.create(**asked, stream=True)])


def _said(chunks: list[ChatCompletionChunk]) -> str:
    """The answer's words; each chunk must be one that the package's own model takes as it is."""
    for chunk in chunks:
        ChatCompletionChunk.model_validate_json(chunk.model_dump_json())
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


main()
