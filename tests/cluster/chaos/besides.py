"""What is no strike at a part: an API server that is away for long, resources that run out, and clients that ask for too much.

Each case is (what, promise, act); `act` gets the world and the doors while streams run and requests are held at both, and returns what
it saw and what was broken.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.cluster.chaos import clocks, net, wire
from tests.cluster.chaos.table import Phase
from tests.cluster.chaos.words import brief
from tests.cluster.chaos.world import PROBE, World, pid_of, service_of
from tests.cluster.controlplane import CommandFailed, run
from tests.cluster.e2e.conversation import Conversation
from tests.cluster.e2e.steps import Steps
from tests.cluster.installed import SYSTEM
from tests.cluster.kubectl import NAMESPACE

ETCD = "http://127.0.0.1:2379"
AWAY_SECONDS = 120.0
MEMORY_LIMIT = 2 << 30  # deploy/base/activator.yaml: resources.limits.memory
Seen = tuple[str, list[str]]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    what: str
    promise: str
    act: Callable[[World, list[str]], Awaitable[Seen]]
    seconds: float = 20.0  # about how long it takes
    around: Callable[[World], AbstractContextManager[None]] = lambda _: (
        nullcontext()
    )  # from before the streams to behind them
    door_may_end: bool = False  # the struck activator's answers may be cut, each with an error

    def __str__(self) -> str:
        return self.name


def process_of(world: World, role: str = "activator") -> int:
    """Of a role's first pod: of the activators it is the first door."""
    pid = pid_of(world.hearth.pods(role)[0])
    assert pid is not None
    return pid


def memory_of(pid: int, field: str = "VmRSS") -> int:
    """Bytes."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines[field].split()[0]) << 10


def limit(pid: int, what: str, soft: str) -> str:
    """Set a soft limit of a process (a resource as prlimit names it); returns what it was. Done as its own user, who may where root
    may not."""
    as_user = [
        f"--reuid={os.stat(f'/proc/{pid}').st_uid}",
        f"--regid={os.stat(f'/proc/{pid}').st_gid}",
        "--clear-groups",
    ]
    found = run("setpriv", *as_user, "prlimit", f"--pid={pid}", f"--{what}", "--output=SOFT", "--noheadings")
    run("setpriv", *as_user, "prlimit", f"--pid={pid}", f"--{what}={soft}:")
    return found.strip()


def etcd(path: str, **asked: Any) -> Any:
    return httpx.post(f"{ETCD}/v3/{path}", json=asked, trust_env=False, timeout=30).raise_for_status().json()


async def known(world: World, door: str, model: str, seconds: float = 60.0) -> None:
    """Until an activator knows a model: where it does not, 404 is its true answer. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while (await world.client.get(f"{door}/v1/models/{NAMESPACE}/{model}")).status_code == 404:
            await asyncio.sleep(0.2)  # what a door knows has no event


async def answered(world: World, door: str, model: str = PROBE, seconds: float = 60.0) -> list[str]:
    """What is wrong with an answer at that door."""
    talk = Conversation(model, url=door, tokens=3)
    try:
        async with asyncio.timeout(seconds):
            await talk.run(world.client)
    except TimeoutError:
        return [f"{door}: no answer from {model} in {seconds:g} s: {brief(talk)}"]
    return [] if talk.whole else [f"{door}: {brief(talk)}"]


