"""`hearth up`: the whole loop on one machine.

The activator and the scaler run as they do in a cluster, each in a process of its own; the local API server tells the
activator what the real one would; the embedded autoscaler asks the scaler over gRPC as KEDA does; engines are
processes. Nothing here reaches into another role's memory.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import uvicorn

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.llmservice import LLMService
from hearth.coldstart import ColdStarts
from hearth.crd_translator import ClusterFacts, render
from hearth.emulators.apiserver import Watches, create_api
from hearth.emulators.keda import HPA_SYNC_SECONDS, EmbeddedKeda
from hearth.emulators.kinds import KINDS
from hearth.emulators.pod import Pod, PodSpec
from hearth.emulators.ports import free_ports
from hearth.emulators.probes import ProbeSpec
from hearth.emulators.store import Event, ObjectStore
from hearth.fleet import Fleet, Seen
from hearth.local.deployment import EngineOptions, LocalDeployment
from hearth.metrics import role_registry
from hearth.operations import EmbeddedServer, operations_server
from hearth.scaler.listener import DemandListener
from hearth.scaler.picture import Blind, DemandPicture
from hearth.scaler.pulses import Pulses

START_SECONDS = 30.0
OBSERVE_SECONDS = 0.5

_ROLES = ("activator", "scaler", "up")


class StartFailed(Exception):
    """A role did not come up; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class UpConfig:
    """What to run. `facts` narrows the vendors; its addresses are replaced by the local ones."""

    services: Sequence[LLMService]
    runtimes: Sequence[InferenceRuntime]
    folder: Path
    host: str = "127.0.0.1"
    port: int = 8080
    engines: EngineOptions = field(default_factory=EngineOptions)
    hpa_sync_seconds: float = HPA_SYNC_SECONDS
    accelerators: frozenset[str] | None = None
    accelerator_price: float | None = None


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One LLMService as it is now. Seconds; `remaining` is None until a first cold start was seen."""

    namespace: str
    name: str
    phase: str
    wanted: int
    ready: int
    waiting: int
    in_flight: int
    cold_start: str | None
    elapsed: float
    remaining: float | None


class LocalHearth:
    """A running loop. Made by `local_hearth`."""

    def __init__(
        self, config: UpConfig, demand_port: int, scaler_port: int, api_port: int, operations_ports: Sequence[int]
    ) -> None:
        self.config = config
        self.store = ObjectStore()
        self.deployments: dict[tuple[str, str], LocalDeployment] = {}
        self.roles: dict[str, Pod] = {}
        self.demand_address = f"127.0.0.1:{demand_port}"
        self.scaler_address = f"127.0.0.1:{scaler_port}"
        self.api_address = f"127.0.0.1:{api_port}"
        self.operations = {role: f"127.0.0.1:{port}" for role, port in zip(_ROLES, operations_ports, strict=True)}
        self.picture = DemandPicture()
        self.fleet = Fleet(asyncio.get_running_loop().time, config.accelerator_price)
        self.changed = asyncio.Event()
        self._starts: dict[tuple[str, str], ColdStarts] = {}

    @property
    def url(self) -> str:
        """Where the OpenAI endpoint is, without /v1."""
        host = "127.0.0.1" if self.config.host == "0.0.0.0" else self.config.host
        return f"http://{host}:{self.config.port}"

    @property
    def kubeconfig(self) -> Path:
        """Leads to the local API server."""
        return self.config.folder / "kubeconfig"

    def view(self) -> list[ServiceView]:
        """Every LLMService as it is now."""
        loop = asyncio.get_running_loop()
        views = []
        for key, deployment in self.deployments.items():
            status = (self.store.get("llmservices", *key) or {}).get("status", {})
            cold = status.get("coldStart") or {}
            starts = self._starts.setdefault(key, ColdStarts())
            now = loop.time()
            if status.get("readyReplicas"):
                starts.ready(now)
            elif deployment.wanted > 0:
                starts.begin(now)
                starts.enter(cold.get("phase", "requested"), now)
            else:
                starts.abandon()
            try:
                demand = self.picture.demand(key, now)
                waiting, in_flight = demand.waiting, demand.in_flight
            except Blind:
                waiting = in_flight = 0
            views.append(
                ServiceView(
                    key[0],
                    key[1],
                    status.get("phase", "Pending"),
                    deployment.wanted,
                    status.get("readyReplicas", 0),
                    waiting,
                    in_flight,
                    cold.get("phase"),
                    starts.elapsed(now),
                    starts.remaining(now),
                )
            )
        return views

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until something that the store or the roles tell is so. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def count(self, key: tuple[str, str]) -> None:
        """Tell the fleet what an LLMService is like now."""
        item, deployment = self.store.get("llmservices", *key), self.deployments.get(key)
        if item is None or deployment is None:
            return
        status = item.get("status") or {}
        ready = status.get("readyReplicas", 0)
        self.fleet.see(key, Seen.of(deployment.service, status.get("phase", "Pending"), deployment.wanted, ready))

    def store_changed(self, event: Event) -> None:
        self.changed.set()
        if event.resource == "llmservices":
            metadata = event.object["metadata"]
            self.count((metadata["namespace"], metadata["name"]))

    def role_changed(self, pod: Pod) -> None:
        self.changed.set()


@contextlib.asynccontextmanager
async def local_hearth(config: UpConfig) -> AsyncIterator[LocalHearth]:
    """A running loop; leaving the context ends every process that it started.

    Raises RuntimeNotResolved, OSError where the port is taken, StartFailed.
    """
    async with contextlib.AsyncExitStack() as stack:
        hearth = await stack.enter_async_context(local_roles(config))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(hearth.scaler_address))
        group = await stack.enter_async_context(_owned_tasks())
        facts = ClusterFacts(scaler_address=hearth.scaler_address, accelerators=config.accelerators)
        for service in config.services:
            rendered = render(service, config.runtimes, facts)
            for item in rendered.objects:
                hearth.store.put(_resource(item["kind"]), item)
            url = f"{hearth.url}/{service.metadata.namespace}/{service.metadata.name}/v1"
            deployment = LocalDeployment(service, rendered, hearth.store, config.engines, config.folder, url)
            (scaled_object,) = rendered.of_kind("ScaledObject")
            keda = EmbeddedKeda(scaled_object, channel, deployment.scale, config.hpa_sync_seconds)
            hearth.deployments[service.key] = deployment
            hearth.count(service.key)
            name = "/".join(service.key)
            group.append(asyncio.create_task(deployment.run(), name=name))
            group.append(asyncio.create_task(keda.run(), name=f"keda {name}"))
        registry = role_registry("up")
        hearth.fleet.register(registry)
        await stack.enter_async_context(operations_server(hearth.operations["up"], lambda: True, registry))
        listener = DemandListener(hearth.picture, Pulses(), "hearth-up", clock=asyncio.get_running_loop().time)
        listener.list_activators([hearth.demand_address])
        group.append(asyncio.create_task(listener.run(), name="view"))
        group.append(asyncio.create_task(_observe_demand(hearth), name="queue depths"))
        yield hearth


async def _observe_demand(hearth: LocalHearth) -> None:
    """Write queueDepth into each status, as the controller does, which asks every few seconds."""
    while True:
        for key, deployment in hearth.deployments.items():
            try:
                demand = hearth.picture.demand(key, asyncio.get_running_loop().time())
                deployment.observe(demand.queue_depth)
            except Blind:
                deployment.observe(None)
        await asyncio.sleep(OBSERVE_SECONDS)


@contextlib.asynccontextmanager
async def local_roles(config: UpConfig) -> AsyncIterator[LocalHearth]:
    """Activator and scaler as processes, with a local API server that has the LLMServices; nothing scales yet.

    Raises OSError where the port is taken, StartFailed.
    """
    _check_port(config.host, config.port)
    demand_port, scaler_port, api_port, *operations_ports = free_ports(6)
    hearth = LocalHearth(config, demand_port, scaler_port, api_port, operations_ports)
    hearth.kubeconfig.write_text(json.dumps(kubeconfig(f"http://{hearth.api_address}")))
    hearth.store.listen(hearth.store_changed)
    for service in config.services:
        hearth.store.put("llmservices", service.to_manifest())
    # The API server is the last to stop: roles watch it.
    async with _serve_api(hearth.store, api_port), _owned_tasks() as group:
        for spec in _role_specs(config, hearth):
            pod = Pod(spec, config.folder / f"{spec.name}.log", hearth.role_changed)
            hearth.roles[spec.name] = pod
            group.append(asyncio.create_task(pod.run(), name=spec.name))
        await _roles_ready(hearth)
        yield hearth


@contextlib.asynccontextmanager
async def _owned_tasks() -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Tasks that are cancelled, the last first, and awaited when the context is left. An error in one is raised."""
    tasks: list[asyncio.Task[None]] = []
    try:
        yield tasks
    finally:
        for task in reversed(tasks):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


