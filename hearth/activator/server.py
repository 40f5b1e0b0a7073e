"""The activator as a process: uvicorn for clients, gRPC for scalers, watches of the API server, in one event loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import uvicorn

from hearth.activator.demand import Demand, DemandBoard
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
from hearth.metrics import role_registry
from hearth.operations import EmbeddedServer, bind, operations_server
from hearth.process import announce, collect_rarely, descriptors, keep_freed_memory, let_the_loop_in, stop_signal
from hearth.proto.demand_pb2_grpc import add_DemandServicer_to_server

if TYPE_CHECKING:
    from hearth.activator.tracing import Tracing

log = logging.getLogger(__name__)

_KEPT_DESCRIPTORS = 128
_KEYS_SECONDS = 5.0  # how long the first requests wait for API keys that can't be read


@dataclass(frozen=True, slots=True)
class ActivatorConfig:
    """`listen` (clients), `demand_listen` (scalers) and `operations_listen` (probes, Prometheus) are host:port; without
    `kubeconfig`, the pod's account. `traces_url` is that of an OTLP/HTTP receiver; without one nothing is traced.
    LLMServices of `namespaces` are served, of all where there are none. `keys` has the API keys of all that have none
    of their own. `cold_starts_per_address` is how many a client's address may ask for in an hour."""

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


def http_server(door: Door, ready: Callable[[], bool], grace_seconds: float) -> EmbeddedServer:
    """The clients' server; `ready` is what /readyz says."""
    door.app = create_app(door, ready)
    connection = partial(Connection, handler=door, limits=door.limits, budget=door.budget)
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
    listening = bind(config.listen)
    http = http_server(door, lambda: ready, config.grace_seconds)
    demand, demand_port = _demand_server(config.demand_listen, Demand(board, known))
    try:
        async with (
            operations_server(config.operations_listen, lambda: ready, registry) as operations_port,
            asyncio.TaskGroup() as group,
        ):
            await demand.start()
            serving = group.create_task(http.serve(sockets=[listening]))
            port = listening.getsockname()[1]
            log.info("activator listening", extra=fields(port=port, demand_port=demand_port))
            watches = [group.create_task(informer.run()) for informer in (*services, *slices)]
            await _first(stop.wait(), _synced(keys, *services, *slices), asyncio.shield(serving))
            if not stop.is_set() and not serving.done():
                ready, door.starting = True, False
                known.set()
                collect_rarely()
                keep_freed_memory()
                let_the_loop_in()
                log.info("activator serving", extra=fields(services=len(list(door.directory))))
                announce("activator", http=port, demand=demand_port, operations=operations_port)
                await _first(stop.wait(), asyncio.shield(serving))
                # Not ready, and accepting still: until whoever sends requests here has heard it.
                ready = False
                if not serving.done() and config.drain_delay_seconds:
                    await asyncio.wait({serving}, timeout=config.drain_delay_seconds)
            door.feed.close()  # who listens to it would hold the end
            http.should_exit = True
            await serving
            for watch in watches:
                watch.cancel()
    finally:
        await keys.stop()
        board.close()
        await demand.stop(1.0)
        door.close()
        await kube.close()
        listening.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
    log.info("activator stopped")


def _demand_server(listen: str, servicer: Demand) -> tuple[grpc.aio.Server, int]:
    """A gRPC server that is not started yet, and its port. Raises OSError where the address can't be bound."""
    server = grpc.aio.server()
    add_DemandServicer_to_server(servicer, server)
    try:
        return server, server.add_insecure_port(listen)
    except RuntimeError as error:  # what grpc raises for an address in use
        raise OSError(f"cannot listen on {listen}: is the port in use?") from error


def _tracing(config: ActivatorConfig) -> "Tracing | None":
    if config.traces_url is None:
        return None
    from hearth.activator.tracing import Tracing  # an optional extra

    return Tracing(config.traces_url)


def within_descriptors(limits: Limits) -> Limits:
    """The limits, with no more connections than this process has descriptors for: a request takes two, and some are
    kept for probes, scalers and the API server."""
    return replace(limits, connections=min(limits.connections, max(16, (descriptors() - _KEPT_DESCRIPTORS) // 2)))


async def _synced(keys: KeyWatch, *informers: Informer) -> None:
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
