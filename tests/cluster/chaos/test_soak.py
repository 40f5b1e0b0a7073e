"""Mixed load for MINUTES (30): nothing goes unanswered, no process ends, and memory and descriptors do not grow with time."""

import asyncio
import logging
import os

import pytest

from tests.cluster.chaos import report, soak
from tests.cluster.chaos.world import World

log = logging.getLogger(__name__)

MINUTES = float(os.environ.get("MINUTES") or 30)
MOST_KIB_A_MINUTE = 256.0
"""Of a process that is warm: fifteen megabytes in an hour would be seen, and an allocator's steps are no leak."""


@pytest.mark.timeout(MINUTES * 60 + 400)
async def test_memory_and_descriptors_do_not_grow(world: World) -> None:
    await asyncio.to_thread(world.settle)
    world.hearth.engines(
        **{"*": ["--start-seconds=0.2", "--load-seconds=0.5", "--slots=128", "--tokens-per-second=20"]}
    )
    load = soak.Load(world, await asyncio.to_thread(world.doors))
    await asyncio.to_thread(load.prepare)
    found = await asyncio.to_thread(soak.processes, world)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(MINUTES * 60))
            group.create_task(soak.watch(found, MINUTES * 60))
    finally:
        await asyncio.to_thread(load.remove)
    broken = [f"{what} ({count} times)" for what, count in load.counts.items() if "not answered" in what]
    broken += [f"{process.name}: its process ended" for process in found if process.ended]
    found = [process for process in found if not process.ended]
    for process in found:
        log.info(
            "%s: %.0f KiB/min, %.2f descriptors/min", process.name, process.kib_a_minute, process.descriptors_a_minute
        )
        if process.kib_a_minute > MOST_KIB_A_MINUTE:
            broken.append(f"{process.name}: memory grows by {process.kib_a_minute:.0f} KiB a minute")
        if process.descriptors_a_minute > 1:
            broken.append(f"{process.name}: {process.descriptors_a_minute:.1f} descriptors more a minute")
    report.keep_soak(MINUTES, found, load.counts, broken)
    assert not broken, "\n".join(broken)
