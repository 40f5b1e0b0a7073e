"""`hearth up`: the whole loop on one machine.

Activator, scaler and controller run as they do in a cluster, each in a process of its own, with the account and the
options that deploy/ gives it; the emulators of cluster.py stand for the cluster. All of them meet at the local API
server, and nothing here reaches into another role's memory.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.key import ServiceKey
from hearth.api.labels import COMPONENT_LABEL, LLMSERVICE_LABEL
from hearth.api.llmservice import LLMService
from hearth.emulators.keda import HPA_SYNC_SECONDS
from hearth.emulators.kinds import KubeObject
from hearth.emulators.scaledobjects import NAMESPACE as KEDA_NAMESPACE
from hearth.emulators.selectors import label_selector
from hearth.emulators.store import Event
from hearth.local.cluster import NAMESPACE, ClusterOptions, LocalCluster, local_cluster
from hearth.local.engines import EngineOptions
from hearth.local.mounted import MountedSecrets
from hearth.local.parts import Announcements, Role, parts
from hearth.local.rights import authentication, rights
from hearth.process import collect_rarely
from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub
from hearth.scaler.listener import DemandListener
from hearth.scaler.picture import Blind, DemandPicture
from hearth.scaler.pulses import Pulses
from hearth.tls.credentials import CertificateFolder
from hearth.tls.mutual import Mutual, channel_to
from hearth.tls.names import ACTIVATOR_NAME, SCALER_NAME

START_SECONDS = 30.0

ROLES = ("activator", "scaler", "controller")

# Their Services' ports in deploy/: (name of the Service's port, its number there, what the role calls it).
_SERVICES = {
    "activator": (("http", 80, "http"), ("demand", 9091, "demand")),
    "scaler": (("grpc", 9090, "grpc"),),
}
_SECURE_SERVICES = {
    "activator": (("http", 80, "http"), ("demand-tls", 9443, "demand")),
    "scaler": (("grpc-tls", 9443, "grpc"),),
}
_MOUNTED = ("activator", "scaler")
"""Roles that have a certificate mounted, of a Secret hearth-ROLE-tls."""


class StartFailed(Exception):
    """It did not come up; the text says what is missing, with the end of a log."""


@dataclass(frozen=True, slots=True)
class UpConfig:
    """What to run. `devices` are the extended resources of this machine's Node. With `tls` the roles and KEDA show each
    other certificates."""

    services: Sequence[LLMService]
    runtimes: Sequence[InferenceRuntime]
    folder: Path
    host: str = "127.0.0.1"
    port: int = 8080
    engines: EngineOptions = field(default_factory=EngineOptions)
    hpa_sync_seconds: float = HPA_SYNC_SECONDS
    devices: dict[str, int] = field(default_factory=dict)
    accelerator_price: float | None = None
    tls: bool = False


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One LLMService as it is now. Seconds; `remaining` is None where its status has no ETA."""

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

    def __init__(self, config: UpConfig, cluster: LocalCluster, roles: Sequence[str]) -> None:
        self.config = config
        self.cluster = cluster
        self.store = cluster.store
        self.roles = {name: Role(name, _arguments(name, config, cluster), config.folder) for name in roles}
        self.picture = DemandPicture()
        self.changed = asyncio.Event()
        self.store.listen(self._store_changed)

    @property
    def url(self) -> str:
        """Where the OpenAI endpoint is, without /v1."""
        host = "127.0.0.1" if self.config.host == "0.0.0.0" else self.config.host
        return f"http://{host}:{self.port}"

    @property
    def port(self) -> int:
        """Of the OpenAI endpoint."""
        return self.roles["activator"].ports["http"]

    @property
    def scaler_address(self) -> str:
        return self.roles["scaler"].address("grpc")

    @property
    def kubeconfig(self) -> Path:
        """Leads to the local API server; who has it may do everything there."""
        return self.cluster.kubeconfig()

    def pods(self, key: tuple[str, str]) -> list[KubeObject]:
        """The engines' pods of an LLMService that there are, those that end among them."""
        selected = label_selector(f"{LLMSERVICE_LABEL}={key[1]},{COMPONENT_LABEL}=engine")
        return self.store.find("pods", key[0], selected)

    def wanted(self, key: tuple[str, str]) -> int:
        """spec.replicas of its Deployment."""
        deployment = self.store.get("deployments", *key)
        return int(deployment["spec"].get("replicas", 1)) if deployment is not None else 0

    def view(self) -> list[ServiceView]:
        """Every LLMService as it is now: what its status says, and what the activator holds at this moment."""
        views = []
        for item in self.store.find("llmservices"):
            key = ServiceKey(item["metadata"]["namespace"], item["metadata"]["name"])
            status = item.get("status") or {}
            start = status.get("coldStart") or {}
            try:
                demand = self.picture.demand(key, asyncio.get_running_loop().time())
                waiting, in_flight = demand.waiting, demand.in_flight
            except Blind:
                waiting = in_flight = 0
            views.append(
                ServiceView(
                    *key,
                    status.get("phase", "Pending"),
                    self.wanted(key),
                    status.get("readyReplicas", 0),
                    waiting,
                    in_flight,
                    start.get("phase"),
                    *_progress(start),
                )
            )
        return views

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until something that the store tells is so. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def _store_changed(self, event: Event) -> None:
        self.changed.set()


