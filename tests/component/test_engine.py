"""The simulated engine as a process: it must look like vLLM to whoever waits for it and talks to it."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hearth.emulators.ports import free_port

PATIENCE = 20.0


class EngineProcess:
    def __init__(self, process: asyncio.subprocess.Process, http: httpx.AsyncClient) -> None:
        self.process = process
        self.http = http

    async def health(self) -> int | None:
        """The status of /health; None: nobody listens."""
        try:
            return (await self.http.get("/health")).status_code
        except httpx.TransportError:
            return None

    async def ready(self) -> list[int | None]:
        """Wait until it is healthy; what /health said on the way, without repetitions."""
        seen: list[int | None] = []
        async with asyncio.timeout(PATIENCE):
            while True:
                now = await self.health()
                if seen[-1:] != [now]:
                    seen.append(now)
                if now == 200:
                    return seen
                await asyncio.sleep(0.01)  # a probe's period

    async def chat(self, fault: str = "", **changes: Any) -> httpx.Response:
        body = {"model": "qwen", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4, **changes}
        return await self.http.post("/v1/chat/completions", json=body, headers={"x-sim-fault": fault})


@contextlib.asynccontextmanager
async def engine_process(*arguments: str) -> AsyncIterator[EngineProcess]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "hearth.emulators.engine", "--model", "qwen", "--port", str(port)],
        *["--start-seconds", "0.2", "--load-seconds", "0.3", "--tokens-per-second", "500", *arguments],
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE) as http:
            yield EngineProcess(process, http)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE):
            await process.wait()


@pytest.fixture
async def engine() -> AsyncIterator[EngineProcess]:
    async with engine_process() as process:
        await process.ready()
        yield process


async def test_it_starts_in_phases() -> None:
    async with engine_process() as engine:
        assert await engine.ready() == [None, 503, 200]


async def test_openais_endpoints(engine: EngineProcess) -> None:
    chat = (await engine.chat()).json()
    assert chat["object"] == "chat.completion"
    assert len(chat["choices"][0]["message"]["content"].split()) == 4
    assert chat["usage"]["completion_tokens"] == 4
    text = (await engine.http.post("/v1/completions", json={"model": "qwen", "prompt": "x", "max_tokens": 3})).json()
    assert (text["object"], len(text["choices"][0]["text"].split())) == ("text_completion", 3)
    assert [model["id"] for model in (await engine.http.get("/v1/models")).json()["data"]] == ["qwen"]
    same = await engine.http.post("/v1/embeddings", json={"model": "qwen", "input": ["a", "b", "a"]})
    one, two, three = (item["embedding"] for item in same.json()["data"])
    assert one == three != two


async def test_a_stream_ends_with_usage_and_done(engine: EngineProcess) -> None:
    answer = await engine.chat(stream=True, stream_options={"include_usage": True})
    events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 4
    words = [json.loads(event)["choices"][0]["delta"].get("content") for event in events[:-3]]
    assert len(words) == 4


async def test_slots_and_vllms_metrics() -> None:
    async with engine_process("--slots", "1", "--tokens-per-second", "4") as engine:
        await engine.ready()
        asked = [asyncio.create_task(engine.chat()) for _ in range(3)]
        async with asyncio.timeout(PATIENCE):
            while True:
                metrics = await metrics_of(engine)
                if metrics["vllm:num_requests_waiting"] == 2:
                    break
                await asyncio.sleep(0.01)  # Prometheus polls too
        assert metrics["vllm:num_requests_running"] == 1
        assert metrics["vllm:kv_cache_usage_perc"] == 1
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def metrics_of(engine: EngineProcess) -> dict[str, float]:
    lines = (await engine.http.get("/metrics")).text.splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.split("{")[0]: float(value) for name, value in samples}


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b'{"model": "other"}', 404), (b'{"model": "qwen"}', 400)],
)
async def test_what_cannot_be_answered(engine: EngineProcess, body: bytes, status: int) -> None:
    answer = await engine.http.post("/v1/chat/completions", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


class TestFaults:
    async def test_an_error_500(self, engine: EngineProcess) -> None:
        assert (await engine.chat("error-500")).status_code == 500

    async def test_a_crash_in_the_middle_of_a_stream(self, engine: EngineProcess) -> None:
        with pytest.raises(httpx.TransportError):
            await engine.chat("crash-mid-stream", stream=True)
        assert await engine.process.wait() == 1

    async def test_a_hang(self, engine: EngineProcess) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await engine.http.post("/v1/embeddings", json={}, headers={"x-sim-fault": "hang"}, timeout=0.3)
        assert (await engine.chat()).status_code == 200, "the others go on"
        engine.process.kill()  # as an engine that hangs must be

    async def test_a_crash_while_loading(self) -> None:
        async with engine_process("--fault", "crash-while-loading") as engine:
            async with asyncio.timeout(PATIENCE):
                assert await engine.process.wait() == 1

    async def test_a_slow_start_by_a_file_that_can_be_taken_away(self, tmp_path: Path) -> None:
        file = tmp_path / "faults"
        file.write_text("error-500\n")
        async with engine_process("--fault-file", str(file)) as engine:
            await engine.ready()
            assert (await engine.chat()).status_code == 500
            file.unlink()
            assert (await engine.chat()).status_code == 200
