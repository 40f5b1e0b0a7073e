"""The scaler as a process: its gRPC server with health and reflection, and the listener beside it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from hearth.kube.client import KubeClient
from hearth.kube.informer import Informer
from hearth.kube.kinds import ENDPOINT_SLICE
from hearth.logs import fields
from hearth.metrics import role_registry
from hearth.operations import operations_server
from hearth.process import announce, run_until, stop_signal
from hearth.proto import externalscaler_pb2
from hearth.proto.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from hearth.scaler.discovery import ActivatorDirectory
from hearth.scaler.listener import DemandListener
from hearth.scaler.metrics import ScalerMetrics
from hearth.scaler.picture import GRACE_SECONDS, DemandPicture
from hearth.scaler.pulses import Pulses
from hearth.scaler.servicer import ExternalScaler
from hearth.tls.credentials import CertificateFolder, tell
from hearth.tls.mutual import Mutual, add_port, new_server
from hearth.tls.names import ACTIVATOR_NAME, KEDA_NAME

log = logging.getLogger(__name__)

SERVICE = externalscaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"].full_name


@dataclass(frozen=True, slots=True)
class ScalerConfig:
    """`listen` is host:port of the gRPC server, `operations_listen` of what probes and Prometheus ask.
    The activators: a static list of host:port, or the (namespace, name) of their Service, whose EndpointSlices are
    watched (without `kubeconfig`, as the pod's account), with the terminationGracePeriodSeconds of their pods.

    With `tls`, a folder, both ports speak mutual TLS: KEDA's certificate must be for `keda_name`, an activator's for
    `activator_name`.
    """

    listen: str
    operations_listen: str
    activators: tuple[str, ...]
    identity: str
    activator_service: tuple[str, str] | None = None
    kubeconfig: Path | None = None
    activator_grace_seconds: float = GRACE_SECONDS
    grace_seconds: float = 5.0
    tls: Path | None = None
    keda_name: str = KEDA_NAME
    activator_name: str = ACTIVATOR_NAME


@contextlib.asynccontextmanager
async def scaler_server(  # type: ignore[no-untyped-def]
    config: ScalerConfig,
    picture: DemandPicture,
    pulses: Pulses,
    metrics: ScalerMetrics,
    known: asyncio.Event,
    mutual: Mutual | None = None,
):
    """A started gRPC server, its bound port as the value; streams end with OK when the context is left. Its health is
    SERVING once `known` is set: which activators there are.

    Raises OSError where the address can't be bound.
    """
    server = new_server(mutual)
    add_ExternalScalerServicer_to_server(ExternalScaler(picture, pulses, metrics, mutual=mutual), server)
    health_servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    names: Sequence[str] = (
        SERVICE,
        health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        reflection.SERVICE_NAME,
    )
    reflection.enable_server_reflection(names, server)
    port = add_port(server, config.listen, mutual)
    for name in ("", SERVICE):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def serve_when_known() -> None:
        await known.wait()
        for name in ("", SERVICE):
            await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)

    await server.start()
    serving = asyncio.create_task(serve_when_known())
    try:
        yield port
    finally:
        serving.cancel()
        await health_servicer.enter_graceful_shutdown()
        pulses.close()
        await server.stop(config.grace_seconds)


async def run_scaler(config: ScalerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError where the address can't be bound, KubeError where one is needed and
    nothing says how to reach the API server. One that is away is waited for."""
    stop = stop_signal()
    registry = role_registry("scaler")
    picture, pulses = DemandPicture(config.activator_grace_seconds), Pulses()
    metrics = ScalerMetrics(registry, picture, pulses, time.monotonic)
    folder = CertificateFolder(config.tls, verifies=True) if config.tls is not None else None
    keda = activators = None
    if folder is not None:
        keda, activators = Mutual(folder, config.keda_name), Mutual(folder, config.activator_name)
        tell(registry, "scaler", {"scaler": folder})
    listener = DemandListener(picture, pulses, config.identity, mutual=activators)
    kube: KubeClient | None = None
    known = asyncio.Event()
    if config.activator_service is None:
        listener.list_activators(dict.fromkeys(config.activators, "ready"))
    else:
        kube = await KubeClient.connect(config.kubeconfig)
    try:
        async with (
            scaler_server(config, picture, pulses, metrics, known, keda) as port,
            operations_server(config.operations_listen, known.is_set, registry) as operations_port,
        ):
            log.info(
                "scaler serving", extra=fields(port=port, activators=config.activator_service or config.activators)
            )
            announce("scaler", grpc=port, operations=operations_port)
            await run_until(stop, _listen(config, listener, kube, known, folder))
    finally:
        if kube is not None:
            await kube.close()
    log.info("scaler stopped")


async def _listen(
    config: ScalerConfig,
    listener: DemandListener,
    kube: KubeClient | None,
    known: asyncio.Event,
    folder: CertificateFolder | None,
) -> None:
    """Listen to the activators, and watch which there are where a Service says so. Until the first list is known the
    picture is blind, so that nobody is told zero. Without a certificate nobody is listened to, and nobody is heard."""
    async with asyncio.TaskGroup() as group:
        if folder is not None:
            group.create_task(folder.run())
            await folder.known.wait()
        group.create_task(listener.run())
        if kube is None or config.activator_service is None:
            known.set()
        else:
            namespace, name = config.activator_service
            directory = ActivatorDirectory(listener.list_activators, tls=config.tls is not None)
            informer = Informer(
                kube, ENDPOINT_SLICE.within(namespace), directory.put_slice, f"kubernetes.io/service-name={name}"
            )
            group.create_task(informer.run())
            await informer.synced.wait()
            directory.publish()
            known.set()
