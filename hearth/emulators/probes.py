"""Kubernetes probes: asking a process how it is, and counting the answers.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
# The kubelet does not check the certificate of what it probes.
_UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A probe with the API's defaults filled in. Seconds and counts."""

    handler: dict[str, Any]
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3

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
    `beside` makes a command one that runs where the process does."""

    def __init__(
        self, host: str, ports: dict[str | int, int], beside: Callable[[list[str]], list[str]] = lambda command: command
    ) -> None:
        self._host = host
        self._ports = ports
        self._beside = beside

    async def ask(self, spec: ProbeSpec) -> bool:
        """Whether the probe succeeds within its timeout."""
        try:
            async with asyncio.timeout(spec.timeout):
                return await self._ask(spec.handler)
        except (TimeoutError, OSError, grpc.aio.AioRpcError):
            return False

    async def _ask(self, handler: dict[str, Any]) -> bool:
        if http := handler.get("httpGet"):
            secure = _UNVERIFIED if http.get("scheme") == "HTTPS" else None
            return 200 <= await self._status(self.port(http["port"]), http.get("path", "/"), secure) < 400
        if tcp := handler.get("tcpSocket"):
            _, writer = await asyncio.open_connection(self._host, self.port(tcp["port"]))
            writer.close()
            return True
        if rpc := handler.get("grpc"):
            async with grpc.aio.insecure_channel(f"{self._host}:{self.port(rpc['port'])}") as channel:
                request = health_pb2.HealthCheckRequest(service=rpc.get("service", ""))
                answer = await health_pb2_grpc.HealthStub(channel).Check(request)
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        process = await asyncio.create_subprocess_exec(*self._beside(handler["exec"]["command"]))
        try:
            return await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()

    async def _status(self, port: int, path: str, secure: ssl.SSLContext | None) -> int:
        """The status of a GET, on a connection of its own as the kubelet's are; 0: no answer.

        By hand, since a held request waits for this: a tenth of what httpx takes.
        """
        reader, writer = await asyncio.open_connection(self._host, port, ssl=secure)
        try:
            host = f"{self._host}:{port}"
            writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
            found = _STATUS_LINE.match(await reader.readline())
            return int(found[1]) if found else 0
        finally:
            writer.close()

    def port(self, name: str | int) -> int:
        """Where a port of the container is, by name or number."""
        return self._ports.get(name, name) if isinstance(name, int) else self._ports[name]
