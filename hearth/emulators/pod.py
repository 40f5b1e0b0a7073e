"""A pod as a process: started, probed, drained, stopped and restarted as a kubelet does with its one container.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hearth.emulators.probes import ProbeCount, Prober, ProbeSpec
from hearth.logs import fields

log = logging.getLogger(__name__)

Phase = Literal["starting", "loading", "ready", "backing-off", "terminating", "gone"]
"""starting: the process runs and listens on no port; loading: it listens and is not ready."""

# A process must not outlive us, however we end. Linux tells it so itself (prctl(2), PR_SET_PDEATHSIG), asked for
# between fork and exec in an interpreter of its own, since code in a forked child of a threaded parent may hang.
_LAUNCH = (
    [
        *[sys.executable, "-I", "-S", "-c"],
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])",
    ]
    if sys.platform == "linux"
    else []
)

# CrashLoopBackOff: 10 s, doubled up to 5 min, forgotten after 10 min of running.
_BACKOFF_FIRST, _BACKOFF_LAST, _BACKOFF_FORGET = 10.0, 300.0, 600.0


def _as_it_is(pid: int, command: list[str]) -> list[str]:
    return command


@dataclass(frozen=True, slots=True)
class PodSpec:
    """What to run and how to watch it. `env` is the whole environment: nothing of ours is added. `ports` maps the
    container's port names and numbers to where they are at `address`; 0 as `port` is a container without ports.
    `enter(pid, command)` is what runs `command` (an exec probe, a hook) beside the process `pid`."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    ports: dict[str | int, int] = field(default_factory=dict)
    port: int = 0
    startup: ProbeSpec | None = None
    readiness: ProbeSpec | None = None
    liveness: ProbeSpec | None = None
    pre_stop: list[str] | None = None
    grace_seconds: float = 30.0
    backoff_first: float = _BACKOFF_FIRST
    address: str = "127.0.0.1"
    enter: Callable[[int, list[str]], list[str]] = _as_it_is

    @classmethod
    def of_container(
        cls,
        name: str,
        container: dict[str, Any],
        *,
        command: list[str],
        env: dict[str, str],
        port: int | None,
        grace_seconds: float,
        backoff_first: float = _BACKOFF_FIRST,
        address: str = "127.0.0.1",
        enter: Callable[[int, list[str]], list[str]] = _as_it_is,
    ) -> "PodSpec":
        """The spec of a container that is run as `command`. Its ports are where they are declared; `port` is where the
        first one is instead."""
        ports: dict[str | int, int] = {}
        for index, declared in enumerate(container.get("ports", [])):
            number = port if port is not None and index == 0 else declared["containerPort"]
            ports |= {declared.get("name", declared["containerPort"]): number, declared["containerPort"]: number}
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        return cls(
            name,
            command,
            env,
            ports,
            next(iter(ports.values()), 0),
            ProbeSpec.of(container["startupProbe"]) if "startupProbe" in container else None,
            ProbeSpec.of(container["readinessProbe"]) if "readinessProbe" in container else None,
            ProbeSpec.of(container["livenessProbe"]) if "livenessProbe" in container else None,
            hook,
            grace_seconds,
            backoff_first,
            address,
            enter,
        )


