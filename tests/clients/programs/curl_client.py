"""curl, whose bytes are read here: data lines alone, everything else is for people."""

import json
import subprocess

from tests.clients.programs.lines import QUESTION, serve


def ask(base_url: str, model: str, how: str) -> tuple[str, str | None]:
    messages = [{"role": "user", "content": QUESTION}]
    asked = {"model": model, "messages": messages, "stream": how == "stream", "max_tokens": 20}
    command = ["curl", "-sSN", "--fail", "--noproxy", "*", f"{base_url}/chat/completions", "--json", json.dumps(asked)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    if how == "whole":
        choice = json.loads(printed)["choices"][0]
        return choice["message"]["content"], choice["finish_reason"]
    lines = [line.removeprefix("data: ") for line in printed.splitlines() if line.startswith("data: ")]
    if lines[-1] != "[DONE]":
        raise ValueError(f"ends with {lines[-1]}")
    choices = [choice for line in lines[:-1] for choice in json.loads(line).get("choices", ())]
    return "".join(choice["delta"].get("content", "") for choice in choices), choices[-1]["finish_reason"]


serve(ask)
