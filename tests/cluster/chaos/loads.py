"""Brings a model into a phase with requests, and counts what became of them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.cluster.chaos.table import Cut, Phase, Promise, Strike
from tests.cluster.chaos.words import brief
from tests.cluster.chaos.world import World, service_of
from tests.cluster.e2e.conversation import Conversation
from tests.cluster.e2e.steps import Steps
from tests.cluster.kubectl import NAMESPACE

RATE = 4  # tokens a second of an engine
OVER_SECONDS = 150.0
"""How long after the fault the last request may end; the suite stops waiting then."""
_STREAMING = (Phase.STREAMS, Phase.DRAINING, Phase.ROLLOUT)


def _loading_seconds(phase: Phase, fault: float, slowness: float) -> float:
    """How long an engine loads, where a fault lasts so long."""
    match phase:
        case Phase.LOADING:
            return 4 * slowness + fault / 2  # ready while it lasts
        case Phase.HELD:
            return 8 * slowness + fault  # ready when it is over
        case Phase.COLD:
            return 2
    return 0.5


def engines(strike: Strike, slowness: float = 1.0) -> dict[str, list[str]]:
    """Arguments of the simulated engines, by LLMService (`-` as `_`)."""
    found = {}
    for phase in Phase:
        loading = _loading_seconds(phase, strike.fault.seconds, slowness)
        own = ["--start-seconds=0.2", f"--load-seconds={loading:g}", "--slots=128"]
        own += [f"--tokens-per-second={RATE}"] if phase in _STREAMING else ["--tokens-per-second=50"]
        found[service_of(phase).replace("-", "_")] = own
    return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a phase's requests. `told` ended with an error that their client saw; `broken` says, in words, what no promise
    allows. `fewest` is the smallest spec.replicas from the strike until an answer was whole, of `replicas` before."""

    phase: Phase
    asked: int
    whole: int
    told: int
    replicas: int
    fewest: int
    broken: list[str]


class TooSlow(Exception):
    """Models left their phases before all were in theirs: nothing was struck yet."""


class Pace:
    """How long this machine takes until all models are in their phases: streams go on for so long before a strike, and whatever they
    go on longer is waited for behind it. `slowness` is how much longer engines load than where nothing else runs."""

    def __init__(self) -> None:
        self._took: list[float] = []
        self.slowness = 1.0

    @property
    def seconds(self) -> float:
        """What is to be expected: half as much again as the slowest of the last three took."""
        return 1.5 * max(self._took[-3:], default=30.0)

    def took(self, seconds: float) -> None:
        self._took.append(seconds)
        self.slowness = max(1.0, self.slowness * 0.8)

    def was_too_slow(self) -> None:
        self._took.append(min(80.0, self.seconds))
        self.slowness = min(6.0, self.slowness * 2)


