"""Kubernetes probes: asking a process how it is, and counting the answers.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hearth.emulators.httpprobe import HttpProbe, ask_http
from hearth.emulators.process import end_beside, run_beside


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A probe with the API's defaults filled in. Seconds and counts; `grace` is what a restart for it has, None as the
    pod's."""

    handler: dict[str, Any]
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    grace: float | None = None

    @classmethod
    def of(cls, probe: dict[str, Any]) -> "ProbeSpec":
        names = ("httpGet", "tcpSocket", "exec", "grpc")
        return cls(
            handler={name: probe[name] for name in names if name in probe},
            initial_delay=probe.get("initialDelaySeconds", 0),
            period=probe.get("periodSeconds", 10),
            timeout=probe.get("timeoutSeconds", 1),
            success_threshold=probe.get("successThreshold", 1),
            failure_threshold=probe.get("failureThreshold", 3),
            grace=probe.get("terminationGracePeriodSeconds"),
        )


@dataclass(slots=True)
class ProbeCount:
    """Consecutive answers against the thresholds. `passing` is None until one is reached."""

    spec: ProbeSpec
    passing: bool | None = None
    _run: int = 0
    _last: bool | None = field(default=None)

    def observe(self, ok: bool) -> bool:
        """Count an answer; true where `passing` changed."""
        self._run = self._run + 1 if ok == self._last else 1
        self._last = ok
        threshold = self.spec.success_threshold if ok else self.spec.failure_threshold
        if self._run >= threshold and self.passing is not ok:
            self.passing = ok
            return True
        return False


class Prober:
    """Asks a process at one address. `ports` maps the container's port names and numbers to where they really are;
    `beside` makes a command one that runs where the process does, with `env`."""

    def __init__(
        self,
        address: str,
        ports: dict[str | int, int],
        beside: Callable[[list[str]], list[str]] = lambda command: command,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._address = address
        self._ports = ports
        self._beside = beside
        self._env = env or {}

    async def ask(self, spec: ProbeSpec) -> bool:
        """Whether the probe succeeds within its timeout."""
        try:
            async with asyncio.timeout(spec.timeout):
                return await self._ask(spec.handler)
        # ValueError: a redirect to no URL, a command with a NUL; KeyError: a port that the container has not.
        except (TimeoutError, OSError, ValueError, KeyError, grpc.aio.AioRpcError):
            return False

    async def _ask(self, handler: dict[str, Any]) -> bool:
        if http := handler.get("httpGet"):
            fields = {field["name"].lower(): field["value"] for field in http.get("httpHeaders") or ()}
            address, port = http.get("host") or self._address, self.port(http["port"])
            return await ask_http(
                HttpProbe(http.get("scheme", "HTTP").lower(), address, port, http.get("path") or "/", fields)
            )
        if tcp := handler.get("tcpSocket"):
            _, writer = await asyncio.open_connection(tcp.get("host") or self._address, self.port(tcp["port"]))
            writer.close()
            return True
        if rpc := handler.get("grpc"):
            options = [("grpc.enable_http_proxy", 0)]  # a kubelet asks pods itself
            async with grpc.aio.insecure_channel(f"{self._address}:{self.port(rpc['port'])}", options) as channel:
                request = health_pb2.HealthCheckRequest(service=rpc.get("service", ""))
                answer = await health_pb2_grpc.HealthStub(channel).Check(request)
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        process = await run_beside(self._beside(handler["exec"]["command"]), self._env, asyncio.subprocess.DEVNULL)
        try:
            return await process.wait() == 0
        finally:
            if process.returncode is None:
                end_beside(process)
                await process.wait()

    def port(self, name: str | int) -> int:
        """Where a port of the container is, by name or number."""
        return self._ports.get(name, name) if isinstance(name, int) else self._ports[name]


class ProbeWatch:
    """A probe of one run of a container: asked each period, from its delay after the container's start on.

    `passing` is what is taken for true before anything was asked: the kubelet takes a container for alive and for not
    ready. The delay is there once: a probe that fails later is not delayed anew.
    """

    def __init__(self, spec: ProbeSpec, prober: Prober, running_since: float, *, passing: bool | None) -> None:
        self._spec = spec
        self._prober = prober
        self._count = ProbeCount(spec, passing)
        self._due = running_since + spec.initial_delay

    async def change(self) -> bool:
        """Whether it passes, as soon as that changes."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._due - loop.time())  # the probe's own schedule
            self._due = loop.time() + self._spec.period
            if self._count.observe(await self._prober.ask(self._spec)):
                return self._count.passing is True