class Pod:
    """Runs until `stop` is called. `on_change(pod)` is called at each change of `phase`, when there is a process
    (`pid`), and when the startup probe has succeeded (`started`)."""

    def __init__(self, spec: PodSpec, log_file: Path, on_change: Callable[["Pod"], None]) -> None:
        self.spec = spec
        self.phase: Phase = "starting"
        self.started = False
        self.restarts = 0
        self.last_exit: int | None = None
        self.pid: int | None = None
        self._log_file = log_file
        self._prober = Prober(spec.address, spec.ports, self._beside)
        self._on_change = on_change
        self._stopping = asyncio.Event()

    @property
    def ready(self) -> bool:
        return self.phase == "ready"

    def stop(self) -> None:
        """Begin termination: no longer ready at once, then preStop, SIGTERM, the grace period, SIGKILL."""
        self._stopping.set()
        if self.phase not in ("terminating", "gone"):
            self._enter("terminating")

    async def run(self) -> None:
        """Run, restart and stop the process; returns when the pod is gone. Cancelled: the process is killed."""
        loop = asyncio.get_running_loop()
        delay = self.spec.backoff_first
        try:
            while not self._stopping.is_set():
                self.started = False
                self._enter("starting")
                began = loop.time()
                self.last_exit = await self._run_once()
                if self._stopping.is_set():
                    break
                if loop.time() - began > _BACKOFF_FORGET:
                    delay = self.spec.backoff_first
                self.restarts += 1
                log.warning("pod exited", extra=fields(pod=self.spec.name, code=self.last_exit, restart_seconds=delay))
                self._enter("backing-off")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._stopping.wait()
                delay = min(delay * 2, _BACKOFF_LAST)
        finally:
            self._enter("gone")

    async def _run_once(self) -> int:
        with self._log_file.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *_LAUNCH,
                *self.spec.command,
                env=self.spec.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # the terminal's Ctrl-C is for us; we stop our pods ourselves
            )
        self.pid = process.pid
        self._on_change(self)
        exited = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        probing = asyncio.create_task(self._probe())
        try:
            await asyncio.wait({exited, stopping, probing}, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                if probing.done() and not self._stopping.is_set():
                    probing.result()  # an error in probing itself is ours to see
                    log.warning("pod failed its probe, restarting", extra=fields(pod=self.spec.name))
                probing.cancel()
                await self._terminate(process, exited)
            return await exited
        finally:
            for task in (probing, stopping):
                task.cancel()
            _signal(process, signal.SIGKILL)  # the whole group: an engine's workers must not outlive it
            await process.wait()
            self.pid = None

    async def _terminate(self, process: asyncio.subprocess.Process, exited: "asyncio.Task[int]") -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.spec.grace_seconds):
                if self.spec.pre_stop is not None:
                    await self._run_hook(self.spec.pre_stop)
                _signal(process, signal.SIGTERM)
                await asyncio.shield(exited)
                return
        log.warning("pod outlived its grace period, killing it", extra=fields(pod=self.spec.name))
        _signal(process, signal.SIGKILL)

    async def _run_hook(self, command: list[str]) -> None:
        with self._log_file.open("ab") as output:
            hook = await asyncio.create_subprocess_exec(
                *self._beside(command), env=self.spec.env, stdout=output, stderr=output
            )
        try:
            await hook.wait()
        finally:
            if hook.returncode is None:
                hook.kill()
                await hook.wait()

    def _beside(self, command: list[str]) -> list[str]:
        assert self.pid is not None
        return self.spec.enter(self.pid, command)

    async def _probe(self) -> None:
        """Run the probes; returns when startup or liveness says that the process must be restarted."""
        if not await self._watch_startup():
            return
        self.started = True
        self._on_change(self)
        async with asyncio.TaskGroup() as group:
            readiness = group.create_task(self._watch_readiness())
            if self.spec.liveness is None:
                await readiness
            else:
                await self._until(self.spec.liveness, False)
                readiness.cancel()

    async def _watch_startup(self) -> bool:
        listening = asyncio.create_task(self._watch_port())
        try:
            if self.spec.startup is None:
                return True
            count = ProbeCount(self.spec.startup)
            await asyncio.sleep(self.spec.startup.initial_delay)  # the probe's own schedule
            while count.passing is None:
                count.observe(await self._prober.ask(self.spec.startup))
                if count.passing is None:
                    await asyncio.sleep(self.spec.startup.period)
            return count.passing
        finally:
            listening.cancel()

    async def _watch_port(self) -> None:
        port = ProbeSpec({"tcpSocket": {"port": self.spec.port}})
        while self.spec.port and not await self._prober.ask(port):
            await asyncio.sleep(0.1)  # nothing tells a parent that its child has begun to listen
        if self.phase == "starting":
            self._enter("loading")

    async def _watch_readiness(self) -> None:
        if (spec := self.spec.readiness) is None:
            self._set_ready(True)
            await asyncio.Event().wait()  # ready for as long as it runs
            return
        while True:
            await self._until(spec, True)
            self._set_ready(True)
            await self._until(spec, False)
            self._set_ready(False)

    async def _until(self, spec: ProbeSpec, passing: bool) -> None:
        count = ProbeCount(spec)
        await asyncio.sleep(spec.initial_delay)  # the probe's own schedule
        while True:
            count.observe(await self._prober.ask(spec))
            if count.passing is passing:
                return
            await asyncio.sleep(spec.period)

    def _set_ready(self, ready: bool) -> None:
        if not self._stopping.is_set():
            self._enter("ready" if ready else "loading")

    def _enter(self, phase: Phase) -> None:
        if phase != self.phase and (self.phase != "terminating" or phase == "gone"):
            self.phase = phase
            self._on_change(self)
        elif phase == "starting":
            self._on_change(self)


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
