"""docs/how-to/failover.md: its programs fall over to a second server on Hearth's 429, 503 and cut, and wait for a cold
model that starts. The real activator, the simulated engine, and a second server that answers at once.

What the page says of LiteLLM that is surprising is seen here too: a new version that does otherwise fails the test.
"""

import asyncio
import contextlib
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.builders import ROOT
from tests.clients.answers import SAID, answer
from tests.clients.clients import Answer, Program
from tests.component.harness import ActivatorHarness, ScriptedEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENAI, LITELLM = "failover_openai", "failover_litellm"
BEATS = "spec.endpoint.coldStart={heartbeatInterval: 200ms, whitespaceAfter: 2s}"
SIGNS = 8  # of life: longer than the time-out of a second that some have
FIRST = "Nobody asked for a while"
"""What the simulated engine says first, which the second server does not say."""


@dataclass(frozen=True)
class Asked:
    """What came of one question: the answer, and how often the second server was asked."""

    answer: Answer
    elsewhere: int


@dataclass
class Bed:
    """A Hearth, a second server, and the programs that ask the one and fall over to the other. Each test has a model of
    its own."""

    activator: ActivatorHarness
    elsewhere: ScriptedEngine
    programs: dict[str, Program]

    async def ask(self, program: str, how: str, model: str, url: str = "") -> Asked:
        before = len(self.elsewhere.requests)
        given = await self.programs[program].ask(url or f"{self.activator.url}/v1", model, how)
        return Asked(given, len(self.elsewhere.requests) - before)

    @contextlib.asynccontextmanager
    async def engine(self, model: str, *faults: str) -> AsyncIterator[str]:
        """The address of a simulated engine that listens."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hearth.emulators.engine", "--model", model, "--port", str(port)),
            *("--start-seconds", "0.1", "--load-seconds", "0.1", *(f"--fault={fault}" for fault in faults)),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await _listening(port)
            yield f"127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _listening(port: int) -> None:
    """Until an engine's port takes connections: it opens it when it has loaded, and tells nobody."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@contextlib.asynccontextmanager
async def running(program: str, python: str, elsewhere: str) -> AsyncIterator[Program]:
    """One of the page's programs, until the context is left."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env |= {"ELSEWHERE_URL": elsewhere, "ELSEWHERE_KEY": "none", "PYTHONPATH": str(ROOT)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(python, "-m", f"tests.clients.programs.{program}_client"),
        stdin=pipe,
        stdout=pipe,
        cwd=ROOT,
        env={**env, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate(b"")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(installed: Path) -> AsyncIterator[Bed]:
    pythons = {OPENAI: sys.executable, LITELLM: str(installed / "python/bin/python")}
    async with (
        ScriptedEngine(answer) as elsewhere,
        ActivatorHarness() as activator,
        contextlib.AsyncExitStack() as stack,
    ):
        url = f"http://{elsewhere.address}/v1"
        programs = {
            name: await stack.enter_async_context(running(name, python, url)) for name, python in pythons.items()
        }
        yield Bed(activator, elsewhere, programs)


HOWS = [(OPENAI, "stream"), (LITELLM, "stream"), (LITELLM, "whole")]


@pytest.mark.parametrize(("program", "how"), HOWS)
async def test_a_full_queue(bed: Bed, program: str, how: str) -> None:
    """429, at once, and Hearth is not asked again."""
    model = f"full-{program.replace('_', '-')}-{how}"
    await _fill(bed, model)
    asked = await bed.ask(program, how, model)
    assert (asked.answer.said, asked.elsewhere) == (SAID, 1)
    assert bed.activator.gate(model).tally.rejected["queue_full"] == 1


async def _fill(bed: Bed, model: str) -> None:
    """Let a model's queue be full: somebody waits for it, and it takes one."""
    bed.activator.service("spec.endpoint.maxQueue=1", BEATS, name=model)
    client = await bed.activator.client()
    await client.chat(model=model, stream=True)
    await client.head()


@pytest.mark.parametrize(("program", "how"), HOWS)
async def test_a_model_that_does_not_start(bed: Bed, program: str, how: str) -> None:
    """A stream has had signs of life, so the 503 is an error event of it; a whole answer gets the status."""
    model = f"never-{program.replace('_', '-')}-{how}"
    bed.activator.service("spec.scaling.activationTimeout=1s", BEATS, name=model)
    asked = await bed.ask(program, how, model)
    assert (asked.answer.said, asked.elsewhere) == (SAID, 1)
    tally = bed.activator.gate(model).tally
    assert tally.rejected["activation_timeout"] == 1
    assert (tally.heartbeats > 0) is (how == "stream")


