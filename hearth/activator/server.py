"""The activator as a process: uvicorn for clients, gRPC for scalers, watches of the API server, in one event loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import uvicorn

from hearth.activator.demand import Demand, DemandBoard
from hearth.activator.https import HttpsListener
from hearth.activator.journeys import AccessLog, Journeys, Observer
from hearth.activator.keyring import Keyring, KeySource
from hearth.activator.keywatch import KeyWatch
from hearth.activator.lane.door import BUDGET_BYTES, Door
from hearth.activator.origins import Origins
from hearth.activator.starts import AddressStarts
from hearth.activator.web.app import create_app
from hearth.api.labels import ENGINE_SELECTOR
from hearth.http1.connection import Connection
from hearth.http1.limits import Budget, Limits
from hearth.kube.client import KubeClient
from hearth.kube.informer import Informer
from hearth.kube.kinds import ENDPOINT_SLICE, LLMSERVICE
from hearth.logs import fields
from hearth.metrics import RoleRegistry, role_registry
from hearth.operations import EmbeddedServer, bind, operations_server
from hearth.process import announce, collect_rarely, descriptors, keep_freed_memory, let_the_loop_in, stop_signal
from hearth.proto.demand_pb2_grpc import add_DemandServicer_to_server
from hearth.tls.credentials import CertificateFolder, tell
from hearth.tls.mutual import Mutual, add_port, new_server
from hearth.tls.names import SCALER_NAME

if TYPE_CHECKING:
    from hearth.activator.tracing import Tracing

log = logging.getLogger(__name__)

NOT_LISTENED = "off"
"""In place of an address."""
_KEPT_DESCRIPTORS = 128
_KEYS_SECONDS = 5.0  # how long the first requests wait for API keys that can't be read


@dataclass(frozen=True, slots=True)
class ActivatorConfig:
    """`listen` (clients), `demand_listen` (scalers) and `operations_listen` (probes, Prometheus) are host:port; without
    `kubeconfig`, the pod's account. `traces_url` is that of an OTLP/HTTP receiver; without one nothing is traced.
    LLMServices of `namespaces` are served, of all where there are none. `keys` has the API keys of all that have none
    of their own. `cold_starts_per_address` is how many a client's address may ask for in an hour.

    With `tls`, a folder, scalers are heard by mutual TLS, whose certificate is for `scaler_name`. With `clients_tls`,
    another folder, clients are served over TLS on `https_listen` too, and `listen` may be `NOT_LISTENED`.
    """

    listen: str
    demand_listen: str
    operations_listen: str
    kubeconfig: Path | None
    limits: Limits = field(default_factory=Limits)
    buffer_bytes: int = BUDGET_BYTES
    origins: tuple[str, ...] = ()
    access_log: bool = False
    traces_url: str | None = None
    drain_delay_seconds: float = 0.0
    grace_seconds: float = 120.0
    namespaces: tuple[str, ...] = ()
    keys: KeySource | None = None
    cold_starts_per_address: int | None = None
    tls: Path | None = None
    scaler_name: str = SCALER_NAME
    clients_tls: Path | None = None
    https_listen: str = "[::]:8443"


def http_server(door: Door, ready: Callable[[], bool], grace_seconds: float) -> EmbeddedServer:
    """The clients' server; `ready` is what /readyz says."""
    door.app = create_app(door, ready)
    connection = connections_of(door)
    return EmbeddedServer(
        uvicorn.Config(
            door.app,
            http=cast("Any", connection),  # uvicorn calls it as it would a class
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # X-Forwarded-* is passed on, never believed
            timeout_graceful_shutdown=int(grace_seconds),
        )
    )


def connections_of(door: Door) -> "partial[Connection]":
    """Makes the connections of clients."""
    return partial(Connection, handler=door, limits=door.limits, budget=door.budget)


class Clients:
    """Where clients are taken: in plain text, over TLS, or both. Those over TLS count with those of `http`, and end
    with them. Raises OSError where an address can't be bound."""

    def __init__(self, config: ActivatorConfig, door: Door, ready: Callable[[], bool]) -> None:
        self.http = http_server(door, ready, config.grace_seconds)
        self.folder: CertificateFolder | None = None
        self._sockets = [] if config.listen == NOT_LISTENED else [bind(config.listen)]
        self._https: HttpsListener | None = None
        if config.clients_tls is not None:
            connection = connections_of(door)
            made = partial(connection, self.http.config, self.http.server_state, {})
            self._https = HttpsListener(bind(config.https_listen), made)
            self.folder = CertificateFolder(config.clients_tls, verifies=False, on_change=self._https.take)

    @property
    def ports(self) -> dict[str, int]:
        """Their numbers, by name."""
        ports: dict[str, int] = {}
        if self._sockets:
            ports["http"] = self._sockets[0].getsockname()[1]
        if self._https is not None:
            ports["https"] = self._https.port
        return ports

    async def serve(self) -> None:
        """Serve until `http` is to exit; over TLS from the first certificate on."""
        await self.http.serve(sockets=list(self._sockets))

    async def stop(self) -> None:
        """Take no more, and let `serve` end. Handshakes go first: a connection that comes of one is not told."""
        if self._https is not None:
            await self._https.stop()
        self.http.should_exit = True

    async def close(self) -> None:
        await self.stop()
        for listening in self._sockets:
            listening.close()


