"""The rendered preStop hook beside a simulated engine in a local pod: what is being answered is finished first."""

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.crd_translator import ClusterFacts, render
from hearth.crd_translator.drain import drain_hook
from hearth.emulators.container import Image, start_of
from hearth.emulators.listening import Place
from hearth.emulators.pod import Pod, PodSpec
from tests.builders import bundled_runtimes, llmservice, runtime

PATIENCE = 30.0
IMAGE = Image(("vllm", "serve"), (), {"PATH": "/usr/local/bin:/usr/bin:/bin"})

COMMAND = ["vllm", "serve", "{{ .Model.Path }}", "--host", "0.0.0.0"]
UNMEASURED = [
    runtime("no-metric", "no-metric", container={"image": "i", "command": COMMAND}),
    runtime(
        "unread", "unread", container={"image": "i", "command": COMMAND}, metrics={"path": "/none", "running": "none"}
    ),
]
"""Engines of which nobody can say what runs: without a metric, and with one that can't be read."""


def pod_of(vendor: str, drain: str, log: Path, changed: asyncio.Event) -> Pod:
    """A local pod of what an LLMService becomes, with a simulated engine in it."""
    service = llmservice(
        f"spec.runtime.selector.vendor=[{vendor}]",
        f"spec.scaling.drainTimeout={drain}",
        "spec.resources.accelerators=" + ("0" if vendor == "cpu" else "1"),
    )
    (deployment,) = render(service, [*bundled_runtimes(), *UNMEASURED], ClusterFacts()).of_kind("Deployment")
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    place = Place.found(container["ports"][0]["containerPort"])
    pod = {"metadata": {**template["metadata"], "name": "qwen-1"}, "status": {"podIP": place.address}}
    start = place.told(start_of(container, pod, IMAGE))
    sim = ["--pod-address", place.address, "--start-seconds=0", "--load-seconds=0.1", "--tokens-per-second=10"]
    spec = PodSpec.of_container(
        "qwen-1",
        container,
        command=[sys.executable, "-m", "hearth.emulators.engine", *sim, "--", *start.argv],
        env=start.env,
        port=place.port,
        grace_seconds=template["spec"]["terminationGracePeriodSeconds"],
        address=place.address,
        enter=place.enter,
    )
    return Pod(spec, log, lambda changed_pod: changed.set())


@pytest.mark.parametrize(
    ("vendor", "drain", "whole"),
    [
        ("nvidia", "120s", True),
        ("cpu", "120s", True),
        ("no-metric", "120s", True),
        ("unread", "120s", True),
        ("nvidia", "1s", False),
        ("no-metric", "1s", False),
    ],
)
async def test_a_stream_is_finished_within_the_drain_and_ended_behind_it(
    vendor: str, drain: str, whole: bool, tmp_path: Path
) -> None:
    changed = asyncio.Event()
    pod = pod_of(vendor, drain, tmp_path / "pod.log", changed)
    running = asyncio.create_task(pod.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while not pod.ready:
                changed.clear()
                await changed.wait()
        url = f"http://{pod.spec.address}:{pod.spec.port}/v1/chat/completions"
        body = {"model": "qwen", "messages": [{"role": "user", "content": "x"}], "max_tokens": 60, "stream": True}
        async with (
            httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http,
            http.stream("POST", url, json=body) as answer,
        ):
            lines = answer.aiter_lines()
            await anext(lines)
            pod.stop()
            text = "\n".join([line async for line in lines])
        assert ('"finish_reason": "length"' in text) is whole
        assert ("EngineCore encountered an issue" in text) is not whole
        assert text.rstrip().endswith("data: [DONE]")
        async with asyncio.timeout(PATIENCE):  # a drain of two minutes ends with the answers, not with its time
            await running
        assert pod.last_exit == 0
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


NAMES = ("vllm:num_requests_running", "vllm:num_requests_waiting")
BUSY, IDLE = "0", "1"


@pytest.mark.parametrize(
    ("figures", "found"),
    [
        ('{0}{{engine="0"}} 0.0\n{1}{{engine="0"}} 0\n', IDLE),
        ('{0}{{engine="0"}} 1.0\n{1}{{engine="0"}} 0\n', BUSY),
        ("{0} 0\n{1} 2e0\n", BUSY),
        ('{0}{{model="a b}} c"}} 0 1700000000000\n{1} 0 1700000000000\n', IDLE),
        ('{0}{{model="a b}} c"}} 1 1700000000000\n', BUSY),
        ("{0}_total 7\n{0} 0\n", IDLE),
        # What is no figure is not believed: somebody is connected.
        ("{0} NaN\n{1} 0\n", BUSY),
        ("{0} 0\n{1} -5\n", BUSY),
        ("{0} +Inf\n", BUSY),
        ("{0}\n", BUSY),
        ("other 0\n", BUSY),
        ("", BUSY),
        ("HANGS", BUSY),
        ("ENDLESS", BUSY),
    ],
)
async def test_what_an_engine_says_of_itself_is_looked_at(figures: str, found: str) -> None:
    """The hook's look, in this machine's shell and awk, at a server that says it, while a client is connected to it."""
    told = figures.format(*NAMES).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if figures == "HANGS":
                await reader.read()
            writer.write(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n" + told)
            while figures == "ENDLESS":
                writer.write(b"# " + b"x" * 65536)
                await writer.drain()
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the one who asked has enough, or has not asked
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, client = await asyncio.open_connection("127.0.0.1", port)
    try:
        script = drain_hook(llmservice(), bundled("nvidia-vllm"))[2]  # type: ignore[index]
        look = script.partition("; sleep ")[0] + "; busy; echo $?"
        async with asyncio.timeout(PATIENCE):
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", look),
                env={"PATH": os.environ["PATH"], "HEARTH_ENGINE_PORT": str(port)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            said, _ = await process.communicate()
        assert said.decode().strip() == found
    finally:
        client.close()
        server.close()


def bundled(name: str) -> InferenceRuntime:
    return next(each for each in bundled_runtimes() if each.metadata.name == name)
