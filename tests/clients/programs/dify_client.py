"""A loop that reads server-sent events as Dify's plugin for OpenAI-compatible models does, in lines of our own.

It takes all up to an empty line for one event, leaves out what begins with a colon, and ends the answer at the first
event that is no JSON behind its `data:`. So a comment without an empty line behind it takes the next event with it,
and an event with a name ends the answer.
"""

import json
from collections.abc import Iterator

import httpx

from tests.clients.programs.lines import QUESTION, serve


def ask(base_url: str, model: str, how: str) -> tuple[str, str | None]:
    if how != "stream":
        raise ValueError(how)
    said, finish = "", None
    asked = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "stream": True, "max_tokens": 20}
    with httpx.stream("POST", f"{base_url}/chat/completions", json=asked, timeout=60, trust_env=False) as answer:
        answer.raise_for_status()
        for block in _blocks(answer.iter_text()):
            if not block or block.startswith(":"):
                continue
            data = block.removeprefix("data:").lstrip()
            if data == "[DONE]":
                continue
            try:
                chunk = json.loads(data)
            except ValueError:
                return said, "Non-JSON encountered."
            if not chunk["choices"]:
                continue
            choice = chunk["choices"][0]
            finish = choice.get("finish_reason") or finish
            said += choice["delta"].get("content") or ""
    return said, finish


def _blocks(pieces: Iterator[str]) -> Iterator[str]:
    buffered = ""
    for piece in pieces:
        *blocks, buffered = (buffered + piece).split("\n\n")
        yield from (block.strip() for block in blocks)


serve(ask)
