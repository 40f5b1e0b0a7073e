"""What is compared of two engines' answers: statuses, the names and kinds of what is said, not what is said."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

CHAT: Any = [{"role": "user", "content": "hi"}]
_ID = re.compile(r"^([a-z]+)[-_][0-9a-f]{16,}$")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; `{model}` is added to its body."""

    path: str
    body: Mapping[str, Any]
    model: str | None = None

    def __str__(self) -> str:
        return f"{self.path} {json.dumps(self.body)}"


ASKED = (
    Asked("/v1/chat/completions", {"messages": CHAT, "max_tokens": 4}),
    Asked("/v1/chat/completions", {"messages": CHAT, "max_tokens": 4, "n": 2, "temperature": 1}),
    Asked("/v1/chat/completions", {"messages": CHAT, "max_tokens": 4, "stream": True}),
    Asked(
        "/v1/chat/completions",
        {"messages": CHAT, "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}},
    ),
    Asked("/v1/chat/completions", {"messages": "hi"}),
    Asked("/v1/chat/completions", {"messages": CHAT, "max_tokens": -1}),
    Asked("/v1/chat/completions", {"messages": CHAT, "temperature": "warm"}),
    Asked("/v1/chat/completions", {"messages": CHAT}, model="another"),
    Asked("/v1/completions", {"prompt": "hi", "max_tokens": 4}),
    Asked("/v1/completions", {"prompt": "hi", "max_tokens": 4, "stream": True}),
    Asked("/v1/completions", {"prompt": "hi"}, model="another"),
    Asked("/v1/responses", {"input": "hi", "max_output_tokens": 4}),
    Asked("/v1/responses", {"input": "hi", "max_output_tokens": 4, "stream": True}),
    Asked("/v1/messages", {"messages": CHAT, "max_tokens": 4}),
    Asked("/v1/messages", {"messages": CHAT, "max_tokens": 4, "stream": True}),
    Asked("/tokenize", {"prompt": "hi"}),
    Asked("/detokenize", {"tokens": [73, 74]}),
)


async def face(client: httpx.AsyncClient, url: str, name: str, asked: Asked) -> list[str]:
    """An engine's answer as lines: its status and type, and each field that it has; of a stream, its events' fields, where
    the same ones come again and again, once."""
    body = {"model": asked.model or name, "temperature": 0, "ignore_eos": True, **asked.body}
    answer = await client.post(f"{url}{asked.path}", json=body)
    kind = answer.headers.get("content-type", "").partition(";")[0]
    lines = [f"{answer.status_code} {kind}"]
    if kind == "text/event-stream":
        for line in answer.text.splitlines():
            field, _, value = line.partition(": ")
            if not field:
                continue
            said = (
                f"data {value}"
                if value == "[DONE]"
                else f"{field} {_shape(json.loads(value), name)}"
                if field == "data"
                else line
            )
            if said != lines[-1] and said not in lines[-2:]:
                lines.append(said)
    else:
        lines.append(_shape(answer.json(), name))
    return lines


def _shape(value: Any, name: str) -> str:
    match value:
        case dict():
            # What is null is as good as not there: vLLM's models say all of their fields, or leave them out.
            fields = {key: _shape(each, name) for key, each in sorted(value.items()) if each is not None}
            return "{" + ", ".join(f"{key}: {shape}" for key, shape in fields.items()) + "}"
        case list():
            return "[" + ", ".join(dict.fromkeys(_shape(each, name) for each in value)) + "]"
        case str():
            found = _ID.match(value)
            return f"{found[1]}-ID" if found else "str"
        case bool():
            return "bool"
        case int() | float():
            return "number"
    return "null"