async def away(world: World, doors: list[str], *, seconds: float, history: bool) -> Seen:
    """Pods can't reach the API server; meanwhile a model goes, one comes, and one's engine moves to another address."""
    plane, cluster = world.hearth.plane, world.cluster
    gone, moved, made = "chaos-gone", "chaos-moved", "chaos-made"

    def before() -> None:
        for name in (gone, moved):
            cluster.apply("spec.scaling.min=1", name=name)
        for name in (gone, moved):
            cluster.until(lambda name=name: cluster.status(name).get("phase") == "Ready", f"{name} ready")  # type: ignore[misc]

    def meanwhile() -> None:
        (pod,) = cluster.items("pods", f"serving.hearth.dev/llmservice={moved}")
        plane.kubectl("delete", "llmservice", gone, "-n", NAMESPACE)
        cluster.apply("spec.scaling.scaleDownStabilization=5s", name=made)
        plane.kubectl("delete", "pod", pod["metadata"]["name"], "-n", NAMESPACE)

    def new_history() -> None:
        """What changed meanwhile can't be watched any more: the watches' versions are compacted away (410 Gone)."""
        revision = etcd("maintenance/status")["header"]["revision"]
        etcd("kv/compaction", revision=revision, physical=True)
        plane.kill("kube-apiserver")
        plane.start_apiserver()

    def after() -> None:
        plane.kubectl("delete", "llmservice", moved, made, "-n", NAMESPACE)

    await asyncio.to_thread(before)
    broken: list[str] = []
    with net.dropped([net.of_pods_with_apiserver()]):
        await asyncio.to_thread(meanwhile)
        # What they know goes on: the model that moved is asked at the address that is gone, and held.
        held = Conversation(moved, url=doors[0], tokens=3)
        asking = asyncio.create_task(held.run(world.client))
        await asyncio.sleep(seconds)  # how long it is away is the fault
        if history:
            await asyncio.to_thread(new_history)
    began = time.monotonic()
    await asyncio.gather(*(known(world, door, made) for door in doors))
    found = await asyncio.gather(*(answered(world, door, model) for door in doors for model in (moved, made)))
    broken += [what for each in found for what in each]
    back = time.monotonic() - began
    await asyncio.wait([asking], timeout=60)
    if not held.whole:
        broken.append(f"asked while it was away: {brief(held)}")
    for door in doors:
        talk = await Conversation(gone, url=door).run(world.client)
        if talk.status != 404:
            broken.append(f"{door}: the model that is gone: {brief(talk)}")
    await asyncio.to_thread(after)
    return f"all changes known and answered {back:.0f} s after", broken


async def api_away(world: World, doors: list[str]) -> Seen:
    return await away(world, doors, seconds=AWAY_SECONDS, history=False)


async def api_compacted(world: World, doors: list[str]) -> Seen:
    return await away(world, doors, seconds=15, history=True)


async def etcd_full(world: World, doors: list[str]) -> Seen:
    """etcd takes no write (its alarm NOSPACE), as where its disk or its quota is full."""
    member = (await asyncio.to_thread(etcd, "maintenance/status"))["header"]["member_id"]
    await asyncio.to_thread(etcd, "maintenance/alarm", action="ACTIVATE", memberID=member, alarm="NOSPACE")
    try:
        talk = Conversation(PROBE, url=doors[0], tokens=3)
        asking = asyncio.create_task(talk.run(world.client))
        await asyncio.sleep(20)  # how long it is full is the fault
    finally:
        await asyncio.to_thread(etcd, "maintenance/alarm", action="DEACTIVATE", memberID=member, alarm="NOSPACE")
    began = time.monotonic()
    await asyncio.wait([asking], timeout=90)
    broken = [] if talk.whole else [f"asked while it was full: {brief(talk)}"]
    return f"a cold request asked meanwhile answered {time.monotonic() - began:.0f} s after", broken


async def descriptors(world: World, doors: list[str]) -> Seen:
    """One activator may open ten files more and no other, for ten seconds."""
    pid = await asyncio.to_thread(process_of, world)
    before = await asyncio.to_thread(limit, pid, "nofile", str(len(os.listdir(f"/proc/{pid}/fd")) + 10))
    talks = [Conversation(PROBE, url=doors[0], tokens=3) for _ in range(30)]
    asking = [asyncio.create_task(talk.run(world.client)) for talk in talks]
    try:
        broken = await answered(world, doors[1])
        await asyncio.sleep(10)  # how long they are missing is the fault
    finally:
        await asyncio.to_thread(limit, pid, "nofile", before)
    meanwhile = sum(task.done() for task in asking)
    await asyncio.wait(asking, timeout=60)
    broken += [f"neither answered nor told: {brief(talk)}" for talk in talks if not talk.whole and not talk.error]
    broken += await answered(world, doors[0])
    whole = sum(talk.whole for talk in talks)
    return (
        f"of 30 more requests there {meanwhile} ended meanwhile; {whole} answered, {len(talks) - whole} told an error",
        broken,
    )


