"""What is no strike at a part: streams go on, who is held stays held, and what is promised holds."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager

import pytest

from tests.cluster.chaos import report
from tests.cluster.chaos.besides import Case
from tests.cluster.chaos.loads import RATE
from tests.cluster.chaos.table import Phase
from tests.cluster.chaos.words import brief
from tests.cluster.chaos.world import World, service_of
from tests.cluster.e2e.conversation import Conversation

STREAMS, HELD = 20, 20
log = logging.getLogger(__name__)


@pytest.mark.timeout(600)
async def test_what_is_promised_holds(world: World, case: Case) -> None:
    async with in_a_thread(case.around(world)):
        await hold(world, case)


@asynccontextmanager
async def in_a_thread(blocking: AbstractContextManager[None]) -> AsyncIterator[None]:
    await asyncio.to_thread(blocking.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(blocking.__exit__, None, None, None)


async def hold(world: World, case: Case) -> None:
    log.info("%s: the models are brought to rest", case)
    await asyncio.to_thread(world.settle)
    doors = await asyncio.to_thread(world.doors)
    seconds = case.seconds
    world.hearth.engines(
        chaos_streams=["--start-seconds=0.2", "--load-seconds=0.5", "--slots=128", f"--tokens-per-second={RATE}"],
        chaos_held=["--start-seconds=0.2", f"--load-seconds={seconds:g}", "--slots=128"],
    )
    tokens = int(RATE * (seconds + 10))
    streams = [Conversation(service_of(Phase.STREAMS), url=doors[n % 2], tokens=tokens) for n in range(STREAMS)]
    held = [Conversation(service_of(Phase.HELD), url=doors[n % 2], tokens=3) for n in range(HELD)]
    asking = [asyncio.create_task(talk.run(world.client)) for talk in (*streams, *held)]
    await asyncio.gather(*(talk.until(lambda heard: heard.words > 0) for talk in streams))
    await asyncio.gather(*(talk.until(lambda heard: len(heard.beats) > 0) for talk in held))
    log.info("%s: streams run, requests are held", case)
    saw, broken = await case.act(world, doors)
    log.info("%s: %s; %s", case, saw, broken)
    await asyncio.wait(asking, timeout=seconds + 120)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    lost = [talk for talk in (*streams, *held) if not talk.whole]
    broken += [
        f"beside it: {brief(talk)}"
        for talk in lost
        if not (case.door_may_end and talk.url == doors[0] and (talk.error or talk.status != 200))
    ]
    whole = await world.whole()
    report.keep_case(case, f"{saw}; of {STREAMS} streams and {HELD} held beside it {len(lost)} lost", whole, broken)
    assert not broken, "\n".join(broken)