@contextlib.asynccontextmanager
async def _serve_api(store: ObjectStore, port: int) -> AsyncIterator[None]:
    """The local API server on 127.0.0.1."""

    watches = Watches()
    settings = uvicorn.Config(create_api(store, watches), host="127.0.0.1", port=port, log_level="warning")
    server = EmbeddedServer(settings)
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        watches.close()
        server.should_exit = True
        await serving


def _role_specs(config: UpConfig, hearth: LocalHearth) -> list[PodSpec]:
    """The roles as pods: the image's entry point and the probes that deploy/ gives them. They are this program, so
    they have its environment."""
    role = [sys.executable, "-m", "hearth"]
    env = dict(os.environ)
    scaler_port = int(hearth.scaler_address.rpartition(":")[2])
    return [
        PodSpec(
            "scaler",
            [
                *[*role, "scaler", "--listen", hearth.scaler_address, "--activator", hearth.demand_address],
                *["--operations-listen", hearth.operations["scaler"]],
            ],
            env,
            ports={"grpc": scaler_port},
            port=scaler_port,
            readiness=ProbeSpec({"grpc": {"port": "grpc"}}, period=0.2),
            backoff_first=1.0,
        ),
        PodSpec(
            "activator",
            [
                *[*role, "activator", "--listen", f"{config.host}:{config.port}"],
                *["--kubeconfig", str(hearth.kubeconfig)],
                *["--demand-listen", hearth.demand_address, "--grace-seconds", "2"],
                *["--operations-listen", hearth.operations["activator"]],
            ],
            env,
            ports={"http": config.port},
            port=config.port,
            readiness=ProbeSpec({"httpGet": {"path": "/readyz", "port": "http"}}, period=0.2),
            backoff_first=1.0,
        ),
    ]


async def _roles_ready(hearth: LocalHearth) -> None:
    """Wait until every role is ready. Raises StartFailed with the end of the log of one that is not."""
    roles = hearth.roles.values()
    with contextlib.suppress(TimeoutError):  # said below, with the log
        await hearth.until(
            lambda: all(pod.ready for pod in roles) or any(pod.phase == "backing-off" for pod in roles), START_SECONDS
        )
    for name, pod in hearth.roles.items():
        if not pod.ready:
            log_file = hearth.config.folder / f"{name}.log"
            tail = "\n".join(log_file.read_text(errors="replace").splitlines()[-15:])
            raise StartFailed(f"{name} did not start ({pod.phase}); the end of {log_file}:\n{tail}")


def kubeconfig(server: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server}}],
        "users": [{"name": "local", "user": {}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
        "current-context": "local",
    }


def _resource(kind: str) -> str:
    return next(known.resource for known in KINDS if known.name == kind)


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port") from error