async def run_activator(config: ActivatorConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError where an address can't be bound, KubeError where nothing says how
    to reach the API server. One that is away is waited for, and clients, scalers and probes are told so."""
    stop = stop_signal()
    kube = await KubeClient.connect(config.kubeconfig)
    board = DemandBoard()
    registry = role_registry("activator")
    tracing = _tracing(config)
    observers: list[Observer] = [*([AccessLog()] if config.access_log else []), *([tracing] if tracing else [])]
    door = Door(
        *(board, registry, within_descriptors(config.limits), Budget(config.buffer_bytes)),
        *(Journeys(*observers), Origins(config.origins), Keyring(config.keys)),
        addresses=AddressStarts(config.cold_starts_per_address),
    )
    keys = KeyWatch(kube, door.keyring)
    services = [Informer(kube, path, door.directory.put_service) for path in LLMSERVICE.paths(config.namespaces)]
    slices = [
        Informer(kube, path, door.directory.put_slice, ENGINE_SELECTOR)
        for path in ENDPOINT_SLICE.paths(config.namespaces)
    ]
    ready, known, door.starting = False, asyncio.Event(), True
    clients = Clients(config, door, lambda: ready)
    mutual = Mutual(CertificateFolder(config.tls, verifies=True), config.scaler_name) if config.tls else None
    certificates = _certificates(mutual, clients, registry)
    demand, demand_port = _demand_server(config.demand_listen, Demand(board, known, mutual), mutual)
    try:
        async with (
            operations_server(config.operations_listen, lambda: ready, registry) as operations_port,
            asyncio.TaskGroup() as group,
        ):
            await demand.start()
            serving = group.create_task(clients.serve())
            log.info("activator listening", extra=fields(**clients.ports, demand=demand_port))
            watches = _begin(group, *services, *slices, *certificates)
            await _first(stop.wait(), _synced(certificates, keys, *services, *slices), asyncio.shield(serving))
            if not stop.is_set() and not serving.done():
                ready, door.starting = True, False
                known.set()
                collect_rarely()
                keep_freed_memory()
                let_the_loop_in()
                log.info("activator serving", extra=fields(services=len(list(door.directory))))
                announce("activator", **clients.ports, demand=demand_port, operations=operations_port)
                await _first(stop.wait(), asyncio.shield(serving))
                # Not ready, and accepting still: until whoever sends requests here has heard it. A connection that is
                # kept open hears it by its next answer alone.
                ready, door.leaving = False, True
                if not serving.done() and config.drain_delay_seconds:
                    await asyncio.wait({serving}, timeout=config.drain_delay_seconds)
            door.feed.close()  # who listens to it would hold the end
            await clients.stop()
            await serving
            for watch in watches:
                watch.cancel()
    finally:
        await keys.stop()
        board.close()
        await demand.stop(1.0)
        door.close()
        await kube.close()
        await clients.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
    log.info("activator stopped")


def _begin(group: asyncio.TaskGroup, *looking: Informer | CertificateFolder) -> list[asyncio.Task[None]]:
    return [group.create_task(each.run()) for each in looking]


def _certificates(mutual: Mutual | None, clients: Clients, registry: RoleRegistry) -> list[CertificateFolder]:
    """Those that this activator has, told to Prometheus."""
    folders = {"demand": mutual.folder if mutual is not None else None, "clients": clients.folder}
    there = {name: folder for name, folder in folders.items() if folder is not None}
    tell(registry, "activator", there)
    return list(there.values())


def _demand_server(listen: str, servicer: Demand, mutual: Mutual | None) -> tuple[grpc.aio.Server, int]:
    """A gRPC server that is not started yet, and its port. Raises OSError where the address can't be bound."""
    server = new_server(mutual)
    add_DemandServicer_to_server(servicer, server)
    return server, add_port(server, listen, mutual)


def _tracing(config: ActivatorConfig) -> "Tracing | None":
    if config.traces_url is None:
        return None
    from hearth.activator.tracing import Tracing  # an optional extra

    return Tracing(config.traces_url)


def within_descriptors(limits: Limits) -> Limits:
    """The limits, with no more connections than this process has descriptors for: a request takes two, and some are
    kept for probes, scalers and the API server."""
    return replace(limits, connections=min(limits.connections, max(16, (descriptors() - _KEPT_DESCRIPTORS) // 2)))


async def _synced(certificates: Iterable[CertificateFolder], keys: KeyWatch, *informers: Informer) -> None:
    """Wait until it is known what there is, and with which certificates this activator is heard."""
    for certificate in certificates:
        await certificate.known.wait()
    for informer in informers:
        await informer.synced.wait()
    keys.start()
    await keys.settled(_KEYS_SECONDS)


async def _first(*awaitables: Awaitable[object]) -> None:
    """Wait until one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
