"""Each part is killed in the middle of a cold start and of a burst: what was admitted is answered.

What a killed activator was relaying is lost with its connections: its clients see a failed request, never a success
without an answer, and what they ask again is answered.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.cluster.deployed import ACTIVATOR, ROLES, Deployed
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.e2e.steps import Steps
from tests.cluster.installed import SYSTEM

VICTIMS = (*ROLES, "keda-operator", "kube-apiserver")
QUICK = ("spec.endpoint.coldStart.heartbeatInterval=200ms", "spec.scaling.scaleDownStabilization=30s")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with new_client() as client:
        yield client


@pytest.fixture(autouse=True)
def no_back_off_is_left(hearth: Deployed) -> Iterator[None]:
    """A pod that was killed before waits longer for its next start, as under any kubelet: replace it for the next test."""
    yield
    for role in ROLES:
        killed = [
            pod["metadata"]["name"]
            for pod in hearth.pods(role)
            if pod["status"]["containerStatuses"][0]["restartCount"] > 0
        ]
        if killed:
            hearth.plane.kubectl("delete", "pod", "-n", SYSTEM, *killed)
            hearth.rolled_out(role)


def strike(hearth: Deployed, victim: str) -> None:
    """Kill it: the leading controller, the first activator, every scaler, KEDA's operator with its adapter, or the API
    server. Hearth's pods are started again by their node, as any."""
    plane = hearth.plane
    match victim:
        case "controller":
            lease = ("get", "lease", "hearth-controller", "-n", SYSTEM)
            holder = plane.kubectl(*lease, "-o", "jsonpath={.spec.holderIdentity}")
            (leader,) = [pod for pod in hearth.pods(victim) if holder.startswith(pod["metadata"]["name"])]
            hearth.kill(leader)
        case "activator":
            hearth.kill(hearth.pods(victim)[0])
        case "scaler":
            for pod in hearth.pods(victim):
                hearth.kill(pod)
        case "keda-operator":
            plane.kill("keda-operator")
            plane.kill("keda-adapter")  # the two are started together
        case _:
            plane.kill(victim)


def bring_back(hearth: Deployed, victim: str) -> None:
    """What no node starts again by itself; and for the next test, everything is as it was."""
    match victim:
        case "keda-operator":
            hearth.plane.start_keda()
        case "kube-apiserver":
            hearth.plane.start_apiserver()
        case role:
            hearth.cluster.until(
                lambda: all(pod["status"]["containerStatuses"][0]["ready"] for pod in hearth.pods(role)),
                f"every {role} is ready again",
            )


def doors(hearth: Deployed, victim: str) -> list[str]:
    """Where to ask: by the Service, or at each activator itself, where one of them is the victim."""
    if victim != "activator":
        return [ACTIVATOR]
    return [f"http://{pod['status']['podIP']}:8080" for pod in hearth.pods("activator")]


async def answered(talks: list[Conversation], door: str, client: httpx.AsyncClient) -> None:
    """Every one is whole, or lost with `door` and whole when asked again."""
    lost = [talk for talk in talks if not talk.whole]
    for talk in lost:
        assert talk.url == door, f"lost at a door that was open: {talk}"
        assert talk.error, f"a success without an answer: {talk}"
    for again in await asyncio.gather(*(Conversation(talk.model).run(client) for talk in lost)):
        assert again.whole, again


@pytest.mark.parametrize("victim", VICTIMS)
async def test_a_cold_start_is_answered(hearth: Deployed, victim: str, client: httpx.AsyncClient) -> None:
    cluster, name = hearth.cluster, f"cold-{victim}"
    hearth.engines(**{name.replace("-", "_"): ["--start-seconds=0.2", "--load-seconds=4"]})
    cluster.apply(*QUICK, name=name)
    cluster.until(lambda: cluster.asleep(name), "asleep")
    urls = doors(hearth, victim)
    talks = [Conversation(name, url=url) for url in urls for _ in range(3)]
    asking = [asyncio.create_task(talk.run(client)) for talk in talks]
    for talk in talks:
        await talk.until(lambda heard: len(heard.beats) > 2)
    await asyncio.to_thread(strike, hearth, victim)
    heard = len(talks[-1].beats)
    await talks[-1].until(lambda talk: len(talk.beats) > heard + 2)  # held on
    await asyncio.to_thread(bring_back, hearth, victim)
    await asyncio.gather(*asking)
    await answered(talks, urls[0] if victim == "activator" else "", client)
    hearth.plane.kubectl("delete", "llmservice", name, "-n", cluster.namespace)


@pytest.mark.parametrize("victim", ["scaler", "keda-operator", "kube-apiserver"])
async def test_one_who_asks_while_it_is_away_is_answered_when_it_is_back(
    hearth: Deployed, victim: str, client: httpx.AsyncClient
) -> None:
    cluster, name = hearth.cluster, f"away-{victim}"
    cluster.apply(*QUICK, name=name)
    cluster.until(lambda: cluster.asleep(name), "asleep")
    await asyncio.to_thread(strike, hearth, victim)
    talk = Conversation(name)
    asking = asyncio.create_task(talk.run(client))
    await talk.until(lambda heard: len(heard.beats) > 3)
    await asyncio.to_thread(bring_back, hearth, victim)
    async with asyncio.timeout(120):
        await asking
    assert talk.whole, talk
    hearth.plane.kubectl("delete", "llmservice", name, "-n", cluster.namespace)


@pytest.mark.parametrize("victim", VICTIMS)
async def test_a_burst_is_answered(hearth: Deployed, victim: str, client: httpx.AsyncClient) -> None:
    cluster, name = hearth.cluster, f"burst-{victim}"
    slow = ["--start-seconds=0.2", "--load-seconds=0.5", "--tokens-per-second=10", "--slots=64"]
    hearth.engines(**{name.replace("-", "_"): slow})
    cluster.apply(*QUICK, "spec.scaling.max=5", "spec.scaling.target=5", name=name)
    cluster.until(lambda: cluster.asleep(name), "asleep")
    urls = doors(hearth, victim)
    async with Steps(cluster) as steps:
        # More than it takes: with one activator of two gone, its clients' demand is gone too.
        talks = [Conversation(name, url=urls[number % len(urls)], tokens=450) for number in range(23 * len(urls))]
        asking = [asyncio.create_task(talk.run(client)) for talk in talks]
        await talks[-1].until(lambda talk: talk.words > 0)
        await asyncio.to_thread(strike, hearth, victim)
        await asyncio.sleep(3)  # it is away for a while
        await asyncio.to_thread(bring_back, hearth, victim)
        await steps.until(name, 5, seconds=120)
        await asyncio.gather(*asking)
        seen = steps.seen[name]
        assert seen[seen.index(1) :] == [1, 5], "in one step, and nothing was taken away"
    await answered(talks, urls[0] if victim == "activator" else "", client)
    hearth.plane.kubectl("delete", "llmservice", name, "-n", cluster.namespace)