async def uploads(world: World, doors: list[str]) -> Seen:
    """Fifty bodies of 64 MiB, each within ten seconds, at one activator."""
    pid = await asyncio.to_thread(process_of, world)
    await asyncio.to_thread(Path(f"/proc/{pid}/clear_refs").write_text, "5")  # the peak is counted from here
    sending = [asyncio.create_task(wire.slow_upload(doors[0], PROBE, 64 << 20, 10)) for _ in range(50)]
    broken = [what for found in await asyncio.gather(*(answered(world, door) for door in doors)) for what in found]
    statuses = sorted(await asyncio.gather(*sending))
    peak = memory_of(pid, "VmHWM")
    if peak > MEMORY_LIMIT:
        broken.append(f"memory {peak >> 20} MiB; its pod's limit is {MEMORY_LIMIT >> 20}")
    counts = ", ".join(f"{statuses.count(status)} × {status or 'closed'}" for status in sorted(set(statuses)))
    return f"{counts}; memory at most {peak >> 20} MiB", broken


async def idle(world: World, doors: list[str]) -> Seen:
    """Ten thousand connections that say nothing, at one activator."""
    pid = await asyncio.to_thread(process_of, world)
    before = memory_of(pid)
    async with wire.idle_connections(doors[0], 10_000) as taken:
        grown = memory_of(pid) - before
        broken = await answered(world, doors[1])
        deadline = time.monotonic() + 75
        while found := await answered(world, doors[0]):  # a door that opens has no event
            if time.monotonic() > deadline:
                return f"{taken} connections", [*broken, *found]
            await asyncio.sleep(1)
        opened = time.monotonic() - deadline + 75
    return f"{taken} connections, {grown >> 20} MiB; the same door answers others after {opened:.0f} s", broken


async def unknown(world: World, doors: list[str]) -> Seen:
    """A thousand requests a second for models that there are not, for five seconds."""
    pid = await asyncio.to_thread(process_of, world)
    before = memory_of(pid)
    asking = asyncio.create_task(wire.unknown_models(doors[0], 1000, 5))
    broken = [what for found in await asyncio.gather(*(answered(world, door) for door in doors)) for what in found]
    statuses = await asking
    if set(statuses) != {404}:
        broken.append(f"statuses {dict(statuses)}; expected 404 alone")
    grown = memory_of(pid) - before
    if grown > 64 << 20:
        broken.append(f"memory grew by {grown >> 20} MiB")
    metrics = (await world.client.get(doors[0].replace(":8080", ":8081") + "/metrics")).text
    if wire.MODEL.decode() in metrics:
        broken.append("a stranger's model has a series")
    return f"{statuses[404]} × 404; memory {grown / (1 << 20):+.0f} MiB", broken


def memory_limited(role: str) -> Callable[[World, list[str]], Awaitable[Seen]]:
    """A role's first pod gets no more memory for fifteen seconds, as at the limit of a node that overcommits; a container that grows
    past its cgroup's limit is killed, which the table of strikes has."""

    async def act(world: World, doors: list[str]) -> Seen:
        pid = await asyncio.to_thread(process_of, world, role)
        before = await asyncio.to_thread(limit, pid, "data", str(memory_of(pid, "VmData") + (1 << 20)))
        sending = [asyncio.create_task(wire.slow_upload(doors[0], PROBE, 16 << 20, 5)) for _ in range(20)]
        try:
            broken = await answered(world, doors[1])
            await asyncio.sleep(15)  # how long there is none is the fault
        finally:
            try:
                await asyncio.to_thread(limit, pid, "data", before)
                ended = ""
            except (CommandFailed, FileNotFoundError):
                ended = "its process ended and another came; "
        statuses = sorted(await asyncio.gather(*sending))
        for door in doors:
            broken += await answered(world, door)
        counts = ", ".join(f"{statuses.count(status)} × {status or 'closed'}" for status in sorted(set(statuses)))
        return f"{ended}20 bodies of 16 MiB at the first activator meanwhile: {counts}", broken

    return act