@contextlib.asynccontextmanager
async def local_hearth(config: UpConfig) -> AsyncIterator[LocalHearth]:
    """A running loop; leaving the context ends every process that it started, and a part that dies ends the context.

    Raises OSError where the port is taken, Refusal where an object can't be applied, StartFailed, PartDied.
    """
    async with _running(config, ROLES) as hearth, parts() as start:
        await _heard(hearth)  # a scaler that is still blind has no answer, and there is nothing to say
        start("KEDA", hearth.cluster.keda.run())
        clock = asyncio.get_running_loop().time
        mutual = None
        if config.tls:
            folder = CertificateFolder(_mounted(config, "scaler"), verifies=True)
            mutual = Mutual(folder, ACTIVATOR_NAME)
            start("the view's certificate", folder.run())
        listener = DemandListener(hearth.picture, Pulses(), "hearth-up", clock, mutual)
        listener.list_activators({hearth.roles["activator"].address("demand"): "ready"})
        start("the view of the demand", listener.run())
        try:
            await hearth.until(lambda: all(map(_settled, hearth.store.find("llmservices"))), START_SECONDS)
        except TimeoutError:
            waiting = [_conditions(item) for item in hearth.store.find("llmservices") if not _settled(item)]
            controller = hearth.roles["controller"]
            words = "\n".join([*waiting, f"the end of {controller.log_file}:", controller.tail()])
            raise StartFailed(f"not served after {START_SECONDS:g} s:\n{words}") from None
        collect_rarely()  # a walk through the store's history would hold up whoever waits for a replica
        yield hearth


async def _heard(hearth: LocalHearth) -> None:
    """Wait until a scaler hears the activator: it tells by its answers alone. Raises StartFailed."""
    try:
        async with asyncio.timeout(START_SECONDS):
            await _answered(hearth)
    except TimeoutError:
        scaler = hearth.roles["scaler"]
        words = f"the scaler at {hearth.scaler_address} did not answer in {START_SECONDS:g} s"
        raise StartFailed(f"{words}; the end of {scaler.log_file}:\n{scaler.tail()}") from None


async def _answered(hearth: LocalHearth) -> None:
    held = None
    if hearth.config.tls:
        await hearth.until(lambda: hearth.cluster.keda.certificate() is not None, START_SECONDS)
        held = hearth.cluster.keda.certificate()
    async with channel_to(hearth.scaler_address, held, SCALER_NAME) as channel:
        ref = pb.ScaledObjectRef(name="nobody", namespace="nowhere", scalerMetadata={"target": "1"})
        while True:
            try:
                await ExternalScalerStub(channel).IsActive(ref, timeout=1)
                return
            except grpc.aio.AioRpcError as error:
                if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                    return
            await asyncio.sleep(0.02)  # it has no event


@contextlib.asynccontextmanager
async def local_roles(config: UpConfig) -> AsyncIterator[LocalHearth]:
    """Activator and scaler alone, with a local cluster that has the LLMServices; nothing scales.

    Raises OSError where the port is taken, Refusal, StartFailed, PartDied.
    """
    async with _running(config, ("activator", "scaler")) as hearth:
        yield hearth


