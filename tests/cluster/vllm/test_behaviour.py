"""vLLM 0.32 behind Hearth on a real kubelet: from zero and back, its APIs, clients that leave, drains, crashes.

The first test begins at zero; the others share an engine, for a start costs a minute or two.
"""

import asyncio
import re
import time
from typing import Any, get_args

import pytest

from benchmarks.figures import Figure, write
from hearth.coldstart import StartPhase
from tests.builders import ROOT
from tests.cluster.e2e.conversation import Conversation, new_client
from tests.cluster.kubectl import NAMESPACE
from tests.cluster.real.deployed import ACTIVATOR
from tests.cluster.vllm.served import NAME, Served

PHASES = ("requested", *get_args(StartPhase), "queued", "answering")
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
# By which whoever reads its log knows how far it is; tests/engines/recorded has all of a start, as it was written.
LINES = (
    "Starting to load model ",
    "Loading safetensors checkpoint shards: 100% Completed | 1/1",
    "Loading weights took ",
    "Warming up model for the compilation",
    "saved AOT compiled function to ",
    "init engine (profile, create kv cache, warmup model) took ",
    "Starting vLLM server on ",
    "Application startup complete.",
)
CHAT: Any = [{"role": "user", "content": "hi"}]


def answered(talk: Conversation) -> None:
    assert (talk.status, talk.done, talk.error) == (200, True, ""), talk
    assert talk.text


def compiled(served: Served) -> set[str]:
    """What its compiler made, on the volume. A start that finds it makes nothing new."""
    look = ("find", "/models/cache/compiled", "-name", "*.so")
    name = served.pod()["metadata"]["name"]
    return set(served.hearth.plane.kubectl("exec", name, "-c", "engine", "-n", NAMESPACE, "--", *look).split())


async def cold_start(served: Served) -> Conversation:
    talk = await served.ask()
    phases = [beat["phase"] for beat in talk.beats]
    assert phases == sorted(phases, key=PHASES.index)
    assert "loading" in phases or "starting" in phases, phases
    return talk


@pytest.mark.timeout(900)
async def test_from_zero_and_back_and_again_with_what_it_compiled(served: Served) -> None:
    first = await cold_start(served)
    made = await asyncio.to_thread(compiled, served)
    assert made
    said = await asyncio.to_thread(served.log)
    assert [line for line in LINES if line not in said] == [], "the lines of tests/engines/recorded"
    await asyncio.to_thread(served.sleeps_after, "5s")
    await served.until(lambda: served.cluster.asleep(NAME) and not served.pods(), "zero")
    await asyncio.to_thread(served.sleeps_after, "1h")
    again = await cold_start(served)
    assert await asyncio.to_thread(compiled, served) == made, "nothing was compiled again"
    figures = [
        Figure(f"vllm_{name}_start_seconds", talk.first - talk.began, "s", "")
        for name, talk in (("first", first), ("second", again))
    ]
    write(figures, ROOT / "build" / "vllm.json")
    print(*(f"{figure.name} = {figure.value:.1f}" for figure in figures))


async def test_what_it_answers_is_passed_on(awake: Served) -> None:
    asks: dict[str, Any] = {"model": NAME, "temperature": 0}
    bodies: dict[str, tuple[dict[str, Any], tuple[str | int, ...]]] = {
        "/v1/chat/completions": ({"messages": CHAT, "max_tokens": 8}, ("choices", 0, "message", "content")),
        "/v1/completions": ({"prompt": "hi", "max_tokens": 8}, ("choices", 0, "text")),
        "/v1/responses": ({"input": "hi", "max_output_tokens": 8}, ("output", -1, "content", 0, "text")),
        "/v1/messages": ({"messages": CHAT, "max_tokens": 8}, ("content", 0, "text")),
        "/v1/messages/count_tokens": ({"messages": CHAT}, ("input_tokens",)),
        "/tokenize": ({"prompt": "hi"}, ("tokens",)),
    }
    async with new_client() as client:
        for path, (body, where) in bodies.items():
            answer = await client.post(f"{ACTIVATOR}{path}", json={**asks, **body})
            itself = await client.post(f"{awake.engine}{path}", json={**asks, **body})
            assert answer.status_code == itself.status_code == 200, (path, answer.text)
            found, expected = answer.json(), itself.json()
            for step in where:
                found, expected = found[step], expected[step]
            assert found == expected, path
            assert found, path
        refused = await client.post(f"{ACTIVATOR}/v1/embeddings", json={"model": NAME, "input": "hi"})
        assert (refused.status_code, refused.json()) == (404, {"detail": "Not Found"}), "its own word"


async def test_a_client_that_leaves_ends_its_request(awake: Served) -> None:
    async with new_client() as client:
        talk = awake.conversation(7000)
        asking = asyncio.create_task(talk.run(client))
        await talk.until(lambda heard: heard.words > 2)
        assert await awake.figure(client, RUNNING) == 1
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await awake.figure_is(client, RUNNING, 0)
        await awake.figure_is(client, WAITING, 0)


@pytest.mark.timeout(900)
async def test_a_pod_that_is_deleted_ends_what_it_says(awake: Served) -> None:
    """preStop asks vLLM's own metric until nothing runs; SIGTERM comes then."""
    async with new_client() as client:
        talk = awake.conversation(2000)
        asking = asyncio.create_task(talk.run(client))
        await talk.until(lambda heard: heard.words > 2)
        before = awake.pod()
        delete = ("delete", "pod", before["metadata"]["name"], "-n", NAMESPACE)
        await asyncio.to_thread(awake.hearth.plane.kubectl, *delete)
        assert asking.done(), "the pod was gone before its answer was"
        answered(await asking)
    await cold_start(awake)
    assert awake.pod()["metadata"]["uid"] != before["metadata"]["uid"]


@pytest.mark.timeout(900)
async def test_an_engine_that_dies_is_told_and_started_again(awake: Served) -> None:
    async with new_client() as client:
        talk = awake.conversation(7000)
        asking = asyncio.create_task(talk.run(client))
        await talk.until(lambda heard: heard.words > 2)
        pod = awake.pod()
        awake.hearth.kill(pod)
        await asking
        assert not talk.done or talk.error
        assert talk.error
        began = time.perf_counter()
        # Its replica is still thought to be ready for a moment, and is not there: no phase is the first by right.
        await awake.ask()
        print(f"vllm_after_a_crash_seconds = {time.perf_counter() - began:.1f}")
    after = awake.pod()
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    (status,) = after["status"]["containerStatuses"]
    assert status["restartCount"] == 1


async def test_its_metrics_have_the_names_that_the_runtime_says(awake: Served) -> None:
    runtime = awake.hearth.plane.kubectl("get", "infr", "cpu-vllm", "-o", "jsonpath={.spec.metrics}")
    names = re.findall(r'"(vllm:[a-z_]+)"', runtime)
    assert len(names) == 4
    async with new_client() as client:
        text = (await client.get(f"{awake.engine}/metrics")).text
    for name in names:
        assert re.search(rf"^{name}(_count)?\{{", text, re.MULTILINE), f"{name} is not in:\n{text}"
