"""Pods as real processes: probes, restarts, termination."""

import asyncio
import contextlib
import dataclasses
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from hearth.emulators.listening import Place
from hearth.emulators.pod import Phase, Pod, PodSpec
from hearth.emulators.ports import free_port
from hearth.emulators.probes import ProbeSpec

PATIENCE = 15.0
PATH = os.environ["PATH"]

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

    def server(
        self,
        *,
        liveness: bool = False,
        grace: float = 10.0,
        pre_stop: list[str] | None = None,
        readiness_delay: float = 0.0,
    ) -> Watched:
        port = free_port()
        health = ProbeSpec({"httpGet": {"path": "/health", "port": "http"}}, period=0.1, failure_threshold=1)
        return self.start(
            PodSpec(
                "server",
                [sys.executable, "-c", SERVER, str(port), str(self.healthy)],
                ports={"http": port},
                port=port,
                readiness=dataclasses.replace(health, initial_delay=readiness_delay),
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
    """Whether it runs: one that nobody has waited for yet does not."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
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
    await watched.until(lambda: watched.pod.restarts >= 1)
    pods.healthy.touch()
    await watched.ready()
    assert watched.pod.restarts >= 1
    assert watched.pod.pid != first


async def test_one_that_exits_is_restarted_at_once_and_then_after_a_while(
    pods: Pods, caplog: pytest.LogCaptureFixture
) -> None:
    """The kubelet's doBackOff: a container that was not restarted lately is in no back-off; then 10 s, doubled."""
    spec = PodSpec("crash", [sys.executable, "-c", "import sys; sys.exit(3)"], backoff_first=0.05)
    watched = pods.start(spec)
    await watched.until(lambda: watched.pod.restarts >= 1)
    assert "backing-off" not in watched.phases
    await watched.until(lambda: watched.pod.restarts >= 3)
    assert watched.pod.last_exit == 3
    assert "backing-off" in watched.phases
    waits = [vars(record)["hearth"]["restart_seconds"] for record in caplog.records if record.msg == "pod exited"]
    assert waits[:3] == [0.0, 0.05, 0.1]


async def test_its_environment_is_what_the_spec_says(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container's, and not that of who runs it: the CRI gives a container its own variables alone."""
    monkeypatch.setenv("OF_THE_SHELL", "1")
    told = "import os; print(sorted(set(os.environ) - {'LC_CTYPE'}), flush=True)"
    spec = PodSpec(
        "env",
        [sys.executable, "-c", told + "; import time; time.sleep(60)"],
        {"PATH": PATH, "A": str(pods.folder)},
        readiness=ProbeSpec({"exec": {"command": ["sh", "-c", "env >$A/probed"]}}, period=0.1),
        pre_stop=["sh", "-c", "env >$A/hooked"],
        grace_seconds=0.1,
    )
    watched = pods.start(spec)
    await watched.until(lambda: watched.pod.ready)
    watched.pod.stop()
    await watched.until(lambda: watched.pod.phase == "gone")
    assert watched.log.read_text().splitlines() == ["['A', 'PATH']"]
    for file in ("probed", "hooked"):
        text = (pods.folder / file).read_text()
        assert f"A={pods.folder}" in text
        assert "OF_THE_SHELL" not in text


async def test_an_engine_on_loopback_is_not_found_by_its_probes(pods: Pods) -> None:
    """A probe asks the pod's address; what listens on 127.0.0.1 in a pod's network is reached from within alone."""
    pods.healthy.touch()
    place = Place.found(8000)
    port = free_port()
    spec = PodSpec(
        "lonely",
        [sys.executable, "-c", SERVER, str(port), str(pods.healthy)],
        ports={"http": port},
        port=port,
        startup=ProbeSpec({"httpGet": {"path": "/", "port": "http"}}, period=0.1, failure_threshold=10),
        address=place.address,
    )
    watched = pods.start(spec)
    await watched.until(lambda: watched.pod.restarts > 0)
    assert "serving" in watched.log.read_text()
    assert "ready" not in watched.phases


async def test_the_delay_of_readiness_counts_from_the_start_and_is_there_once(pods: Pods) -> None:
    """The kubelet's worker.doProbe compares initialDelaySeconds with the container's start, at every look."""
    pods.healthy.touch()
    watched = pods.server(readiness_delay=1.5)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await watched.ready()
    assert loop.time() - began >= 1.4
    pods.healthy.unlink()
    await watched.until(lambda: not watched.pod.ready)
    pods.healthy.touch()
    began = loop.time()
    await watched.ready()
    assert loop.time() - began < 1.0


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

    async def test_a_hook_that_takes_the_whole_grace_leaves_sigterm_and_two_seconds(self, pods: Pods) -> None:
        """The kubelet's killContainer: gracePeriod less the hook's time, and at least minimumGracePeriodInSeconds (2)."""
        pods.healthy.touch()
        (pods.folder / "stubborn").touch()
        watched = pods.server(grace=0.3, pre_stop=["sleep", "60"])
        await watched.ready()
        loop = asyncio.get_running_loop()
        began = loop.time()
        watched.pod.stop()
        await watched.until(lambda: watched.pod.phase == "gone")
        assert "SIGTERM" in watched.log.read_text()
        assert loop.time() - began >= 2.3

    @pytest.mark.parametrize("hook", [["/nowhere/hook"], ["false"]])
    async def test_a_hook_that_fails_keeps_it_from_nothing(self, pods: Pods, hook: list[str]) -> None:
        """The kubelet's executePreStopHook: FailedPreStopHook is an Event, and the container is stopped."""
        pods.healthy.touch()
        watched = pods.server(pre_stop=hook)
        await watched.ready()
        watched.pod.stop()
        await watched.until(lambda: watched.pod.phase == "gone")
        assert watched.log.read_text().split() == ["serving", "SIGTERM"]

    async def test_sigterm_is_for_process_1_alone(self, pods: Pods) -> None:
        """CRI's StopContainer signals the container's init process; the others end with its PID namespace."""
        script = """
import os, signal, subprocess, sys, time
handled = 'import signal, time; signal.signal(signal.SIGTERM, lambda *a: print("child heard it", flush=True)); '
child = subprocess.Popen([sys.executable, "-c", handled + 'print("child", flush=True); [time.sleep(1) for _ in range(99)]'])
def stop(number, frame):
    time.sleep(0.3)
    print("first", child.pid, "alive" if child.poll() is None else "dead", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
child.wait()
"""
        up = ProbeSpec({"exec": {"command": ["grep", "-q", "child", str(pods.folder / "parent.log")]}}, period=0.1)
        watched = pods.start(PodSpec("parent", [sys.executable, "-c", script], {"PATH": PATH}, readiness=up))
        await watched.ready()
        watched.pod.stop()
        await watched.until(lambda: watched.pod.phase == "gone")
        text = watched.log.read_text()
        assert "child heard it" not in text
        *_, pid, state = text.split()
        assert state == "alive"
        async with asyncio.timeout(PATIENCE):
            while alive(int(pid)):  # killed with process 1; it is not our child, so nothing tells its end
                await asyncio.sleep(0.01)

    @pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process handles")
    async def test_process_1_without_a_handler_does_not_hear_sigterm(self, pods: Pods) -> None:
        """signal(7), pid_namespaces(7): an init process gets only signals that it has a handler for."""
        watched = pods.start(PodSpec("deaf", ["sleep", "60"], {"PATH": PATH}, grace_seconds=2.5))
        await watched.ready()
        began = asyncio.get_running_loop().time()
        watched.pod.stop()
        await watched.until(lambda: watched.pod.phase == "gone")
        assert asyncio.get_running_loop().time() - began >= 2.5
        assert watched.pod.last_exit == -9

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


async def test_an_exit_on_a_full_disk_names_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exited = asyncio.Event()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    spec = PodSpec("p", [sys.executable, "-S", "-c", "raise SystemExit(120)"], backoff_first=60)
    full = Pod(spec, tmp_path / "log", lambda pod: exited.set() if pod.phase == "backing-off" else None)
    running = asyncio.create_task(full.run())
    async with asyncio.timeout(15):
        await exited.wait()
    full.stop()
    await running
    assert "the disk is full" in caplog.messages