@contextlib.asynccontextmanager
async def _running(config: UpConfig, roles: Sequence[str]) -> AsyncIterator[LocalHearth]:
    """A cluster with what is to be served, and roles that have said where they are."""
    _check_port(config.host, config.port)
    options = ClusterOptions(config.folder, rights(), config.devices, config.engines, config.hpa_sync_seconds)
    # The API server is the last to stop: roles watch it.
    async with local_cluster(options) as cluster, parts() as start:
        hearth = LocalHearth(config, cluster, roles)
        async with Announcements.at(config.folder / "announced", hearth.roles) as announced:
            if config.tls:
                cluster.make_namespace(KEDA_NAMESPACE)
                cluster.apply(authentication())
                folders = {f"hearth-{role}-tls": _mounted(config, role) for role in _MOUNTED}
                start("what mounts certificates", MountedSecrets(cluster.store, NAMESPACE, folders).run())
            for role in hearth.roles.values():
                start(role.name, role.run(config.folder / "announced"))
            cluster.run(start)
            for item in (*config.runtimes, *config.services):
                cluster.apply(item.to_manifest())
            try:
                async with asyncio.timeout(START_SECONDS):
                    await announced.all()
            except TimeoutError:
                late = next(role for role in hearth.roles.values() if not role.ports)
                words = f"{late.name} did not start; the end of {late.log_file}:\n{late.tail()}"
                raise StartFailed(words) from None
            for name, ports in (_SECURE_SERVICES if config.tls else _SERVICES).items():
                places = hearth.roles[name].ports
                cluster.serve(f"hearth-{name}", {port: (number, places[called]) for port, number, called in ports})
            yield hearth


def _arguments(role: str, config: UpConfig, cluster: LocalCluster) -> list[str]:
    """What deploy/ gives a role, with ports of its own choice on this machine alone."""
    tls = ["--tls", str(_mounted(config, role))] if config.tls else []
    common = ["--kubeconfig", str(cluster.kubeconfig(role)), "--operations-listen", "127.0.0.1:0"]
    match role:
        case "activator":
            listen = ["--listen", f"{config.host}:{config.port}", "--demand-listen", "127.0.0.1:0"]
            return [*common, *listen, "--grace-seconds", "2", *tls]
        case "scaler":
            return [*common, "--listen", "127.0.0.1:0", "--activator-service", f"{NAMESPACE}/hearth-activator", *tls]
        case _:
            # No Lease: there is one, and a machine that slept, or is busy, must not end it for a Lease that ran out.
            price = [] if config.accelerator_price is None else ["--accelerator-price", str(config.accelerator_price)]
            clients = ["--engine-client", f"{NAMESPACE}/hearth-activator"]
            secure = ["--tls", "controller", "--scaler-address", f"{SCALER_NAME}:9443"] if config.tls else []
            return [*common, *price, *clients, *secure]


def _mounted(config: UpConfig, role: str) -> Path:
    """Where a role's certificate is."""
    return config.folder / f"{role}-tls"


def _settled(item: KubeObject) -> bool:
    """Whether the controller has looked at an LLMService, and KEDA at its ScaledObject."""
    status: dict[str, Any] = item.get("status") or {}
    reasons = {each["type"]: each["reason"] for each in status.get("conditions") or []}
    seen = status.get("observedGeneration") == item["metadata"]["generation"]
    return seen and reasons.get("ScaledObjectReady") not in {"NotSeen", "Pending"}


def _conditions(item: KubeObject) -> str:
    conditions = (item.get("status") or {}).get("conditions") or []
    said = "; ".join(f"{each['type']} {each['status']}: {each['message']}" for each in conditions)
    return f"LLMService {item['metadata']['namespace']}/{item['metadata']['name']}: {said or 'no status'}"


def _progress(start: KubeObject) -> tuple[float, float | None]:
    """(seconds since a cold start was asked for, seconds to go) of status.coldStart."""
    if "since" not in start:
        return 0.0, None
    try:
        since = datetime.fromisoformat(start["since"])
    except ValueError:
        return 0.0, None  # the controller writes another one
    if since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    in_phase = max(0.0, (datetime.now(UTC) - since).total_seconds())
    took = sum(seconds for phase, seconds in (start.get("took") or {}).items() if phase != start["phase"])
    return took + in_phase, start.get("eta")


def _check_port(host: str, port: int) -> None:
    """Say that a port is taken before anything starts; the activator is the one that takes it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        option = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with {option}") from error