def clock_set(role: str) -> Callable[[World, list[str]], Awaitable[Seen]]:
    """The clocks of a role's pods go an hour ahead, then an hour behind, then right. A scaler is made anew meanwhile, so that there
    are handshakes with certificates."""

    async def act(world: World, doors: list[str]) -> Seen:
        leader = await asyncio.to_thread(world.leader)
        broken: list[str] = []
        async with Steps(world.cluster) as steps:
            for ahead in (3600, -3600, 0):
                clocks.set_ahead(ahead)
                await asyncio.sleep(3 * clocks.READ_SECONDS)  # what it reads has no event
                generation = await asyncio.to_thread(world.change, PROBE)
                # With a clock that is behind, a new process of the test bed's takes its API server's own certificate, minutes old, for
                # one of the future.
                if ahead > 0 or (ahead and role != "scaler"):
                    name = (await asyncio.to_thread(world.hearth.pods, "scaler"))[0]["metadata"]["name"]
                    await asyncio.to_thread(world.hearth.plane.kubectl, "delete", "pod", "-n", SYSTEM, name)
                    await asyncio.to_thread(world.hearth.rolled_out, "scaler")
                for door in doors:
                    broken += [f"{ahead:+d} s: {what}" for what in await answered(world, door)]
                try:
                    await asyncio.to_thread(world.seen, generation)
                except AssertionError as error:
                    broken.append(f"{ahead:+d} s: {error}")
            replicas = steps.seen[service_of(Phase.STREAMS)]
            if replicas != [1]:
                broken.append(f"replicas {replicas} while its streams were there")
        now = await asyncio.to_thread(world.leader)
        if now["metadata"]["name"] != leader["metadata"]["name"]:
            broken.append("another controller leads")
        return (
            "at each of the three a change is seen and requests are answered; no replica and no Lease changes hands",
            broken,
        )

    return act


CASES = (
    Case(
        "api-away",
        "the API server away from all pods for 2 minutes; a model deleted, one made, one moved meanwhile",
        "what was known goes on; all changes are known and every request is answered in a minute after",
        api_away,
        seconds=180,
    ),
    Case(
        "api-compacted",
        "the same for 15 s, and back with a history that begins later (etcd compacted, API server started anew: 410)",
        "the same",
        api_compacted,
        seconds=75,
    ),
    Case(
        "etcd-full", "etcd takes no write for 20 s (NOSPACE)", "who waits is answered after it", etcd_full, seconds=40
    ),
    Case(
        "descriptors",
        "one activator without descriptors for 10 s",
        "streams go on; who comes is answered or told, at the latest when there are some again",
        descriptors,
    ),
    Case(
        "uploads",
        "50 slow bodies of 64 MiB at one activator",
        "small requests there are answered meanwhile; memory stays below the pod's limit of 2 GiB",
        uploads,
        seconds=40,
    ),
    Case(
        "idle-connections",
        "10,000 silent connections at one activator",
        "streams go on, the other door answers, this one again in 75 s",
        idle,
        seconds=60,
    ),
    *(
        Case(
            f"clock-{role}",
            f"the clocks of the {role}s an hour ahead, an hour behind, right again; a scaler anew at each",
            "nothing lost, no replica taken away, the same leader",
            clock_set(role),
            seconds=200,
            around=partial(clocks.settable, role=role),
        )
        for role in ("activator", "scaler", "controller")
    ),
    Case(
        "memory-activator",
        "one activator gets no more memory for 15 s (RLIMIT_DATA)",
        "an error for those that it relays; the other door's requests: nothing lost; it is whole again, or another in its place",
        memory_limited("activator"),
        seconds=40,
        door_may_end=True,
    ),
    Case(
        "memory-scaler",
        "one scaler gets no more memory for 15 s (RLIMIT_DATA)",
        "nothing lost; it is whole again, or another in its place",
        memory_limited("scaler"),
        seconds=40,
    ),
    Case(
        "unknown-models",
        "1,000 requests a second for unknown models for 5 s",
        "404 for each, others are answered meanwhile; memory and metrics do not grow with it",
        unknown,
    ),
)
# What `make e2e` runs.
FEW_CASES = tuple(case for case in CASES if case.name == "unknown-models")
