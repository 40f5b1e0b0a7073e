"""`hearth chat NAME`: a small client, that shows a cold start as it goes and then the tokens as they come."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from httpx_sse import connect_sse
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from hearth.commands.console import visible


class ChatFailed(Exception):
    """No answer, or not all of it; the text says why."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A heartbeat: the phase of the cold start, seconds that it took, seconds still to come where known, and what is in
    its way."""

    phase: str
    elapsed: float
    remaining: float | None
    trouble: str | None = None

    @property
    def what(self) -> str:
        """What is waited for, in words."""
        return visible(self.phase if self.trouble is None else self.trouble)


@dataclass
class Conversation:
    """With one model at one address (without /v1). `ask` adds to it."""

    url: str
    model: str
    key: str = "none"
    messages: list[dict[str, str]] = field(default_factory=list)

    def ask(self, client: httpx.Client, question: str) -> Iterator[Waiting | str]:
        """Heartbeats, then the answer's pieces. Raises ChatFailed."""
        asked = [*self.messages, {"role": "user", "content": question}]
        body = {"model": self.model, "stream": True, "messages": asked}
        headers = {"x-hearth-events": "1", "authorization": f"Bearer {self.key}"}
        said: list[str] = []
        try:
            with connect_sse(client, "POST", f"{self.url}/v1/chat/completions", json=body, headers=headers) as source:
                if source.response.status_code != 200:
                    source.response.read()
                    raise ChatFailed(_error_of(source.response))
                for event in source.iter_sse():
                    if event.data == "[DONE]":
                        break
                    piece = _piece(event.event, json.loads(event.data))
                    if isinstance(piece, str):
                        said.append(piece)
                    yield piece
        except (httpx.HTTPError, ValueError) as error:
            raise ChatFailed(f"{self.url}: {error or type(error).__name__}") from error
        self.messages = [*asked, {"role": "assistant", "content": "".join(said)}]


def _piece(event: str, document: Any) -> Waiting | str:
    if event == "hearth.status":
        return Waiting(document["phase"], document["elapsed"], document.get("eta"), document.get("trouble"))
    if "error" in document:
        raise ChatFailed(document["error"].get("message") or "the model failed")
    choices = document.get("choices") or []
    return (choices[0].get("delta") or {}).get("content") or "" if choices else ""


def _error_of(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code}: {response.text[:200]}"


def show(pieces: Iterator[Waiting | str], out: Console, err: Console) -> None:
    """The cold start on standard error, a bar on a terminal and lines elsewhere; the answer on standard output."""
    moves = err.is_terminal and not err.is_dumb_terminal
    bar = TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[left]}")
    with Progress(*bar, console=err, transient=True, disable=not moves) as progress:
        task = progress.add_task("", total=None, left="", visible=False)
        told = None
        for piece in pieces:
            if isinstance(piece, Waiting):
                total = None if piece.remaining is None else piece.elapsed + piece.remaining
                left = f"{piece.elapsed:.0f} s" + ("" if total is None else f" of about {total:.0f} s")
                progress.update(
                    task, description=piece.what, total=total, completed=piece.elapsed, left=left, visible=True
                )
                if not moves and piece.what != told:
                    told = piece.what
                    err.print(f"{told}, {left}", highlight=False, soft_wrap=True)
            elif piece:
                progress.stop()
                out.print(visible(piece), end="", markup=False, highlight=False, soft_wrap=True)
    out.print()
