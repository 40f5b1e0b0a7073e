"""Clients that no one here wrote, in the whole loop as a person runs it: a cold request through 12 s of loading, then a
warm one.

All start at the same moment, each on an LLMService of its own, so that the module takes little more than one cold start.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.builders import SEED
from tests.clients.clients import CLIENTS, Answer, Client, running
from tests.local.command import Hearth

LOAD_SECONDS, HEARTBEAT_SECONDS = 12, 1
WORDS = "Nobody asked for a while, so the accelerator was off and cost nothing. You asked, a replica came up, and"
"""What the simulated engine says first."""


@dataclass(frozen=True)
class Asking:
    """A client in one of its ways; the LLMService that it asks has their names."""

    client: Client
    how: str

    @property
    def model(self) -> str:
        return f"{self.client.name}-{self.how}"


ASKING = [
    Asking(client, how)
    for client in CLIENTS
    for how, api in client.hows.items()
    # What the simulated engine speaks. Its answers end by their length, which openai's helper takes for an error:
    # tests/clients/test_progress.py has the helpers.
    if api == "chat" and how in ("stream", "other-stream", "whole")
]


@pytest.fixture(scope="module")
def hearth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearth]:
    """One cold LLMService for each way of each client."""
    written, manifests = tmp_path_factory.mktemp("manifests"), []
    for name in [asking.model for asking in ASKING]:
        document = yaml.safe_load(SEED.read_text())
        document["metadata"]["name"] = name
        beat = {"heartbeatInterval": f"{HEARTBEAT_SECONDS}s", "whitespaceAfter": f"{HEARTBEAT_SECONDS}s"}
        document["spec"]["endpoint"] = {"coldStart": beat}
        manifests.append(written / f"{name}.yaml")
        manifests[-1].write_text(yaml.safe_dump(document))
    folder = tmp_path_factory.mktemp("up")
    with Hearth.up(folder, "--sim", f"load-seconds={LOAD_SECONDS}", manifests=manifests) as up:
        yield up


@dataclass(frozen=True)
class Outcome:
    """What a client made of the answers, cold and then warm."""

    cold: Answer
    warm: Answer


@pytest.fixture(scope="module")
def outcomes(hearth: Hearth, installed: Path) -> dict[str, Outcome]:
    """By the LLMService's name."""
    return asyncio.run(_all_at_once(hearth.url, installed))


async def _all_at_once(base_url: str, installed: Path) -> dict[str, Outcome]:
    async def ask(asking: Asking) -> Outcome:
        async with running(asking.client, installed) as program:
            cold = await program.ask(base_url, asking.model, asking.how)
            return Outcome(cold, await program.ask(base_url, asking.model, asking.how))

    async with asyncio.TaskGroup() as group:
        tasks = {asking.model: group.create_task(ask(asking)) for asking in ASKING}
    return {model: task.result() for model, task in tasks.items()}


@pytest.mark.parametrize("asking", ASKING, ids=lambda asking: asking.model)
@pytest.mark.parametrize("state", ["cold", "warm"])
def test_the_model_speaks(outcomes: dict[str, Outcome], asking: Asking, state: str) -> None:
    answer: Answer = getattr(outcomes[asking.model], state)
    # Its tokens were not enough for more words, says the simulated engine as vLLM would.
    assert (answer.error, answer.said.strip(), answer.finish) == ("", WORDS, "length")
