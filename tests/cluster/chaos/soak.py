"""Mixed load for as long as somebody wants, and how memory and descriptors of the roles go with it."""

import asyncio
import itertools
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.chaos.world import PROBE, World, pid_of
from tests.cluster.deployed import ROLES
from tests.cluster.e2e.conversation import Conversation
from tests.cluster.kubectl import NAMESPACE

SAMPLE_SECONDS = 5.0
WARM = 1 / 3
"""Of the samples, how many are left out at the beginning: what is loaded once, and what fills up to its bound."""
STREAMING = "chaos-soak"
KEYED = "chaos-soak-keyed"
SECRET, KEY = "hearth-api-keys", "a-key-of-the-soak"


@dataclass
class Process:
    """One pod's process: (seconds, bytes, descriptors) of each look at it."""

    name: str
    pid: int
    looks: list[tuple[float, int, int]] = field(default_factory=list)
    ended: bool = False

    def look(self, now: float) -> None:
        """Raises FileNotFoundError where it has ended."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.looks.append((now, pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{self.pid}/fd"))))

    @property
    def warm(self) -> list[tuple[float, int, int]]:
        return self.looks[int(len(self.looks) * WARM) :]

    @property
    def kib_a_minute(self) -> float:
        """The slope of its memory, by least squares over what came after it was warm."""
        return slope([(at / 60, memory / 1024) for at, memory, _ in self.warm])

    @property
    def descriptors_a_minute(self) -> float:
        return slope([(at / 60, float(count)) for at, _, count in self.warm])


def slope(points: Sequence[tuple[float, float]]) -> float:
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def processes(world: World) -> list[Process]:
    """Of every pod of every role."""
    found = [
        (f"{role} {number}", pid_of(pod))
        for role in ROLES
        for number, pod in enumerate(sorted(world.hearth.pods(role), key=lambda pod: str(pod["metadata"]["name"])), 1)
    ]
    return [Process(name, pid) for name, pid in found if pid is not None]


class Load:
    """What asks. `counts` says how often what came to what."""

    def __init__(self, world: World, doors: list[str]) -> None:
        self._world = world
        self._doors = itertools.cycle(doors)
        self.counts: Counter[str] = Counter()

    def prepare(self) -> None:
        plane, cluster = self._world.hearth.plane, self._world.cluster
        plane.kubectl("create", "secret", "generic", SECRET, "-n", NAMESPACE, f"--from-literal=keys=tester={KEY}")
        cluster.apply("spec.scaling.min=1", "spec.scaling.target=200", name=STREAMING)
        cluster.apply(
            *("spec.scaling.min=1", f"spec.endpoint.authentication={{secretRef: {{name: {SECRET}}}}}"),
            name=KEYED,
        )

    def remove(self) -> None:
        self._world.hearth.plane.kubectl("delete", "llmservice", STREAMING, KEYED, "-n", NAMESPACE)
        self._world.hearth.plane.kubectl("delete", "secret", SECRET, "-n", NAMESPACE)

    async def run(self, seconds: float) -> None:
        """Ask in every way at once; each asks again when it was answered."""
        ends = time.monotonic() + seconds
        ways: list[Callable[[], Awaitable[None]]] = [self._cold, self._services, *[self._stream] * 10]
        ways += [*[self._cut] * 5, *[self._keys] * 2]

        async def again(way: Callable[[], Awaitable[None]]) -> None:
            while time.monotonic() < ends:
                await way()

        async with asyncio.TaskGroup() as group:
            for way in ways:
                group.create_task(again(way))

    async def _ask(self, what: str, model: str, tokens: int) -> None:
        talk = Conversation(model, url=next(self._doors), tokens=tokens)
        await talk.run(self._world.client)
        self.counts[f"{what}: {'answered' if talk.whole else 'not answered'}"] += 1

    async def _cold(self) -> None:
        await self._ask("cold", PROBE, 3)
        await asyncio.to_thread(self._world.cluster.until, lambda: self._world.cluster.asleep(PROBE), "asleep", 180.0)

    async def _stream(self) -> None:
        await self._ask("streams", STREAMING, 200)

    async def _cut(self) -> None:
        """A client that leaves in the middle of its answer."""
        talk = Conversation(STREAMING, url=next(self._doors), tokens=1000)
        asking = asyncio.create_task(talk.run(self._world.client))
        await talk.until(lambda heard: heard.words > 3)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        self.counts["cut: left"] += 1

    async def _keys(self) -> None:
        """Right and wrong keys, none twice of the wrong ones."""
        for key in (KEY, f"wrong-{random.getrandbits(64):x}"):
            answer = await self._world.client.post(
                f"{next(self._doors)}/v1/chat/completions",
                json={"model": KEYED, "max_tokens": 2, "messages": [{"role": "user", "content": "Hello"}]},
                headers={"Authorization": f"Bearer {key}"},
            )
            self.counts[f"keys: {answer.status_code}"] += 1
        await asyncio.sleep(0.1)  # ten a second of each are the load

    async def _services(self) -> None:
        """A model that is made, asked once and deleted."""
        name = f"chaos-soak-{random.getrandbits(32):x}"
        door = next(self._doors)
        await asyncio.to_thread(self._world.cluster.apply, name=name)
        async with asyncio.timeout(60):
            while (await self._world.client.get(f"{door}/v1/models/{NAMESPACE}/{name}")).status_code == 404:
                await asyncio.sleep(0.2)  # what a door knows has no event
        talk = await Conversation(name, url=door, tokens=3).run(self._world.client)
        self.counts[f"new models: {'answered' if talk.whole else 'not answered'}"] += 1
        await asyncio.to_thread(self._world.hearth.plane.kubectl, "delete", "llmservice", name, "-n", NAMESPACE)


async def watch(found: list[Process], seconds: float) -> None:
    """Look at each process again and again, until it ends."""
    began = time.monotonic()
    while (at := time.monotonic() - began) < seconds:
        for process in found:
            if not process.ended:
                try:
                    process.look(at)
                except FileNotFoundError:
                    process.ended = True
        await asyncio.sleep(SAMPLE_SECONDS)  # a sample each time