@dataclass
class Load:
    """One phase's requests. `setup` is how long the others may take until they are in their phases, in seconds."""

    world: World
    phase: Phase
    doors: list[str]
    setup: float
    talks: list[Conversation] = field(default_factory=list)
    tasks: list["asyncio.Task[Conversation]"] = field(default_factory=list)
    replicas: int = 0
    first: int = 0  # where in the steps the strike fell
    steps: list[int] = field(default_factory=list)  # from the strike until its first answer was whole

    @property
    def name(self) -> str:
        return service_of(self.phase)

    def ask(self, strike: Strike) -> None:
        tokens = 3
        if self.phase in _STREAMING:
            tokens = int(RATE * (self.setup + strike.fault.seconds + 8))
        for number in range(self.phase.requests):
            talk = Conversation(self.name, url=self.doors[number % len(self.doors)], tokens=tokens)
            self.talks.append(talk)
            self.tasks.append(asyncio.create_task(talk.run(self.world.client)))

    async def heard(self, what: Callable[[Conversation], bool]) -> None:
        """Until each of its clients heard it. Raises TooSlow where an answer is whole before that."""
        try:
            await asyncio.gather(*(talk.until(what) for talk in self.talks))
        except AssertionError as error:
            if any(talk.whole for talk in self.talks):
                raise TooSlow(f"{self.phase.words}: answers were whole before that") from error
            raise
        except TimeoutError as error:
            raise TooSlow(f"{self.phase.words}: not so far in a minute") from error

    async def leave(self) -> None:
        """Its clients go away."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def over(self, steps: Steps, deadline: float) -> None:
        """Until its last request ended, or the deadline (of time.monotonic()). Its replicas are looked at until the first answer is
        whole: from then on fewer may be right."""
        running = set(self.tasks)
        while running and (left := deadline - time.monotonic()) > 0:
            ended, running = await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not self.steps and any(task.result().whole for task in ended):
                self.steps = self._since_the_strike(steps)
        self.steps = self.steps or self._since_the_strike(steps)

    def _since_the_strike(self, steps: Steps) -> list[int]:
        return steps.seen[self.name][max(0, self.first - 1) :]

    async def outcome(self, promise: Promise, struck: str) -> Outcome:
        """Count, and ask again what was told that it failed. `struck` is the address of the activator that was."""
        broken = []
        told = []
        for talk, task in zip(self.talks, self.tasks, strict=True):
            if not task.done():
                task.cancel()
                broken.append(f"no end after {OVER_SECONDS:g} s: {brief(talk)}")
            elif talk.whole:
                continue
            elif not talk.error and talk.status == 200:
                broken.append(f"a success without an answer: {brief(talk)}")
            else:
                told.append(talk)
                if not allowed(talk, promise.cut, struck):
                    broken.append(f"lost: {brief(talk)}")
        await asyncio.gather(*self.tasks, return_exceptions=True)
        again = [Conversation(talk.model, tokens=3) for talk in told]
        await asyncio.gather(*(talk.run(self.world.client) for talk in again))
        broken += [f"asked again: {brief(talk)}" for talk in again if not talk.whole]
        fewest = min(self.steps, default=self.replicas)
        if promise.keeps_replicas and fewest < self.replicas:
            broken.append(f"replicas {self.steps} while its requests were there")
        whole = sum(talk.whole for talk in self.talks)
        return Outcome(self.phase, len(self.talks), whole, len(told), self.replicas, fewest, broken)


def allowed(talk: Conversation, cut: Cut, struck: str) -> bool:
    match cut:
        case Cut.NOBODY:
            return False
        case Cut.DOOR:
            return talk.url == struck
        case Cut.REPLICA:
            return talk.words > 0


async def in_their_phases(world: World, strike: Strike, steps: Steps, pace: Pace) -> dict[Phase, Load]:
    """Every model in its phase, with its requests; the idle one has none yet. Raises TooSlow."""
    doors = await asyncio.to_thread(world.doors)
    loads = {phase: Load(world, phase, doors, pace.seconds) for phase in Phase}
    world.hearth.engines(**engines(strike, pace.slowness))
    began = time.monotonic()
    try:
        await _bring(world, strike, steps, loads)
    except TooSlow:
        await asyncio.gather(*(load.leave() for load in loads.values()))
        raise
    pace.took(time.monotonic() - began)
    for load in loads.values():
        load.first = len(steps.seen[load.name])
        load.replicas = (steps.seen[load.name] or [0])[-1]
    return loads


async def _bring(world: World, strike: Strike, steps: Steps, loads: dict[Phase, Load]) -> None:
    """Raises TooSlow."""
    for phase in _STREAMING:
        loads[phase].ask(strike)
    await steps.until(service_of(Phase.STREAMS), 2, seconds=120)
    for phase in _STREAMING:
        await loads[phase].heard(lambda talk: talk.words > 0)
    await asyncio.to_thread(_leave, world)
    for phase in (Phase.HELD, Phase.LOADING):
        loads[phase].ask(strike)
    await loads[Phase.HELD].heard(lambda talk: len(talk.beats) > 0)
    await loads[Phase.LOADING].heard(lambda talk: any(beat["phase"] == "loading" for beat in talk.beats))
    loads[Phase.COLD].ask(strike)
    await loads[Phase.COLD].heard(lambda talk: len(talk.beats) > 0)
    if over := [phase.words for phase in Phase if any(talk.ended for talk in loads[phase].talks)]:
        raise TooSlow(f"answers were whole before the strike: {over}")


def _leave(world: World) -> None:
    """The one replica of the draining model is told to go; the one of the rollout has a successor."""
    (pod,) = world.engines(Phase.DRAINING)
    world.hearth.plane.kubectl("delete", "pod", "-n", NAMESPACE, "--wait=false", pod["metadata"]["name"])
    world.change(service_of(Phase.ROLLOUT))
    world.cluster.until(lambda: len(world.engines(Phase.ROLLOUT)) == 2, "the successor of a rollout")
