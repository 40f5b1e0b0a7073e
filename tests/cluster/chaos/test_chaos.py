"""Each strike of the table, on requests in every phase at once: what is promised holds, and all is whole again."""

import asyncio
import logging
import time

import pytest

from tests.cluster.chaos import faults, loads, report
from tests.cluster.chaos.table import Part, Phase, Strike
from tests.cluster.chaos.world import World
from tests.cluster.e2e.steps import Steps

log = logging.getLogger(__name__)


async def in_their_phases(world: World, strike: Strike, steps: Steps, pace: loads.Pace) -> dict[Phase, loads.Load]:
    """From rest; where the machine is too slow for that, again with more time, three times in all."""
    tries = 3
    while True:
        log.info("%s: the models are brought to rest", strike)
        await asyncio.to_thread(world.settle)
        log.info("%s: at rest", strike)
        try:
            return await loads.in_their_phases(world, strike, steps, pace)
        except loads.TooSlow as error:
            log.warning("%s: this machine is slow: %s", strike, error)
            pace.was_too_slow()
            tries -= 1
            if not tries:
                raise


@pytest.mark.timeout(600)
async def test_what_is_promised_holds(world: World, strike: Strike, pace: loads.Pace) -> None:
    promise = strike.promise
    async with Steps(world.cluster) as steps:
        found = await in_their_phases(world, strike, steps, pace)
        log.info("%s: every model is in its phase", strike)
        pods = await asyncio.to_thread(faults.victims, world, strike.part)
        struck = found[Phase.IDLE].doors[0] if strike.part is Part.ACTIVATOR else ""
        deadline = time.monotonic() + strike.fault.seconds + loads.OVER_SECONDS
        heal = await asyncio.to_thread(faults.strike, world, strike, pods)
        with faults.healed_at_the_end(heal) as once:
            found[Phase.IDLE].ask(strike)
            counting = [asyncio.create_task(load.over(steps, deadline)) for load in found.values()]
            await asyncio.sleep(strike.fault.seconds)  # how long it lasts is what the fault is
            await asyncio.to_thread(once)
        log.info("%s: healed", strike)
        try:
            seconds = await world.whole()
            log.info("%s: whole again after %.1f s", strike, seconds)
        finally:
            await asyncio.gather(*counting)
            log.info("%s: all requests are over", strike)
            outcomes = await asyncio.gather(*(load.outcome(promise, struck) for load in found.values()))
    broken = [f"{outcome.phase.words}: {what}" for outcome in outcomes for what in outcome.broken]
    if seconds > promise.seconds:
        broken.append(f"whole again after {seconds:.0f} s; promised: {promise.seconds:g}")
    report.keep(strike, outcomes, seconds, broken)
    assert not broken, "\n".join(broken)
