"""A pod as a process: started, probed, drained, stopped and restarted as a kubelet does with its one container.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and the kubelet's kuberuntime_container.go. Left out:
postStart, init containers and sidecars, resource limits, and a restart policy other than Always.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hearth.emulators.backoff import FIRST, RestartBackoff
from hearth.emulators.probes import Prober, ProbeSpec, ProbeWatch
from hearth.emulators.process import Processes, end_beside, run_beside
from hearth.logs import fields

log = logging.getLogger(__name__)

Phase = Literal["starting", "loading", "ready", "backing-off", "terminating", "gone"]
"""starting: there is no process yet; loading: it runs and is not ready, whether it listens on its port or not."""

# What a container has between SIGTERM and SIGKILL at least, also where preStop took the whole grace period.
_LEAST_GRACE = 2.0
# Bytes of a disk: with less, what a process writes to its log may have no room.
_LEAST_DISK = 64 * 1024
# What containerd says of a process that could not be started.
_NOT_STARTED = 128


def _as_it_is(pid: int, command: list[str]) -> list[str]:
    return command


@dataclass(frozen=True, slots=True)
class PodSpec:
    """What to run and how to watch it. `env` is the whole environment: nothing of ours is added. `ports` maps the
    container's port names and numbers to where they are at `address`; 0 as `port` is a container without ports.
    `enter(pid, command)` is what runs `command` (an exec probe, a hook) beside the process `pid`. `passing` is a folder
    that ends with the pod."""

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
    backoff_first: float = FIRST
    address: str = "127.0.0.1"
    enter: Callable[[int, list[str]], list[str]] = _as_it_is
    passing: Path | None = None

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
        backoff_first: float = FIRST,
        address: str = "127.0.0.1",
        enter: Callable[[int, list[str]], list[str]] = _as_it_is,
        passing: Path | None = None,
    ) -> "PodSpec":
        """The spec of a container that is run as `command`. Its ports are where they are declared; `port` is where the
        first one is instead."""
        ports: dict[str | int, int] = {}
        for index, declared in enumerate(container.get("ports", [])):
            number = port if port is not None and index == 0 else declared["containerPort"]
            ports |= {declared.get("name", declared["containerPort"]): number, declared["containerPort"]: number}
        return cls(
            name,
            command,
            env,
            ports,
            next(iter(ports.values()), 0),
            ProbeSpec.of(container["startupProbe"]) if "startupProbe" in container else None,
            ProbeSpec.of(container["readinessProbe"]) if "readinessProbe" in container else None,
            ProbeSpec.of(container["livenessProbe"]) if "livenessProbe" in container else None,
            _pre_stop(container),
            grace_seconds,
            backoff_first,
            address,
            enter,
            passing,
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
        self.start_error: str | None = None  # why the last try to start the process failed
        self.pid: int | None = None
        self._log_file = log_file
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._running_since = 0.0

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
        backoff = RestartBackoff(self.spec.backoff_first)
        try:
            while not self._stopping.is_set():
                self.started = False
                self._enter("starting")
                self.last_exit = await self._run_once()
                if self._stopping.is_set():
                    break
                self.restarts += 1
                wait = backoff.after_exit(asyncio.get_running_loop().time())
                log.warning("pod exited", extra=fields(pod=self.spec.name, code=self.last_exit, restart_seconds=wait))
                if shutil.disk_usage(self._log_file.parent).free < _LEAST_DISK:  # then its own words are lost
                    log.error("the disk is full", extra=fields(pod=self.spec.name, folder=str(self._log_file.parent)))
                if wait:
                    self._enter("backing-off")
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._stopping.wait()
            if self.spec.passing is not None:
                await asyncio.to_thread(shutil.rmtree, self.spec.passing, ignore_errors=True)
        finally:
            self._enter("gone")

    async def _run_once(self) -> int:
        try:
            with self._log_file.open("ab") as output:
                processes = await Processes.start(self.spec.command, self.spec.env, output)
        except (OSError, ValueError) as error:  # too long for execve(2); a NUL, or an = in a variable's name
            self.start_error = f"failed to start the process: {error}"
            self._on_change(self)
            return _NOT_STARTED
        self.start_error = None
        self._running_since = asyncio.get_running_loop().time()
        self.pid = processes.pid
        exited = asyncio.create_task(processes.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        probing = asyncio.create_task(self._probe())
        hooks: list[asyncio.subprocess.Process] = []
        try:
            self._enter("loading")
            await asyncio.wait({exited, stopping, probing}, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                grace: float = self.spec.grace_seconds
                if probing.done() and not self._stopping.is_set():
                    failed = probing.result()  # an error in probing itself is ours to see
                    grace = failed.grace if failed.grace is not None else grace
                    log.warning("pod failed its probe, restarting", extra=fields(pod=self.spec.name))
                probing.cancel()
                await self._terminate(processes, exited, grace, hooks)
            return await exited
        finally:
            for task in (probing, stopping):
                task.cancel()
            for hook in hooks:
                end_beside(hook)
            processes.kill()  # an engine's workers, as the kernel kills a PID namespace
            await asyncio.gather(processes.wait(), *(hook.wait() for hook in hooks))
            self.pid = None

    async def _terminate(
        self,
        processes: Processes,
        exited: "asyncio.Task[int]",
        grace: float,
        hooks: list[asyncio.subprocess.Process],
    ) -> None:
        """preStop, then SIGTERM with what is left of the grace period, then SIGKILL. A hook that takes too long is left
        alone, as the kubelet leaves it: it ends with the container."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self.spec.pre_stop is not None and grace > 0 and (hook := await self._hook(self.spec.pre_stop)):
            hooks.append(hook)
            waiting = asyncio.create_task(hook.wait())
            await asyncio.wait({waiting, exited}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                if not exited.done():
                    log.warning("preStop hook took the whole grace period", extra=fields(pod=self.spec.name))
        left = max(grace - (loop.time() - began), _LEAST_GRACE)
        if not processes.terminate():
            log.warning("process 1 has no handler for SIGTERM, it waits for SIGKILL", extra=fields(pod=self.spec.name))
        await asyncio.wait({exited}, timeout=left)
        if not exited.done():
            log.warning("pod outlived its grace period, killing it", extra=fields(pod=self.spec.name))
            processes.kill()

    async def _hook(self, command: list[str]) -> asyncio.subprocess.Process | None:
        """None: it can't be started, which keeps no container from being stopped (FailedPreStopHook)."""
        with self._log_file.open("ab") as output:
            try:
                return await run_beside(self._beside(command), self.spec.env, output)
            except (OSError, ValueError) as error:
                log.warning("preStop hook failed", extra=fields(pod=self.spec.name, reason=str(error)))
                return None

    def _beside(self, command: list[str]) -> list[str]:
        assert self.pid is not None
        return self.spec.enter(self.pid, command)

    async def _probe(self) -> ProbeSpec:
        """Run the probes; returns the one, startup or liveness, that says that the process must be restarted."""
        prober = Prober(self.spec.address, self.spec.ports, self._beside, self.spec.env)
        startup, liveness = self.spec.startup, self.spec.liveness
        async with asyncio.TaskGroup() as group:
            if startup is not None:
                passed = await ProbeWatch(startup, prober, self._running_since, passing=None).change()
                if not passed:
                    return startup
            self.started = True
            self._on_change(self)
            readiness = group.create_task(self._watch_readiness(prober))
            if liveness is None:
                await asyncio.Event().wait()  # nothing says that it must be restarted
                raise AssertionError
            await self._fails(liveness, prober)
            readiness.cancel()
        return liveness

    async def _watch_readiness(self, prober: Prober) -> None:
        if (spec := self.spec.readiness) is None:
            self._set_ready(True)
            await asyncio.Event().wait()  # ready for as long as it runs
            return
        watch = ProbeWatch(spec, prober, self._running_since, passing=False)
        while True:
            self._set_ready(await watch.change())

    async def _fails(self, spec: ProbeSpec, prober: Prober) -> None:
        watch = ProbeWatch(spec, prober, self._running_since, passing=True)
        while await watch.change():
            pass

    def _set_ready(self, ready: bool) -> None:
        if not self._stopping.is_set():
            self._enter("ready" if ready else "loading")

    def _enter(self, phase: Phase) -> None:
        if self.phase != "terminating" or phase == "gone":
            self.phase = phase
        self._on_change(self)


def _pre_stop(container: dict[str, Any]) -> list[str] | None:
    """The command of a container's preStop hook; a `sleep` of the API's own is one, too."""
    match container.get("lifecycle", {}).get("preStop", {}):
        case {"exec": {"command": command}}:
            return list(command)
        case {"sleep": {"seconds": seconds}}:
            return ["sleep", str(seconds)]
        case {} as nothing if not nothing:
            return None
        case other:
            raise ValueError(
                f"container {container['name']}: lifecycle.preStop: found {', '.join(other)}; exec and sleep are known"
            )
