"""LiteLLM: BASE_URL MODEL stream|whole|async-stream|async-whole; prints what the model said."""

import asyncio
import sys
from typing import Any

import litellm


def main() -> None:
    base_url, model, how = sys.argv[1:]
    asked: dict[str, Any] = {
        "model": f"openai/{model}",
        "base_url": base_url,
        "api_key": "none",
        "messages": [{"role": "user", "content": "Where were you?"}],
        "max_tokens": 20,
        "num_retries": 0,
        "timeout": 60,
    }
    match how:
        case "stream":
            print("".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**asked, stream=True)))
        case "async-stream":
            print(asyncio.run(_streamed(asked)))
        case "async-whole":
            print(asyncio.run(litellm.acompletion(**asked)).choices[0].message.content)
        case _:
            print(litellm.completion(**asked).choices[0].message.content)


async def _streamed(asked: dict[str, Any]) -> str:
    return "".join(
        [chunk.choices[0].delta.content or "" async for chunk in await litellm.acompletion(**asked, stream=True)]
    )


main()
