"""The clients that no one here wrote, each as a process that asks for as long as it is told to."""

import asyncio
import contextlib
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.builders import ROOT
from tests.clients.answers import FINISH, SAID

PROGRAMS = "tests/clients/programs"
PATIENCE = 70.0  # seconds; the clients' own patience is 60
AT_ONCE = 4  # processes of clients that ask; they wait for most of their time


@dataclass(frozen=True)
class Client:
    """`name` is the program's; `hows` are the ways in which it can be asked to ask, each with the API that it uses."""

    name: str
    title: str
    hows: dict[str, str]

    def command(self, installed: Path) -> list[str]:
        """The program that reads lines `BASE_URL MODEL HOW`; `installed` is what install.sh printed."""
        match self.name:
            case "go-old" | "go-new":
                return [str(installed / self.name)]
            case "java":
                return ["java", "-cp", str(installed / "java"), "Ask"]
            case "openai-node" | "anthropic-node" | "fetch-event-source":
                program = self.name.removesuffix("-node").replace("-", "_")
                return ["node", f"{PROGRAMS}/{program}_client.mjs", str(installed)]
            case "litellm" | "llamaindex" | "openai-before":
                python, program = str(installed / "python/bin/python"), self.name.removesuffix("-before")
                return [python, "-m", f"tests.clients.programs.{program}_client"]
        return [sys.executable, "-m", f"tests.clients.programs.{self.name}_client"]


def _hows(*names: str) -> dict[str, str]:
    apis = {"text": "text", "responses": "responses"}
    return {name: apis.get(name.partition("-")[0], "chat") for name in names}


_OPENAI = _hows(
    "stream", "helper", "whole", "text-stream", "text-whole", "responses-stream", "responses-helper", "responses-whole"
)
_GO = _hows("stream", "helper", "whole", "text-stream", "text-whole", "responses-stream", "responses-whole")
_MESSAGES = {"stream": "messages", "helper": "messages", "whole": "messages"}

HERE = Path(__file__).parent


def _of_hearths_own(package: str) -> str:
    return _minor(importlib.metadata.version(package))


def _pinned(file: str, package: str) -> str:
    """The version of a package in requirements.txt, package.json or a Go module's file."""
    found = re.search(rf"^\W*{re.escape(package)}\W+v?(\d[\d.]*)", (HERE / file).read_text(), re.MULTILINE)
    assert found is not None, f"{file} has no {package}"
    return _minor(found[1])


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _openai_go(file: str) -> str:
    return f"openai-go {_pinned(f'programs/go/{file}', 'github.com/openai/openai-go/v3')}"


_OTHER_GO = _pinned("programs/go/go.mod", "github.com/sashabaranov/go-openai")

CLIENTS = [
    Client(
        "openai",
        f"openai {_of_hearths_own('openai')}, Python",
        {**_OPENAI, **_hows("async-stream", "async-whole")},
    ),
    Client("openai-before", f"openai {_pinned('requirements.txt', 'openai')}, Python", _OPENAI),
    Client("openai-node", f"openai {_pinned('package.json', 'openai')}, Node", _OPENAI),
    Client("go-old", _openai_go("old.mod"), _GO),
    Client("go-new", f"{_openai_go('go.mod')}; go-openai {_OTHER_GO}", {**_GO, **_hows("other-stream")}),
    Client("anthropic", f"anthropic {_of_hearths_own('anthropic')}, Python", _MESSAGES),
    Client("anthropic-node", f"anthropic {_pinned('package.json', '@anthropic-ai/sdk')}, Node", _MESSAGES),
    Client(
        "langchain", f"LangChain (langchain-openai {_of_hearths_own('langchain-openai')})", _hows("stream", "whole")
    ),
    Client(
        "litellm",
        f"LiteLLM {_pinned('requirements.txt', 'litellm')}",
        _hows("stream", "whole", "async-stream", "async-whole"),
    ),
    Client(
        "llamaindex",
        f"LlamaIndex (openai-like {_pinned('requirements.txt', 'llama-index-llms-openai-like')})",
        _hows("stream", "whole"),
    ),
    Client(
        "fetch-event-source",
        f"fetch-event-source {_pinned('package.json', '@microsoft/fetch-event-source')}",
        _hows("stream", "text-stream"),
    ),
    Client("dify", "a loop like Dify's", _hows("stream")),
    Client("java", "HttpClient of the JDK", _hows("stream", "whole", "long", "twice")),
    Client("curl", "curl", _hows("stream", "whole")),
]


def streams(how: str) -> bool:
    """Whether a client that asks so is answered in pieces."""
    return how.rpartition("-")[2] in ("stream", "helper")


@dataclass(frozen=True)
class Answer:
    """What a client made of an answer."""

    said: str = ""
    finish: str | None = None
    error: str = ""

    def fault(self, api: str) -> str:
        """What of the answer did not arrive; empty where all of it did."""
        if self.error:
            return self.error
        if self.said != SAID:
            return f"{len(self.said.split())} of {len(SAID.split())} words" + (", no error" if self.finish else "")
        return "" if self.finish == FINISH[api] else f"finish reason {self.finish}"


class Program:
    """A client's running process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, base_url: str, model: str, how: str) -> Answer:
        """Let the client ask, and say what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{base_url} {model} {how}\n".encode())
        async with asyncio.timeout(PATIENCE):
            while line := await self._process.stdout.readline():
                if line.startswith(b"{"):  # LiteLLM prints its hints for people, too
                    given = json.loads(line)
                    return Answer(given.get("said") or "", given.get("finish"), _short(given.get("error", "")))
        return Answer(error="the process ended")


def _short(error: str) -> str:
    """What is the same in every run, in a line."""
    return re.sub(r"\s+", " ", error)[:90]


@contextlib.asynccontextmanager
async def running(client: Client, installed: Path) -> AsyncIterator[Program]:
    """The client's process until the context is left."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *client.command(installed), stdin=pipe, stdout=pipe, cwd=ROOT, env={**env, "PYTHONPATH": str(ROOT)}
    )
    try:
        yield Program(process)
    except BaseException:
        process.kill()  # it may be in the middle of asking
        raise
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
