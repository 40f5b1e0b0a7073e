"""Clients that no one here wrote, each as a process of its own: a cold request through 12 s of loading, then a warm one.

All start at the same moment, each on an LLMService of its own, so that the module takes little more than one cold start.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.builders import SEED
from tests.local.command import Hearth

PROGRAMS = Path(__file__).parent / "programs"
LOAD_SECONDS, HEARTBEAT_SECONDS = 12, 1


@dataclass(frozen=True)
class Client:
    """Who asks, and how; the LLMService that it asks has its name."""

    program: str
    how: str
    progress: str = "comment"

    @property
    def name(self) -> str:
        return f"{self.program}-{self.how}-{self.progress}"

    def command(self, base_url: str, installed: Path) -> list[str]:
        arguments = [base_url, self.name, self.how]
        match self.program:
            case "curl":
                ask = f'{{"model": "{self.name}", "stream": {"true" if self.how == "stream" else "false"}, "max_tokens": 20, '
                ask += '"messages": [{"role": "user", "content": "Where were you?"}]}'
                return ["curl", "-sSN", "--fail", "--noproxy", "*", f"{base_url}/chat/completions", "--json", ask]
            case "node":
                return ["node", str(PROGRAMS / "node_client.mjs"), *arguments, str(installed)]
            case "litellm" | "llamaindex":
                return [str(installed / "python/bin/python"), str(PROGRAMS / f"{self.program}_client.py"), *arguments]
            case _:
                return [sys.executable, str(PROGRAMS / f"{self.program}_client.py"), *arguments]


CLIENTS = [
    *(
        Client(program, how)
        for program in ("openai", "litellm")
        for how in ("stream", "whole", "async-stream", "async-whole")
    ),
    *(Client(program, how) for program in ("langchain", "llamaindex", "node", "curl") for how in ("stream", "whole")),
    *(Client(program, "stream", "reasoning") for program in ("openai", "langchain", "litellm", "llamaindex", "node")),
    *(Client(program, "stream", "event") for program in ("openai", "node")),
]


@pytest.fixture(scope="module")
def installed() -> Path:
    folder = os.environ.get("HEARTH_CLIENTS")
    if folder is None:
        pytest.fail(
            "HEARTH_CLIENTS is not set: run this by `make e2e`, or set it to what tests/clients/install.sh prints"
        )
    return Path(folder)


@pytest.fixture(scope="module")
def hearth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearth]:
    """One cold LLMService for each client."""
    written, manifests = tmp_path_factory.mktemp("manifests"), []
    for client in CLIENTS:
        document = yaml.safe_load(SEED.read_text())
        document["metadata"]["name"] = client.name
        document["spec"]["endpoint"] = {
            "coldStart": {
                "heartbeatInterval": f"{HEARTBEAT_SECONDS}s",
                "whitespaceAfter": f"{HEARTBEAT_SECONDS}s",
                "progress": client.progress,
            }
        }
        manifests.append(written / f"{client.name}.yaml")
        manifests[-1].write_text(yaml.safe_dump(document))
    folder = tmp_path_factory.mktemp("up")
    with Hearth.up(folder, "--sim", f"load-seconds={LOAD_SECONDS}", manifests=manifests) as running:
        yield running


@dataclass(frozen=True)
class Outcome:
    """What a client's process printed, cold and then warm."""

    cold: "subprocess.CompletedProcess[str]"
    warm: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def outcomes(hearth: Hearth, installed: Path) -> dict[Client, Outcome]:
    cold, warm = (_all_at_once(hearth.url, installed) for _ in range(2))
    return {client: Outcome(cold[client], warm[client]) for client in CLIENTS}


def _all_at_once(base_url: str, installed: Path) -> dict[Client, "subprocess.CompletedProcess[str]"]:
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    running = {
        client: subprocess.Popen(
            client.command(base_url, installed),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        for client in CLIENTS
    }
    done = {}
    for client, process in running.items():
        out, err = process.communicate(timeout=240)
        done[client] = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    return done


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize("state", ["cold", "warm"])
def test_the_model_speaks(outcomes: dict[Client, Outcome], client: Client, state: str) -> None:
    done = getattr(outcomes[client], state)
    assert done.returncode == 0, done.stderr
    if client.program == "curl":
        return  # test_curl_sees_every_heartbeat looks at its bytes
    assert len(done.stdout.split()) == 20, done.stdout + done.stderr


def test_curl_sees_every_heartbeat(outcomes: dict[Client, Outcome]) -> None:
    stream, whole = (outcomes[Client("curl", how)] for how in ("stream", "whole"))
    beats = [line for line in stream.cold.stdout.splitlines() if line.startswith(": hearth ")]
    assert len(beats) >= LOAD_SECONDS / HEARTBEAT_SECONDS
    assert stream.cold.stdout.endswith("data: [DONE]\n\n")
    spaces = len(whole.cold.stdout) - len(whole.cold.stdout.lstrip(" "))
    assert spaces >= LOAD_SECONDS / HEARTBEAT_SECONDS - 1
    assert ": hearth" not in stream.warm.stdout
    assert whole.warm.stdout.startswith("{")
