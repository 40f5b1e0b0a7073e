"""KEDA takes another release while requests stream, are held and arrive: none of them notices."""

import asyncio
from collections import Counter

import httpx
import pytest

from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.installation import keda
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.node.settings import NODES
from tests.cluster.real.deployed import Deployed, built

WARM, HELD = "upgrade-warm", "upgrade-held"
COLD = ("upgrade-cold-1", "upgrade-cold-2")
STREAMS, WAITING = 20, 20
SLOW_START = ["--load-seconds=15"]


class Load:
    """Who asks all the time, and what came of it."""

    def __init__(self, hearth: Deployed, client: httpx.AsyncClient) -> None:
        self._hearth, self._client = hearth, client
        self.over = asyncio.Event()
        self.broken: list[Conversation] = []
        self.answered: Counter[str] = Counter()

    async def ask(self, model: str, tokens: int) -> None:
        talk = await Conversation(model, tokens=tokens).run(self._client)
        if talk.whole:
            self.answered[model] += 1
        else:
            self.broken.append(talk)

    async def stream(self) -> None:
        while not self.over.is_set():
            await self.ask(WARM, 100)

    async def wake(self, model: str) -> None:
        """Ask whenever it sleeps; the last time after it is over."""
        last = False
        while not last:
            await asyncio.to_thread(
                self._hearth.cluster.until, lambda: self._hearth.cluster.asleep(model), f"{model} asleep", 120.0
            )
            last = self.over.is_set()
            await self.ask(model, 3)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("release", [keda.BEFORE, keda.NOW])
async def test_nothing_is_lost_while_it_takes_another_release(hearth: Deployed, release: str) -> None:
    """First back to the release before, as somebody whose upgrade went wrong does it, then forward."""
    cluster, node = hearth.cluster, hearth.nodes[NODES[0].name]
    hearth.engines(**{HELD: SLOW_START, WARM: ["--tokens-per-second=20", "--slots=64"]})
    services = {
        WARM: ("spec.scaling.min=1",),
        HELD: (),
        **dict.fromkeys(COLD, ("spec.scaling.scaleDownStabilization=5s",)),
    }
    await asyncio.to_thread(cluster.apply_all, services)
    await asyncio.to_thread(cluster.until, lambda: cluster.all_asleep((HELD, *COLD)), "asleep", 120.0)
    async with new_client() as client:
        load = Load(hearth, client)
        await load.ask(WARM, 1)
        async with asyncio.TaskGroup() as group:
            streams = [group.create_task(load.stream()) for _ in range(STREAMS)]
            for model in COLD:
                group.create_task(load.wake(model))
            for _ in range(WAITING):
                group.create_task(load.ask(HELD, 5))
            first = Conversation(HELD, tokens=5)
            held = group.create_task(first.run(client))
            await first.until(lambda heard: bool(heard.beats))
            await asyncio.to_thread(keda.install, hearth.plane, node, built("HEARTH_INSTALLATION"), release)
            await asyncio.to_thread(
                cluster.until, lambda: cluster.status(WARM).get("queueDepth") == STREAMS, "the new one tells the demand"
            )
            load.over.set()
            await asyncio.gather(held, *streams)
        print(f"to the release {release}: {dict(load.answered)}")
        assert load.broken == []
        assert first.whole
        assert load.answered[HELD] == WAITING
        assert load.answered[WARM] > STREAMS
        assert all(load.answered[model] for model in COLD)
    await asyncio.to_thread(hearth.plane.kubectl, "delete", "llmservice", "-n", NAMESPACE, WARM, HELD, *COLD)
