"""anthropic's package for Python."""

from typing import Any

from anthropic import Anthropic

from tests.clients.programs.lines import QUESTION, serve


def ask(base_url: str, model: str, how: str) -> tuple[str, str | None]:
    client = Anthropic(base_url=base_url.removesuffix("/v1"), api_key="none", max_retries=0, timeout=60)
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": 20,
    }
    match how:
        case "stream":
            said, reason = "", None
            for event in client.messages.create(**asked, stream=True):
                if event.type == "content_block_delta":
                    said += getattr(event.delta, "text", "")
                elif event.type == "message_delta":
                    reason = event.delta.stop_reason
            return said, reason
        case "helper":
            with client.messages.stream(**asked) as stream:
                return _of(stream.get_final_message())
        case "whole":
            return _of(client.messages.create(**asked))
    raise ValueError(how)


def _of(message: Any) -> tuple[str, str | None]:
    return "".join(block.text for block in message.content), message.stop_reason


serve(ask)
