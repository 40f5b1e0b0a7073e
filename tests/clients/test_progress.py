"""What foreign clients make of every form of progress: the real activator, an engine that becomes ready when the client
has been told several times that it is not.

All clients ask at the same time, each for one model after the other.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from hearth.api.llmservice import Progress
from tests.clients.answers import answer
from tests.clients.clients import AT_ONCE, CLIENTS, Answer, Client, Program, running, streams
from tests.component.harness import ActivatorHarness, ScriptedEngine

SIGNS = 4  # of life, before the engine is ready

# Who can't read what: docs/clients.md has the reasons. Nobody stands here for the default.
BREAKS = {
    ("go-old", "comment"),
    ("fetch-event-source", "comment"),
    ("dify", "event"),
}


@dataclass(frozen=True)
class Case:
    """A client that asks in one of its ways for a model of its own."""

    client: str
    how: str
    api: str
    progress: Progress

    @property
    def model(self) -> str:
        return f"{self.client}-{self.how}-{self.progress}"

    @property
    def breaks(self) -> bool:
        return self.api in ("chat", "text") and streams(self.how) and (self.client, self.progress) in BREAKS


def _cases(client: Client) -> list[Case]:
    """Every form of progress where there are several: elsewhere a model's progress changes nothing."""
    return [
        Case(client.name, how, api, progress)
        for how, api in client.hows.items()
        for progress in get_args(Progress)
        if progress == "chunk" or (api in ("chat", "text") and streams(how))
    ]


CASES = [case for client in CLIENTS for case in _cases(client)]


@dataclass(frozen=True)
class Outcome:
    """What the client made of a cold model's answer and of a warm one's, and how many signs of life it was sent; then
    what it made of a model that did not start."""

    cold: Answer
    warm: Answer
    signs_cold: int
    signs_warm: int
    never: Answer
    signs_never: int


@pytest.fixture(scope="module")
def outcomes(installed: Path) -> dict[Case, Outcome]:
    return asyncio.run(_converse(installed))


async def _converse(installed: Path) -> dict[Case, Outcome]:
    outcomes: dict[Case, Outcome] = {}
    free = asyncio.Semaphore(AT_ONCE)
    async with ScriptedEngine(answer) as engine, ActivatorHarness() as activator:

        async def talk(client: Client) -> None:
            async with free, running(client, installed) as program:
                for case in _cases(client):
                    outcomes[case] = await _ask(case, program, activator, engine)

        async with asyncio.TaskGroup() as group:
            for client in CLIENTS:
                group.create_task(talk(client))
    return outcomes


async def _ask(case: Case, program: Program, activator: ActivatorHarness, engine: ScriptedEngine) -> Outcome:
    beat = "spec.endpoint.coldStart"
    settings = f"{beat}.heartbeatInterval=100ms", f"{beat}.whitespaceAfter=100ms", f"{beat}.progress={case.progress}"
    activator.service(*settings, name=case.model)
    tally = activator.gate(case.model).tally
    url = f"{activator.url}/v1"
    asking = asyncio.create_task(program.ask(url, case.model, case.how))
    while tally.heartbeats < SIGNS and not asking.done():
        await asyncio.sleep(0.02)  # until the client was sent signs of life, or gave up on them
    activator.ready(engine, name=case.model)
    cold, signs = await asking, tally.heartbeats
    warm, signs_warm = await program.ask(url, case.model, case.how), tally.heartbeats - signs
    never = f"{case.model}-never"
    activator.service(*settings, "spec.scaling.activationTimeout=1s", name=never)
    failed = await program.ask(url, never, case.how)
    return Outcome(cold, warm, signs, signs_warm, failed, activator.gate(never).tally.heartbeats)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model)
def test_a_cold_models_answer_arrives_whole(outcomes: dict[Case, Outcome], case: Case) -> None:
    outcome = outcomes[case]
    fault = outcome.cold.fault(case.api)
    if case.breaks:
        assert fault, "it reads it now: take it out of BREAKS, and measure docs/clients.md anew"
    else:
        assert not fault
        assert outcome.signs_cold >= SIGNS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model)
def test_a_warm_models_answer_arrives_whole(outcomes: dict[Case, Outcome], case: Case) -> None:
    outcome = outcomes[case]
    assert not outcome.warm.fault(case.api)
    assert outcome.signs_warm == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model)
def test_a_model_that_does_not_start_is_no_answer(outcomes: dict[Case, Outcome], case: Case) -> None:
    """After signs of life an error is an event of the stream, or a body that is cut: no client takes it for an answer."""
    outcome = outcomes[case]
    assert outcome.never.fault(case.api)
    assert not outcome.never.said
    assert outcome.signs_never > 0