@pytest.mark.parametrize(("program", "how"), HOWS)
async def test_a_hearth_that_is_away(bed: Bed, program: str, how: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        asked = await bed.ask(program, how, "qwen", f"http://127.0.0.1:{nobody.getsockname()[1]}/v1")
    assert (asked.answer.said, asked.elsewhere) == (SAID, 1)


@pytest.mark.parametrize(("program", "how"), HOWS)
async def test_a_cold_start_is_waited_for(bed: Bed, program: str, how: str) -> None:
    """Nobody falls over while Hearth gives signs of life."""
    await _cold(bed, program, how, f"cold-{program.replace('_', '-')}-{how}")


async def _cold(bed: Bed, program: str, how: str, model: str) -> None:
    """Ask for a model that starts after some signs of life, and be answered by it."""
    bed.activator.service(BEATS, name=model)
    async with bed.engine(model) as address:
        asking = asyncio.create_task(bed.ask(program, how, model))
        tally = bed.activator.gate(model).tally
        while tally.heartbeats < SIGNS and not asking.done():
            await asyncio.sleep(0.02)  # until it was given signs of life, or gave up on them
        bed.activator.ready(address, name=model)
        asked = await asking
    assert (asked.answer.error, asked.elsewhere) == ("", 0)
    assert asked.answer.said.startswith(FIRST)
    assert tally.heartbeats >= SIGNS


async def test_who_has_no_patience_goes_and_the_start_goes_on(bed: Bed) -> None:
    bed.activator.service(BEATS, name="slow")
    asked = await bed.ask(OPENAI, "impatient", "slow")
    assert (asked.answer.said, asked.elsewhere) == (SAID, 1)
    assert bed.activator.gate("slow").hold.lease(asyncio.get_running_loop().time()), "it goes on"


async def test_a_cut_begins_anew_with_the_openai_sdk(bed: Bed) -> None:
    async with bed.engine("cut-openai", "crash-mid-stream") as address:
        bed.activator.service(name="cut-openai")
        bed.activator.ready(address, name="cut-openai")
        asked = await bed.ask(OPENAI, "stream", "cut-openai")
    before, _, after = asked.answer.said.partition(" | ")
    assert before.startswith(FIRST)
    assert (after, asked.elsewhere) == (SAID, 1)


async def test_litellm_does_not_fall_over_on_a_cut(bed: Bed) -> None:
    """The page says so."""
    async with bed.engine("cut-litellm", "crash-mid-stream") as address:
        bed.activator.service(name="cut-litellm")
        bed.activator.ready(address, name="cut-litellm")
        asked = await bed.ask(LITELLM, "stream", "cut-litellm")
    assert re.fullmatch(r"RuntimeError: after [1-9][0-9]* words: APIConnectionError", asked.answer.error)
    assert asked.elsewhere == 0


async def test_litellm_goes_on_where_it_broke_if_it_is_told_to(bed: Bed) -> None:
    async with bed.engine("cut-continued", "crash-mid-stream") as address:
        bed.activator.service(name="cut-continued")
        bed.activator.ready(address, name="cut-continued")
        asked = await bed.ask(LITELLM, "stream-continued", "cut-continued")
    assert asked.answer.said.startswith(FIRST)
    assert asked.answer.said.endswith(SAID)
    last = bed.elsewhere.requests[-1].json["messages"][-1]
    assert (last["role"], last["prefix"]) == ("assistant", True)
    assert last["content"].startswith(FIRST)


async def test_litellms_own_retries_ask_hearth_first_and_wait_as_they_are_told(bed: Bed) -> None:
    await _fill(bed, "full-retried")
    tally = bed.activator.gate("full-retried").tally
    bed.activator.gate("full-retried").retry_after = lambda: 1.0  # type: ignore[method-assign] # else it is 30 s
    asked = await bed.ask(LITELLM, "whole-retries", "full-retried")
    assert (asked.answer.said, asked.elsewhere) == (SAID, 1)
    assert tally.rejected["queue_full"] == 3


async def test_litellms_time_out_counts_between_bytes(bed: Bed) -> None:
    """A second is more than the time between two signs of life and less than the cold start."""
    await _cold(bed, LITELLM, "stream-second", "cold-second")


async def test_a_time_out_under_whitespace_after_gives_up_on_a_whole_answer(bed: Bed) -> None:
    bed.activator.service(BEATS, name="cold-given-up")
    asked = await bed.ask(LITELLM, "whole-second", "cold-given-up")
    assert (asked.answer.said, asked.elsewhere) == (SAID, 1)


@pytest.mark.parametrize(("program", "elsewhere"), [(OPENAI, 0), (LITELLM, 1)])
async def test_a_model_that_hearth_does_not_know(bed: Bed, program: str, elsewhere: int) -> None:
    """The page's own program says that it is not there; LiteLLM goes elsewhere."""
    asked = await bed.ask(program, "stream", "unknown")
    assert asked.elsewhere == elsewhere
    assert ("NotFoundError" in asked.answer.error) is (program == OPENAI)
