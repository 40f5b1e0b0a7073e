"""The scaler as a process: its gRPC server with health and reflection, and the listener beside it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
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

log = logging.getLogger(__name__)

SERVICE = externalscaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"].full_name


@dataclass(frozen=True, slots=True)
class ScalerConfig:
    """`listen` is host:port of the gRPC server, `operations_listen` of what probes and Prometheus ask.
    The activators: a static list of host:port, or the (namespace, name) of their Service, whose EndpointSlices are
    watched (without `kubeconfig`, as the pod's account), with the terminationGracePeriodSeconds of their pods."""

    listen: str
    operations_listen: str
    activators: tuple[str, ...]
    identity: str
    activator_service: tuple[str, str] | None = None
    kubeconfig: Path | None = None
    activator_grace_seconds: float = GRACE_SECONDS
    grace_seconds: float = 5.0


@contextlib.asynccontextmanager
async def scaler_server(  # type: ignore[no-untyped-def]
    config: ScalerConfig, picture: DemandPicture, pulses: Pulses, metrics: ScalerMetrics
):
    """A started gRPC server, its bound port as the value; streams end with OK when the context is left.

    Raises OSError where the address can't be bound.
    """
    server = grpc.aio.server()
    add_ExternalScalerServicer_to_server(ExternalScaler(picture, pulses, metrics), server)
    health_servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    names: Sequence[str] = (
        SERVICE,
        health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        reflection.SERVICE_NAME,
    )
    reflection.enable_server_reflection(names, server)
    try:
        port = server.add_insecure_port(config.listen)
    except RuntimeError as error:  # what grpc raises for an address in use
        raise OSError(f"cannot listen on {config.listen}: is the port in use?") from error
    await server.start()
    for name in ("", SERVICE):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield port
    finally:
        await health_servicer.enter_graceful_shutdown()
        pulses.close()
        await server.stop(config.grace_seconds)


async def run_scaler(config: ScalerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError where the address can't be bound, KubeError without a way to
    the API server where one is needed."""
    stop = stop_signal()
    registry = role_registry("scaler")
    picture, pulses = DemandPicture(config.activator_grace_seconds), Pulses()
    metrics = ScalerMetrics(registry, picture, pulses, time.monotonic)
    listener = DemandListener(picture, pulses, config.identity)
    kube: KubeClient | None = None
    if config.activator_service is None:
        listener.list_activators(dict.fromkeys(config.activators, "ready"))
    else:
        kube = await KubeClient.connect(config.kubeconfig)
    try:
        async with (
            scaler_server(config, picture, pulses, metrics) as port,
            operations_server(config.operations_listen, lambda: True, registry) as operations_port,
        ):
            log.info(
                "scaler serving", extra=fields(port=port, activators=config.activator_service or config.activators)
            )
            announce("scaler", grpc=port, operations=operations_port)
            await run_until(stop, _listen(config, listener, kube))
    finally:
        if kube is not None:
            await kube.close()
    log.info("scaler stopped")


async def _listen(config: ScalerConfig, listener: DemandListener, kube: KubeClient | None) -> None:
    """Listen to the activators, and watch which there are where a Service says so. Until the first list is known the
    picture is blind, so that nobody is told zero."""
    async with asyncio.TaskGroup() as group:
        group.create_task(listener.run())
        if kube is not None and config.activator_service is not None:
            namespace, name = config.activator_service
            directory = ActivatorDirectory(listener.list_activators)
            informer = Informer(
                kube, ENDPOINT_SLICE.within(namespace), directory.put_slice, f"kubernetes.io/service-name={name}"
            )
            group.create_task(informer.run())
            await informer.synced.wait()
            directory.publish()
