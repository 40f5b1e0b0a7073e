"""The real controller, in this process, on the local cluster: what it writes, read from the store."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.controller.server import ControllerConfig, run_controller
from hearth.emulators.kinds import KubeObject
from hearth.local.cluster import ClusterOptions, LocalCluster, local_cluster
from hearth.local.engines import EngineOptions
from hearth.local.parts import parts
from hearth.local.rights import rights
from tests.builders import llmservice_manifest, runtime

PATIENCE = 60.0  # for what takes a second on a machine that does nothing else
NAME, NAMESPACE = "qwen", "ai"
SCALER = "127.0.0.1:9"

# An engine that is ready as soon as it listens.
_LISTEN = """
import os, signal, socketserver
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
address = ("0.0.0.0", int(os.environ["HEARTH_ENGINE_PORT"]))
socketserver.TCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(address, socketserver.BaseRequestHandler).serve_forever()
"""
SERVER = [sys.executable, "-S", "-c", _LISTEN]
QUICK = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}


def engine_runtime(*command: str, name: str = "r", vendor: str = "nvidia", **spec: Any) -> InferenceRuntime:
    """A runtime whose engine is a command of this machine: by default one that is ready as soon as it runs."""
    container = {"image": f"{name}:1", "command": list(command or SERVER)}
    health = dict.fromkeys(("startup", "readiness", "liveness"), QUICK)
    more: dict[str, Any] = {"health": health, "lifecycle": {"preStopDrain": False}, **spec}
    return runtime(name, vendor, container=container, **more)


class World:
    """A cluster with a controller in it."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.store = cluster.store
        self._changed = asyncio.Event()
        self.store.listen(lambda event: self._changed.set())

    def apply(self, *assignments: str, name: str = NAME) -> None:
        """Apply an LLMService."""
        self.cluster.apply(llmservice_manifest(name, NAMESPACE, *assignments))

    def get(self, resource: str, name: str = NAME) -> Any:
        return self.store.get(resource, NAMESPACE, name)

    def items(self, resource: str) -> list[KubeObject]:
        return self.store.find(resource, NAMESPACE)

    def status(self, name: str = NAME) -> Any:
        return (self.get("llmservices", name) or {}).get("status") or {}

    def condition(self, kind: str, name: str = NAME) -> Any:
        """A condition of an LLMService; empty where there is none."""
        return next((each for each in self.status(name).get("conditions") or [] if each["type"] == kind), {})

    def scale(self, replicas: int, name: str = NAME) -> None:
        """Write spec.replicas as KEDA does."""
        self.cluster.keda._write((NAMESPACE, name), (NAMESPACE, name), replicas)

    def keda_says(self, name: str = NAME, **status: Any) -> None:
        """Write the status of a ScaledObject: by default that of one that KEDA has taken."""
        ready = {"type": "Ready", "status": "True", "reason": "ScaledObjectReady", "message": "ready"}
        taken = {"conditions": [ready], "externalMetricNames": ["s0-queueDepth"]}
        self.store.put("scaledobjects", {**self.get("scaledobjects", name), "status": {**taken, **status}})

    async def until(self, seen: Callable[[], Any], what: str) -> Any:
        """Wait for something that the store tells. Fails with what stands instead."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (found := seen()):
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"not seen: {what}; {self.status()}") from None

    async def told(self, reason: str, kind: str = "Warning") -> KubeObject:
        """Wait for an Event."""

        def found() -> KubeObject | None:
            return next(
                (each for each in self.items("events") if (each["type"], each["reason"]) == (kind, reason)), None
            )

        event: KubeObject = await self.until(found, f"Event {reason}")
        return event

    async def settled(self, name: str = NAME) -> None:
        """Wait until an LLMService is at zero and KEDA has taken it."""
        await self.until(lambda: self.get("scaledobjects", name), "a ScaledObject")
        self.keda_says(name)
        await self.until(lambda: self.condition("ScaledObjectReady", name).get("status") == "True", "KEDA took it")


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    *,
    runtimes: Sequence[InferenceRuntime] = (),
    devices: int = 8,
    lease: bool = False,
    controllers: int = 1,
    options: Callable[[ClusterOptions], ClusterOptions] = lambda options: options,
) -> AsyncIterator[World]:
    """A cluster of one Node with so many nvidia.com/gpu, these runtimes, and a controller with the rights of deploy/."""
    engines = EngineOptions("command", backoff_first_seconds=0.2)
    made = ClusterOptions(folder, rights(), {"nvidia.com/gpu": devices}, engines)
    async with local_cluster(options(made)) as cluster, parts() as start:
        cluster.kubelet.create_seconds = 0.05
        cluster.run(start)
        for each in runtimes or [engine_runtime()]:
            cluster.apply(each.to_manifest())
        config = ControllerConfig(
            *(cluster.kubeconfig("controller"), SCALER, "activator.test", "127.0.0.1:0"),
            lease=("hearth-system", "hearth-controller") if lease else None,
            identity="controller-0",
        )
        for number in range(controllers):
            start(f"controller {number}", run_controller(replace(config, identity=f"controller-{number}")))
        yield World(cluster)
