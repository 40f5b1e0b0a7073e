"""Pods as real processes: probes, restarts, termination."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hearth.emulators.pod import Phase, Pod, PodSpec
from hearth.emulators.ports import free_port
from hearth.emulators.probes import ProbeSpec

PATIENCE = 15.0

# An HTTP server whose health is what the file says: absent: 503, present: 200. SIGTERM is logged, then obeyed.
SERVER = """
import http.server, os, pathlib, signal, sys
port, health = int(sys.argv[1]), pathlib.Path(sys.argv[2])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if health.exists() else 503); self.end_headers()
    def log_message(self, *words): pass
def stop(number, frame):
    print("SIGTERM", flush=True)
    if not health.with_name("stubborn").exists(): os._exit(0)
signal.signal(signal.SIGTERM, stop)
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class Watched:
    """A pod and the phases that it went through."""

    def __init__(self, folder: Path, spec: PodSpec) -> None:
        self.log = folder / f"{spec.name}.log"
        self.phases: list[Phase] = []
        self._changed = asyncio.Event()
        self.pod = Pod(spec, self.log, self._on_change)

    def _on_change(self, pod: Pod) -> None:
        if self.phases[-1:] != [pod.phase]:
            self.phases.append(pod.phase)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def ready(self) -> None:
        await self.until(lambda: self.pod.ready)


class Pods:
    """Makes pods and ends those that the test left running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.healthy = folder / "healthy"
        self._tasks: list[asyncio.Task[None]] = []

    def server(self, *, liveness: bool = False, grace: float = 10.0, pre_stop: list[str] | None = None) -> Watched:
        port = free_port()
        health = ProbeSpec({"httpGet": {"path": "/health", "port": "http"}}, period=0.1, failure_threshold=1)
        return self.start(
            PodSpec(
                "server",
                [sys.executable, "-c", SERVER, str(port), str(self.healthy)],
                ports={"http": port},
                port=port,
                readiness=health,
                liveness=health if liveness else None,
                startup=ProbeSpec({"tcpSocket": {"port": "http"}}, period=0.1, failure_threshold=100),
                pre_stop=pre_stop,
                grace_seconds=grace,
                backoff_first=0.1,
            )
        )

    def start(self, spec: PodSpec) -> Watched:
        watched = Watched(self.folder, spec)
        self._tasks.append(asyncio.create_task(watched.pod.run()))
        return watched

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def pods(tmp_path: Path) -> AsyncIterator[Pods]:
    made = Pods(tmp_path)
    yield made
    await made.close()


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_it_is_ready_when_its_probe_says_so_and_no_longer_when_it_does_not(pods: Pods) -> None:
    watched = pods.server()
    await watched.until(lambda: watched.pod.phase == "loading")
    pods.healthy.touch()
    await watched.ready()
    pods.healthy.unlink()
    await watched.until(lambda: watched.pod.phase == "loading")
    assert watched.phases == ["starting", "loading", "ready", "loading"][-len(watched.phases) :]
    assert watched.pod.restarts == 0


async def test_liveness_restarts_it(pods: Pods) -> None:
    pods.healthy.touch()
    watched = pods.server(liveness=True)
    await watched.ready()
    first = watched.pod.pid
    pods.healthy.unlink()
    await watched.until(lambda: watched.pod.phase == "backing-off")
    pods.healthy.touch()
    await watched.ready()
    assert watched.pod.restarts >= 1
    assert watched.pod.pid != first


async def test_one_that_exits_is_restarted_after_a_while(pods: Pods) -> None:
    spec = PodSpec("crash", [sys.executable, "-c", "import sys; sys.exit(3)"], backoff_first=0.05)
    watched = pods.start(spec)
    await watched.until(lambda: watched.pod.restarts >= 3)
    assert watched.pod.last_exit == 3
    assert "backing-off" in watched.phases


async def test_one_that_cannot_be_started_backs_off(pods: Pods) -> None:
    watched = pods.start(PodSpec("none", ["/nowhere/engine"], backoff_first=0.05))
    await watched.until(lambda: watched.pod.restarts >= 2)
    assert "No such file" in watched.log.read_text()


class TestTermination:
    async def test_pre_stop_then_sigterm(self, pods: Pods) -> None:
        pods.healthy.touch()
        watched = pods.server(pre_stop=["sh", "-c", "echo draining"])
        await watched.ready()
        watched.pod.stop()
        assert not watched.pod.ready, "no new request from this moment on"
        await watched.until(lambda: watched.pod.phase == "gone")
        assert watched.log.read_text().split() == ["serving", "draining", "SIGTERM"]
        assert watched.pod.restarts == 0

    async def test_one_that_will_not_go_is_killed_after_its_grace(self, pods: Pods) -> None:
        pods.healthy.touch()
        (pods.folder / "stubborn").touch()
        watched = pods.server(grace=0.3)
        await watched.ready()
        pid = watched.pod.pid
        assert pid is not None
        watched.pod.stop()
        await watched.until(lambda: watched.pod.phase == "gone")
        assert "SIGTERM" in watched.log.read_text()
        assert not alive(pid)

    async def test_a_hook_that_takes_too_long_is_part_of_the_grace(self, pods: Pods) -> None:
        pods.healthy.touch()
        watched = pods.server(grace=0.3, pre_stop=["sleep", "60"])
        await watched.ready()
        watched.pod.stop()
        await watched.until(lambda: watched.pod.phase == "gone")
        assert "SIGTERM" not in watched.log.read_text()

    async def test_while_it_backs_off(self, pods: Pods) -> None:
        watched = pods.start(PodSpec("crash", ["false"], backoff_first=60.0))
        await watched.until(lambda: watched.pod.phase == "backing-off")
        watched.pod.stop()
        await watched.until(lambda: watched.pod.phase == "gone")

    async def test_cancelled_leaves_no_process(self, pods: Pods) -> None:
        pods.healthy.touch()
        watched = pods.server()
        await watched.ready()
        pid = watched.pod.pid
        assert pid is not None
        await pods.close()
        assert not alive(pid)
