"""Which client reads which sign of life: `python -m tests.clients.table FOLDER` measures it, and writes and prints the
tables of docs/clients.md.

FOLDER is what tests/clients/install.sh prints. Each client asks a server that sends three signs of life of one form and
then an answer, without Hearth between them: so forms are tried here that Hearth does not send.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hearth.activator.lane.heartbeat import Kind, beat_chunk
from tests.builders import ROOT
from tests.clients.answers import answer
from tests.clients.clients import AT_ONCE, CLIENTS, Client, running, streams
from tests.component.harness import Message, ScriptedEngine, Stream

PAGE = ROOT / "docs/clients.md"
_BEGIN, _END = "<!-- measured by:", "<!-- end of what is measured -->"
SIGNS = 3


@dataclass(frozen=True)
class Form:
    """A form of a sign of life, as its bytes."""

    title: str
    sign: bytes


def _kind(title: str, kind: Kind) -> Form:
    return Form(title, beat_chunk(kind, "loading", 2.0, 8.0))


def _own_id(kind: Kind) -> bytes:
    document = json.loads(beat_chunk(kind, "loading", 2.0, None).removeprefix(b"data: "))
    return f"data: {json.dumps({**document, 'id': 'chatcmpl-hearth'})}\n\n".encode()


def _without_status(kind: Kind) -> bytes:
    document: dict[str, Any] = json.loads(beat_chunk(kind, "loading", 2.0, None).removeprefix(b"data: "))
    document.pop("hearth")
    return f"data: {json.dumps(document)}\n\n".encode()


_COMMENTS = [_kind("comment", "comment"), _kind("comment, no empty line behind it", "comment-line")]

FORMS: dict[str, list[Form]] = {
    "chat": [
        _kind("`chunk`", "chunk"),
        Form("the same without `hearth`", _without_status("chunk")),
        Form("the same with an id", _own_id("chunk")),
        _kind("`reasoning`", "reasoning"),
        _kind("`event`", "chat-event"),
        *_COMMENTS,
    ],
    "text": [
        _kind("`chunk`", "text-chunk"),
        Form("a chat chunk", beat_chunk("chunk", "loading", 2.0, None)),
        _kind("`event`", "text-event"),
        *_COMMENTS,
    ],
    "responses": [
        _kind("comment, no empty line behind it", "comment-line"),
        _kind("comment", "comment"),
        Form("a chat chunk", beat_chunk("chunk", "loading", 2.0, None)),
        _kind("named event", "event"),
        Form("event `keepalive`", b'event: keepalive\ndata: {"type": "keepalive", "sequence_number": 0}\n\n'),
    ],
    "messages": [
        _kind("`ping`", "ping"),
        _kind("comment", "comment"),
        _kind("named event", "event"),
        Form("a chat chunk", beat_chunk("chunk", "loading", 2.0, None)),
    ],
}
"""By the API of the path."""

TITLES = {
    "chat": "/v1/chat/completions",
    "text": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}

Measured = dict[tuple[str, str, str], str]
"""(client's name, how, form's title) → what broke; empty where nothing did."""


async def measure(installed: Path) -> Measured:
    """Let every client ask for every form."""
    found: Measured = {}
    free = asyncio.Semaphore(AT_ONCE)

    async def handler(request: Message, stream: Stream) -> None:
        _, api, number, _ = request.start.split()[1].split("/", 3)
        await answer(request, stream, before=FORMS[api][int(number)].sign * SIGNS)

    async def ask(client: Client, url: str) -> None:
        async with free, running(client, installed) as program:
            for how, api in streaming(client):
                for number, form in enumerate(FORMS[api]):
                    given = await program.ask(f"{url}/{api}/{number}/v1", "qwen", how)
                    found[client.name, how, form.title] = given.fault(api)

    async with ScriptedEngine(handler) as server, asyncio.TaskGroup() as group:
        for client in CLIENTS:
            group.create_task(ask(client, f"http://{server.address}"))
    return found


def streaming(client: Client) -> list[tuple[str, str]]:
    """The ways in which the client streams, each with its API."""
    return [(how, api) for how, api in client.hows.items() if streams(how)]


def as_markdown(found: Measured) -> str:
    """A table for each API: a line for each client that speaks it, a column for each form."""
    tables = []
    for api, forms in FORMS.items():
        lines = [
            f"### {TITLES[api]}",
            "",
            f"| client | {' | '.join(form.title for form in forms)} |",
            f"|---|{'---|' * len(forms)}",
        ]
        for client in CLIENTS:
            hows = [how for how, its in streaming(client) if its == api]
            if hows:
                cells = (_cell({how: found[client.name, how, form.title] for how in hows}) for form in forms)
                lines.append(f"| {client.title} | {' | '.join(cells)} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables) + "\n"


def _cell(faults: dict[str, str]) -> str:
    """What broke, in all of the client's ways or in those that are named."""
    broken = {how: fault.replace("|", "/") for how, fault in faults.items() if fault}
    if not broken:
        return "read"
    if len(set(broken.values())) == 1 and len(broken) == len(faults):
        return f"**{next(iter(broken.values()))}**"
    return "; ".join(f"{how}: **{fault}**" for how, fault in broken.items())


def written(page: str, tables: str) -> str:
    """The page with these tables in the place of those that it has."""
    before, mark, rest = page.partition(_BEGIN)
    head, _, _ = rest.partition("\n")
    _, end, after = rest.partition(_END)
    if not mark or not end:
        raise ValueError(f"the page lacks the lines {_BEGIN!r} and {_END!r}, between which the tables stand")
    return f"{before}{mark}{head}\n\n{tables}\n{end}{after}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    measured = as_markdown(asyncio.run(measure(Path(sys.argv[1]))))
    PAGE.write_text(written(PAGE.read_text(), measured))
    print(measured, end="")
